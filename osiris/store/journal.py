"""The write-ahead journal: every accepted fact, one JSON line each, fsynced before anybody is told "saved".

What it covers: a process killed at any instant, and a power cut. A line that was not finished when the process died was
never acknowledged and is cut off at the next append. What it does not cover: a disk that lies about fsync, and several
hosts writing one folder. Callers hold the store's lock while they append.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from osiris.errors import WorkspaceError
from osiris.files import sync

TIME_KEY = "$time"


class Entry(NamedTuple):
    """One line: what happened (past tense) and the rows it happened to; `end` is the offset behind it."""

    kind: str
    rows: list[dict[str, Any]]
    end: int


class Journal:
    """An append-only file of `{"kind", "rows"}` lines."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`; it is made at the first append."""
        self.path = path

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, kind: str, rows: list[dict[str, Any]]) -> int:
        """Write one line durably and return the offset behind it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        self._cut_torn_tail()
        line = json.dumps({"kind": kind, "rows": rows}, default=_encode, allow_nan=False) + "\n"
        with self.path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
            end = file.tell()
        if new:
            sync(self.path.parent)
        return end

    def read(self, start: int = 0) -> Iterator[Entry]:
        """Yield the entries from offset `start` on; a torn last line is not one of them.

        Raises `WorkspaceError` on a damaged line in the middle, which no crash explains.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                try:
                    value = json.loads(line, object_hook=_decode)
                    entry = Entry(value["kind"], value["rows"], file.tell())
                except (ValueError, KeyError, TypeError) as error:
                    at = file.tell() - len(line)
                    raise WorkspaceError(
                        "a readable journal line", f"damage at byte {at} of {self.path}", "restore it from a backup"
                    ) from error
                yield entry

    def _cut_torn_tail(self) -> None:
        if not self.size:
            return
        with self.path.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) == b"\n":
                return
            content = self.path.read_bytes()
            file.truncate(content.rfind(b"\n") + 1)


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return {TIME_KEY: value.astimezone(UTC).isoformat()}
    raise TypeError(f"cannot journal a {type(value).__name__}")


def _decode(value: dict[str, Any]) -> object:
    return datetime.fromisoformat(value[TIME_KEY]) if TIME_KEY in value else value
