"""Files that are there whole or not at all, also after a power cut."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Write `text` (UTF-8) beside `path`, flush it and rename; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    temporary.write_text(text, encoding="utf-8")
    fsync_path(temporary)
    temporary.replace(path)
    fsync_path(path.parent)


def create_folder(folder: Path, option: str) -> Path:
    """Make `folder`, which may be there if it is empty, and return it resolved; `option` is how it was named.

    Raises `WorkspaceError` for one that is in use or cannot be made.
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
    """Be the only `what` that holds `lock`, which a killed one lets go; raises `Busy` after `patience` seconds."""
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
