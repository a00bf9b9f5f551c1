"""The write-ahead journal: every accepted fact is one JSON line, fsynced before the caller reports success.

The journal survives a process killed at any instant, and a power cut. A line that was unfinished when the process died
was never acknowledged; the next append cuts it off. The journal does not protect against a disk that reports fsync
without doing it, or against several hosts that write one folder. Callers hold the store's lock while they append.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from osiris.core.errors import WorkspaceError
from osiris.core.files import fsync_path

if TYPE_CHECKING:
    import pyarrow as pa

TIME_KEY = "$time"
MICROSECONDS_KEY = "$microseconds"
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class JournalEntry(NamedTuple):
    """One line: a change (a verb in the past tense) and its rows. `end` is the file offset after the line."""

    kind: str
    rows: list[dict[str, Any]]
    end: int


class Journal:
    """An append-only file of lines `{"kind", "rows"}`. A large entry has `columns` (name to values) instead."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`; the first append creates it."""
        self.path = path

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, kind: str, rows: list[dict[str, Any]]) -> int:
        """Write one line durably and return the offset after it."""
        return self._append(json.dumps({"kind": kind, "rows": rows}, default=_encode, allow_nan=False).encode())

    def append_table(self, kind: str, table: "pa.Table") -> int:
        """Append many rows as columns. Times are UTC microseconds in the file; raises `ValueError` for NaN."""
        return self._append(orjson.dumps({"kind": kind, "columns": _columns(table)}))

    def _append(self, line: bytes) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        self._cut_torn_tail()
        with self.path.open("ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
            end = file.tell()
        if new:
            fsync_path(self.path.parent)  # a new file survives a power cut only once its name is on disk too
        return end

    def read(self, start: int = 0) -> Iterator[JournalEntry]:
        """Yield the entries from offset `start` on, without an unfinished last line.

        Raises `WorkspaceError` for a damaged line in the middle, because no crash explains that.
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
                    rows = value["rows"] if "rows" in value else _rows(value["columns"])
                    entry = JournalEntry(value["kind"], rows, file.tell())
                except (ValueError, KeyError, TypeError) as error:
                    offset = file.tell() - len(line)
                    raise WorkspaceError(
                        "a readable journal line", f"damage at byte {offset} of {self.path}", "restore it from a backup"
                    ) from error
                yield entry

    def _cut_torn_tail(self) -> None:
        """Cut off an unfinished last line, which a killed process never acknowledged."""
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
    if MICROSECONDS_KEY in value:
        moments = value[MICROSECONDS_KEY]
        return [None if moment is None else UNIX_EPOCH + timedelta(microseconds=moment) for moment in moments]
    return datetime.fromisoformat(value[TIME_KEY]) if TIME_KEY in value else value


def _columns(table: "pa.Table") -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
            raise ValueError(f"a NaN in {name}: what is absent is null")
        moments = pa.types.is_timestamp(column.type)
        values = (column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()) if moments else column).to_pylist()
        columns[name] = {MICROSECONDS_KEY: values} if moments else values
    return columns


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
