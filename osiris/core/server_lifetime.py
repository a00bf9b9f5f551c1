"""Stops a server when its last user ends, even if that user is killed.

`kill -9` runs no handler, but the system releases the file locks of the killed process. So each user of a server holds
a shared lock on one file, and a watchdog process stops the server once nobody holds it. The watchdog runs this file as
a program, so the file imports only the standard library.
"""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

LOCK_POLL_SECONDS = 0.25
"""How often a watchdog checks whether the lock is still held. The end of the server itself wakes it at once."""
STOP_TIMEOUT_SECONDS = 10
"""How long a watchdog waits for the server to end after SIGTERM, and again after SIGKILL."""


def acquire_shared_lock(lock: Path) -> IO[bytes]:
    """Become a user of the server until the returned file is closed. Waits while a watchdog stops that server."""
    lock_file = open(lock, "ab")  # noqa: SIM115
    fcntl.flock(lock_file, fcntl.LOCK_SH)
    return lock_file


def start_watchdog(server_pid: int, lock: Path, cleanup_path: Path) -> None:
    """Stop the process `server_pid` when nobody holds `lock` any more, then remove the file or folder `cleanup_path`.

    The caller holds `lock` itself. Where a watchdog of that server runs already, nothing is started. Returns once the
    watchdog runs. It has a session of its own, so that neither Ctrl-C nor a closed terminal ends it. Without process
    handles (only Linux has them) nothing is started.
    """
    if hasattr(os, "pidfd_open") and not _is_watched(server_pid, lock):
        program = [sys.executable, "-I", "-S", "-B", __file__]
        subprocess.run(
            [*program, str(server_pid), str(lock), str(cleanup_path)],
            check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def stop_on_exit(server_pid: int, folder: Path | None = None) -> IO[bytes]:
    """Stop the process `server_pid` when this process ends, or earlier, when the returned file is closed.

    The returned file is the lock. It lies in `folder` (default: the system's temporary folder) and is removed then.
    """
    with NamedTemporaryFile(prefix="osiris-server-", dir=folder, delete=False) as named:
        lock = Path(named.name)
    lock_file = acquire_shared_lock(lock)
    start_watchdog(server_pid, lock, lock)
    return lock_file


def stop_server(server_pid: int) -> None:
    """Stop the process and wait until it has ended. Only Linux has the process handles that this needs."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(server_pid)
        _stop(handle)
        os.close(handle)


def _watch(server_pid: int, lock: Path, cleanup_path: Path) -> None:
    """Wait until the server ends or its last user ends, whichever comes first; then clean up."""
    handle = os.pidfd_open(server_pid)
    watch_file = _watch_file(server_pid, lock)
    watched = open(watch_file, "ab")  # noqa: SIM115 - the lock on it is held until this process ends
    fcntl.flock(watched, fcntl.LOCK_EX)
    if os.fork():
        os._exit(0)
    os.setsid()
    with open(lock, "ab") as lock_file:
        while not _has_ended(handle, LOCK_POLL_SECONDS):
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            # The lock is still held here: a new user waits until the server is gone, and then starts its own.
            _stop(handle)
    _remove(cleanup_path)
    _remove(watch_file)


def _watch_file(server_pid: int, lock: Path) -> Path:
    """Return the file that a watchdog of this server locks while it runs."""
    return lock.with_name(f"{lock.name}.{server_pid}")


def _is_watched(server_pid: int, lock: Path) -> bool:
    watch_file = _watch_file(server_pid, lock)
    if not watch_file.exists():
        return False
    with open(watch_file, "ab") as watched:
        try:
            fcntl.flock(watched, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _stop(handle: int) -> None:
    """Send SIGTERM, and SIGKILL if the server is still there after the timeout."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        if _has_ended(handle, STOP_TIMEOUT_SECONDS):
            return


def _has_ended(handle: int, seconds: float) -> bool:
    """Wait up to `seconds` for the end of the process; a pidfd becomes readable when its process ends."""
    return bool(select.select([handle], [], [], seconds)[0])


def _remove(cleanup_path: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(cleanup_path) if cleanup_path.is_dir() else cleanup_path.unlink()


if __name__ == "__main__":
    _watch(int(sys.argv[1]), *map(Path, sys.argv[2:]))
