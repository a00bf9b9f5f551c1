"""The Prefect server of a workspace's flows: the user's own, or a temporary one with its files in the workspace."""

import logging
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.logging.handlers import APILogWorker
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, temporary_settings

from osiris.config.settings import Settings
from osiris.core.server_lifetime import stop_on_exit

LOG_TIMEOUT_SECONDS = 5


class TemporaryServer(SubprocessASGIServer):
    """Prefect's temporary server. It ends with this process, also if this process is killed."""

    def _run_uvicorn_command(self) -> "subprocess.Popen[Any]":
        process = super()._run_uvicorn_command()
        # Keep the locked file open as long as this object lives: closing it ends the server.
        self._lock_file = stop_on_exit(process.pid)
        return process


def prefect_home(settings: Settings) -> Path:
    """Return the folder of the temporary server's database."""
    return settings.data / "prefect"


@contextmanager
def prefect_server(settings: Settings) -> Iterator[None]:
    """Run the flows that start inside on the workspace's server."""
    if settings.prefect.api_url:
        with temporary_settings({"api.url": settings.prefect.api_url}):
            yield
        return
    # With `osiris -v` the runs show every step, and otherwise what went wrong.
    level = "INFO" if logging.getLogger("osiris").isEnabledFor(logging.INFO) else "WARNING"
    home = prefect_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    updates = {
        "home": home,
        "profiles_path": home / "profiles.toml",
        "server.database.connection_url": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "server.ephemeral.enabled": True,
        "server.ephemeral.startup_timeout_seconds": settings.prefect.startup_timeout_seconds,
        "server.analytics_enabled": False,
        "logging.level": level,
    }
    logging.getLogger("prefect").setLevel(level)
    with temporary_settings(updates, restore_defaults={PREFECT_API_URL}):
        TemporaryServer()  # Prefect keeps one instance, and starts it at the first flow
        try:
            yield
        finally:
            APILogWorker.drain_all(timeout=LOG_TIMEOUT_SECONDS)  # what the runs logged last is sent by a thread


def prefect_ui_command(settings: Settings) -> str:
    """Return the shell command that opens the Prefect UI on this workspace."""
    if settings.prefect.api_url:
        return f"open {settings.prefect.api_url.removesuffix('/api')}"
    home, program = (
        shlex.quote(str(path)) for path in (prefect_home(settings), Path(sys.executable).with_name("prefect"))
    )
    return f"PREFECT_HOME={home} PREFECT_SERVER_ANALYTICS_ENABLED=false {program} server start --host 127.0.0.1"
