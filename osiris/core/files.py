"""Files that exist completely or not at all, even after a power cut."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from osiris.core.errors import Busy, WorkspaceError


def fsync_path(path: Path) -> None:
    """Flush a file to disk, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to a temporary file, flush it and rename it to `path`. A missing folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    temporary.write_text(text, encoding="utf-8")
    fsync_path(temporary)
    temporary.replace(path)
    fsync_path(path.parent)


def make_once(path: Path, make: Callable[[], object]) -> Path:
    """Return `path`, calling `make` first when it is not there. Of several processes one makes it, the rest wait."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        # Another process may have made it while this one waited for the lock.
        if not path.exists():
            make()
    return path


def publish_folder(unfinished: Path, folder: Path) -> None:
    """Flush every file, then rename: a reader never sees half of the folder, not even after a power cut."""
    for path in sorted(unfinished.iterdir()):
        fsync_path(path)
    fsync_path(unfinished)
    unfinished.rename(folder)
    fsync_path(folder.parent)


def hash_file(path: Path) -> str:
    """Return the sha256 of a file. It is read again only if its size or its modification time differs."""
    status = path.stat()
    return _cached_file_hash(path, status.st_size, status.st_mtime_ns)


@cache
def _cached_file_hash(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create_folder(folder: Path, option: str) -> Path:
    """Create `folder` and return its resolved path. An existing folder is accepted if it is empty.

    `option` is the command-line option that named the folder; error messages refer to it. Raises `WorkspaceError` for
    a folder that has files or cannot be created.
    """
    folder = folder.expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        used = any(folder.iterdir())
    except OSError as error:
        raise WorkspaceError("a folder that can be written", str(error), f"name another one with {option}") from error
    if used:
        raise WorkspaceError("a new or empty folder", str(folder), f"name another one with {option}")
    return folder


@contextmanager
def exclusive_lock(lock: Path, job: str, timeout_seconds: float = 0) -> Iterator[None]:
    """Hold the file `lock` for the block, so that only one process does this `job` at a time.

    The system releases the lock of a killed process. Raises `Busy` if the lock is not free within `timeout_seconds`.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock_file = FileLock(lock, timeout=timeout_seconds)
    try:
        lock_file.acquire()
    except Timeout as error:
        raise Busy(f"to be the only {job} on this workspace", "another one under way", "wait for it to end") from error
    try:
        yield
    finally:
        lock_file.release()
