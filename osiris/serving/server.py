"""The API as a thread of a process, on loopback, and the way in which other processes find it.

A running API writes its address to `data/api.json`. A process that was killed leaves that file behind. So an address is
ignored if its process has ended, or if no server there accepts the workspace's token.
"""

import atexit
import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx
import uvicorn

from osiris.api import create_app, ensure_api_token
from osiris.core.errors import SourceUnavailable
from osiris.core.files import write_atomically
from osiris.workspace import Workspace

API_START_SECONDS = 30
API_TIMEOUT_SECONDS = 10
API_CONNECT_SECONDS = 2


@dataclass
class RunningApi:
    """An API in a thread of this process; leave the context to stop it."""

    url: str
    token: str
    _server: uvicorn.Server
    _thread: threading.Thread
    _address_path: Path

    def client(self) -> httpx.Client:
        """An HTTP client with the token."""
        return _client(self.url, self.token)

    def stop(self) -> None:
        """Finish the requests under way, stop, and remove the address file.

        The file stays if it names another API, which then started after this one.
        """
        self._server.should_exit = True
        self._thread.join(API_START_SECONDS)
        if _read_address(self._address_path) == self.url:
            self._address_path.unlink(missing_ok=True)
        atexit.unregister(self.stop)

    def wait(self) -> None:
        """Block until the server stops or the terminal is interrupted."""
        with contextlib.suppress(KeyboardInterrupt):
            self._thread.join()

    def __enter__(self) -> "RunningApi":
        """Return this API, which runs already."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Stop the API."""
        self.stop()


def start_api(workspace: Workspace, port: int | None = None) -> RunningApi:
    """Serve the API in a thread; `port` 0 picks a free one. Raises `SourceUnavailable` when it does not start."""
    review = workspace.settings.review
    listening = _listen(review.host, review.port if port is None else port)
    server = uvicorn.Server(uvicorn.Config(create_app(workspace), log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listening],), name="osiris-api", daemon=True)
    thread.start()
    deadline = time.monotonic() + API_START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            server.should_exit = True
            raise SourceUnavailable("the API to start", f"no answer in {API_START_SECONDS} s", "see the log above")
        time.sleep(0.02)
    url = f"http://{review.host}:{listening.getsockname()[1]}"
    api = RunningApi(url, ensure_api_token(workspace), server, thread, address_path(workspace))
    write_atomically(address_path(workspace), json.dumps({"url": url, "pid": os.getpid()}))
    atexit.register(api.stop)
    return api


def find_api(workspace: Workspace) -> httpx.Client | None:
    """Return a client of the API that runs for this workspace, in this process or another; `None` without one."""
    url = _read_address(address_path(workspace))
    if url is None:
        return None
    token = ensure_api_token(workspace)
    try:
        with _client(url, token) as client:
            is_healthy = client.get("/health").is_success
    except httpx.HTTPError:
        return None
    return _client(url, token) if is_healthy else None


def address_path(workspace: Workspace) -> Path:
    """Return the path of the file with the address of a running API: `{"url", "pid"}`."""
    return workspace.settings.data / "api.json"


def _listen(host: str, port: int) -> socket.socket:
    try:
        listening = socket.create_server((host, port))
        # Accepted connections inherit this option. Without it the second part of an answer waits 40 ms for an ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise SourceUnavailable(
            "an address to listen on", f"{error} at {host}:{port}", "set review.port to a free port, or 0"
        ) from error


def _client(url: str, token: str) -> httpx.Client:
    timeout = httpx.Timeout(API_TIMEOUT_SECONDS, connect=API_CONNECT_SECONDS)
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout, trust_env=False)


def _read_address(path: Path) -> str | None:
    """Read the address, if the process that wrote it still runs.

    Otherwise a foreign process may have its port by now, and it must not be sent the token.
    """
    try:
        address = json.loads(path.read_text())
        os.kill(address["pid"], 0)  # signal 0 only asks whether the process exists
        return str(address["url"])
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
