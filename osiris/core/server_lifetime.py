"""Ends a server with its last user, however that user ends: `kill -9` runs no handler, but it lets go of a file lock.

Each user of a server holds a shared lock on one file; a keeper process beside the server ends it when nobody does. The
keeper is this file as a program, so it imports the standard library alone.
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
"""How often a keeper looks whether anybody still holds the lock; the end of the server itself wakes it at once."""
STOP_TIMEOUT_SECONDS = 10


def acquire_shared_lock(lock: Path) -> IO[bytes]:
    """Be a user of the server of `lock` until what is returned is closed; waits while a keeper ends that server."""
    lock_file = open(lock, "ab")  # noqa: SIM115
    fcntl.flock(lock_file, fcntl.LOCK_SH)
    return lock_file


def start_watchdog(server_pid: int, lock: Path, cleanup_path: Path) -> None:
    """End the process `server` when nobody uses `lock` any more, and remove `leftover`, a file or folder of its own.

    The caller uses `lock` itself. Returns once the keeper watches, in a session of its own: neither Ctrl-C nor a
    closed terminal reaches it. Where the system has no handles on processes (not Linux) nothing is started.
    """
    if hasattr(os, "pidfd_open"):
        program = [sys.executable, "-I", "-S", "-B", __file__]
        subprocess.run(
            [*program, str(server_pid), str(lock), str(cleanup_path)],
            check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def stop_on_exit(server_pid: int, folder: Path | None = None) -> IO[bytes]:
    """Let the process `server` end with this one, or before, when what is returned is closed.

    A file in `folder` (default: that of temporary files) is its lock until then.
    """
    with NamedTemporaryFile(prefix="osiris-server-", dir=folder, delete=False) as named:
        lock = Path(named.name)
    lock_file = acquire_shared_lock(lock)
    start_watchdog(server_pid, lock, lock)
    return lock_file


def _watch(server_pid: int, lock: Path, cleanup_path: Path) -> None:
    """Wait for the end of the server or of its last user, whichever is first."""
    handle = os.pidfd_open(server_pid)
    if os.fork():
        os._exit(0)
    os.setsid()
    with open(lock, "ab") as lock_file:
        while not _ended(handle, LOCK_POLL_SECONDS):
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _end(handle)  # with the lock: who comes now waits, and then starts a server of their own
    _remove(cleanup_path)


def _end(handle: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        if _ended(handle, STOP_TIMEOUT_SECONDS):
            return


def _ended(handle: int, seconds: float) -> bool:
    return bool(select.select([handle], [], [], seconds)[0])


def _remove(cleanup_path: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(cleanup_path) if cleanup_path.is_dir() else cleanup_path.unlink()


if __name__ == "__main__":
    _watch(int(sys.argv[1]), *map(Path, sys.argv[2:]))
