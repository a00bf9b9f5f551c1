"""Servers that hold the terminal until interrupted: the API, and the review page in Voila or in JupyterLab."""

import contextlib
import json
import secrets
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from osiris.config.settings import PROJECT_ROOT, child_environment
from osiris.core.notebooks import preloadable_modules
from osiris.core.server_lifetime import stop_on_exit
from osiris.workspace import Workspace

STOP_SECONDS = 20
"""Seconds that a server gets to stop by itself."""
REVIEW_NOTEBOOK = PROJECT_ROOT / "notebooks" / "02_review.ipynb"


def serve_api(workspace: Workspace, port: int | None = None) -> None:
    """Serve the HTTP sidecar until interrupted; `port` defaults to `review.port`, and 0 picks a free one."""
    from osiris.serving.server import start_api

    with start_api(workspace, port) as api:
        print(f"Osiris API on {api.url}; the token is in {workspace.settings.data / 'api-token'}. Ctrl-C stops it.")
        api.wait()


def open_review(
    workspace: Workspace, lab: bool = False, port: int = 0, browser: bool = True, dark: bool = False
) -> int:
    """Serve the Advisory tab of `workspace` until interrupted: by Voila, or with `lab` in JupyterLab.

    Both listen on loopback and require a token, which is part of the address that is opened and printed. The API is
    served here too, unless one already runs. Returns the server's exit status.
    """
    from osiris.serving.server import find_api, start_api

    token = secrets.token_urlsafe(32)
    chosen_port = port or find_free_port()
    command = _lab_command(chosen_port) if lab else _voila_command(chosen_port, dark)
    environment = child_environment(workspace.folder) | {"JUPYTER_TOKEN": token}  # `ps` would show an argument
    if not lab:
        environment["JUPYTER_DEFAULT_PROVISIONER_NAME"] = "osiris-warm"
    print(
        f"The Advisory tab: http://127.0.0.1:{chosen_port}{_url_path(lab)}?token={token} (Ctrl-C stops it.)", flush=True
    )
    with contextlib.nullcontext() if find_api(workspace) else start_api(workspace, port=0):
        server = subprocess.Popen([*command, *([] if browser else ["--no-browser"])], env=environment)
        with stop_on_exit(server.pid):
            return _wait_for_server(server)


def _wait_for_server(server: "subprocess.Popen[bytes]") -> int:
    """Wait for `server`; stop it on the way out, also when an exception ends the wait."""
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait(STOP_SECONDS)


def _lab_command(port: int) -> list[str]:
    return [
        sys.executable, "-m", "jupyter", "lab", str(REVIEW_NOTEBOOK), "--ServerApp.ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0",
    ]  # fmt: skip


def _voila_command(port: int, dark: bool) -> list[str]:
    return [
        sys.executable, "-m", "voila", str(REVIEW_NOTEBOOK), "--Voila.ip=127.0.0.1", f"--port={port}",
        "--Voila.port_retries=0", "--Voila.auto_token=True", "--preheat_kernel=True",
        f"--theme={'dark' if dark else 'light'}", *_warm_kernel_options(),
    ]  # fmt: skip


def _warm_kernel_options() -> list[str]:
    """Have each page's kernel forked with its modules imported, as in `flows.warm_kernel`; it starts in a second."""
    modules = preloadable_modules(json.loads(REVIEW_NOTEBOOK.read_text(encoding="utf-8")))
    return [f"--WarmProvisioner.modules={name}" for name in modules]


def _url_path(lab: bool) -> str:
    return f"/lab/tree/{REVIEW_NOTEBOOK.name}" if lab else "/"


def find_free_port() -> int:
    """Find a loopback port on which no process listens. Another process can still take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def review_command_line(workspace: Workspace) -> str:
    """Return the shell command that opens the review page on `workspace`."""
    program = Path(sys.executable).with_name("osiris")
    return shlex.join([str(program), "review", "--workspace", str(workspace.folder)])
