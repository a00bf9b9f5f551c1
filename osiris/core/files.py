"""Files that are there whole or not at all, also after a power cut."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from osiris.core.errors import Busy, WorkspaceError


def sync(path: Path) -> None:
    """Flush a file to disk, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write `text` (UTF-8) beside `path`, flush it and rename; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    draft.write_text(text, encoding="utf-8")
    sync(draft)
    draft.replace(path)
    sync(path.parent)


def new_folder(folder: Path, option: str) -> Path:
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
def one_at_a_time(lock: Path, what: str, patience: float = 0) -> Iterator[None]:
    """Be the only `what` that holds `lock`, which a killed one lets go; raises `Busy` after `patience` seconds."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock, timeout=patience)
    try:
        held.acquire()
    except Timeout as error:
        raise Busy(f"to be the only {what} on this workspace", "another one under way", "wait for it to end") from error
    try:
        yield
    finally:
        held.release()
