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

LOOK_SECONDS = 0.25
"""How often a keeper looks whether anybody still holds the lock; the end of the server itself wakes it at once."""
PATIENCE_SECONDS = 10


def use(lock: Path) -> IO[bytes]:
    """Be a user of the server of `lock` until what is returned is closed; waits while a keeper ends that server."""
    held = open(lock, "ab")  # noqa: SIM115
    fcntl.flock(held, fcntl.LOCK_SH)
    return held


def keep(server: int, lock: Path, leftover: Path) -> None:
    """End the process `server` when nobody uses `lock` any more, and remove `leftover`, a file or folder of its own.

    The caller uses `lock` itself. Returns once the keeper watches, in a session of its own: neither Ctrl-C nor a
    closed terminal reaches it. Where the system has no handles on processes (not Linux) nothing is started.
    """
    if hasattr(os, "pidfd_open"):
        program = [sys.executable, "-I", "-S", "-B", __file__]
        subprocess.run(
            [*program, str(server), str(lock), str(leftover)],
            check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def end_with_us(server: int, folder: Path | None = None) -> IO[bytes]:
    """Let the process `server` end with this one, or before, when what is returned is closed.

    A file in `folder` (default: that of temporary files) is its lock until then.
    """
    with NamedTemporaryFile(prefix="osiris-server-", dir=folder, delete=False) as named:
        lock = Path(named.name)
    held = use(lock)
    keep(server, lock, lock)
    return held


def _watch(server: int, lock: Path, leftover: Path) -> None:
    """Wait for the end of the server or of its last user, whichever is first."""
    handle = os.pidfd_open(server)
    if os.fork():
        os._exit(0)
    os.setsid()
    with open(lock, "ab") as held:
        while not _ended(handle, LOOK_SECONDS):
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _end(handle)  # with the lock: who comes now waits, and then starts a server of their own
    _remove(leftover)


def _end(handle: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        if _ended(handle, PATIENCE_SECONDS):
            return


def _ended(handle: int, seconds: float) -> bool:
    return bool(select.select([handle], [], [], seconds)[0])


def _remove(leftover: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


if __name__ == "__main__":
    _watch(int(sys.argv[1]), *map(Path, sys.argv[2:]))
