"""Servers that a process starts beside its own work: the API on loopback."""

import contextlib
import threading
import time
from dataclasses import dataclass
from types import TracebackType

import httpx
import uvicorn

from osiris.api import api_token, create_app
from osiris.errors import SourceUnavailable
from osiris.workspace import Workspace

START_SECONDS = 30


@dataclass
class RunningApi:
    """An API in a thread of this process; leave the context to stop it."""

    url: str
    token: str
    _server: uvicorn.Server
    _thread: threading.Thread

    def client(self) -> httpx.Client:
        """An HTTP client with the token."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)

    def stop(self) -> None:
        """Stop answering, after the requests under way."""
        self._server.should_exit = True
        self._thread.join(START_SECONDS)

    def wait(self) -> None:
        """Block until the server stops or the terminal is interrupted."""
        with contextlib.suppress(KeyboardInterrupt):
            self._thread.join()

    def __enter__(self) -> "RunningApi":
        """Return itself, running."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Stop."""
        self.stop()


def start_api(workspace: Workspace, port: int | None = None) -> RunningApi:
    """Serve the API in a thread; `port` 0 picks a free one. Raises `SourceUnavailable` when it does not come up."""
    review = workspace.settings.review
    config = uvicorn.Config(
        create_app(workspace), host=review.host, port=review.port if port is None else port, log_level="warning"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="osiris-api", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise SourceUnavailable(
                "the API to start", f"no answer on {review.host}:{config.port}", "set review.port to a free port, or 0"
            )
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    return RunningApi(f"http://{review.host}:{port}", api_token(workspace), server, thread)
