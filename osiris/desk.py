"""Servers that hold the terminal until interrupted: the API, and JupyterLab on the review page."""

import shlex
import subprocess
import sys
from pathlib import Path

from osiris.settings import HOUSE, child_environment
from osiris.workspace import Workspace

REVIEW_PAGE = HOUSE / "notebooks" / "02_review.ipynb"


def serve_api(workspace: Workspace, port: int | None = None) -> None:
    """Serve the HTTP sidecar until interrupted; `port` defaults to `review.port`, 0 picks a free one."""
    from osiris.services import start_api

    with start_api(workspace, port) as api:
        print(f"Osiris API on {api.url}; the token is in {workspace.settings.data / 'api-token'}. Ctrl-C stops it.")
        api.wait()


def open_review(workspace: Workspace) -> int:
    """Run JupyterLab on the Advisory tab of `workspace`; returns its exit status."""
    command = [sys.executable, "-m", "jupyter", "lab", str(REVIEW_PAGE)]
    return subprocess.call(command, env=child_environment(workspace.folder))


def review_command(workspace: Workspace) -> str:
    """The shell command that opens the review page on `workspace`."""
    program = Path(sys.executable).with_name("osiris")
    return shlex.join([str(program), "review", "--workspace", str(workspace.folder)])
