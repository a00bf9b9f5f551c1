"""New bars into a file of bars, a piece at a time.

The file is replaced whole or not at all: written beside, flushed to disk, renamed.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from osiris.core.errors import DamagedBars
from osiris.core.files import fsync_path
from osiris.market.bar_disk import damaged_file_error, move_aside, read_disputes, write_disputes
from osiris.market.bar_pieces import MAX_PIECE_BARS, align_pieces
from osiris.market.reconcile import MergeResult, combine, validate_bars


class MergeRule(NamedTuple):
    """How bars are merged (`osiris.market.reconcile`)."""

    tolerance: float
    replace: bool
    interval: str


class StoredFile(NamedTuple):
    """A file of bars: `read` gives those from one moment on and before another; `groups` as of `bar_disk.Reader`."""

    path: Path
    read: Callable[[datetime | None, datetime | None], pd.DataFrame]
    row_groups: tuple[list[datetime], int]


def merge_file(
    stored: Callable[[], StoredFile], pieces: Callable[[], Iterable[pd.DataFrame]], rule: MergeRule, *, repair: bool
) -> tuple[MergeResult, list[pd.DataFrame]]:
    """Merge `pieces` into a file; what was done, and start and end of the bars that were added.

    Raises `DamagedBars` where it cannot be read, unless `repair`, which moves it aside and asks for the pieces again.
    """
    aside = ""
    try:
        file = FileMerge(stored(), rule)
        merged = file.run(pieces())
    except DamagedBars:
        if not repair:
            raise
        aside = str(move_aside(stored().path))
        file = FileMerge(stored(), rule)
        merged = file.run(pieces())
    return replace(merged, moved_to=aside), file.added_spans


class FileMerge:
    """The merge of new bars into one file, which is read and written a piece at a time."""

    def __init__(self, file: StoredFile, rule: MergeRule) -> None:
        """Merge into `file` by `rule`."""
        self._file, self._rule = file, rule
        self._earlier_disputes = read_disputes(file.path)
        self._open_disputes, self._offered, self._dropped = list(self._earlier_disputes), 0, 0
        self._merges: list[MergeResult] = []
        self.added_spans: list[pd.DataFrame] = []
        """Start and end of the bars that were added, in pieces."""

    def run(self, pieces: Iterable[pd.DataFrame]) -> MergeResult:
        """Merge frames that follow one another in time; the file is replaced whole, and only where it changes.

        Raises `DamagedBars` where the file gives other bars than it says it has.
        """
        with rewrite_file(self._file.path) as rewrite:
            changed = self._merge(pieces, rewrite)
            found = [one for merged in self._merges for one in merged.disagreements]
            write_disputes(
                self._file.path, [*self._earlier_disputes, *found]
            )  # before the bars, those that ended after them
            if changed:
                rewrite.publish()
            write_disputes(self._file.path, [*self._open_disputes, *found])
        added, changed_bars = (sum(getattr(merged, name) for merged in self._merges) for name in ("added", "changed"))
        return MergeResult(added, changed_bars, self._dropped, found, offered=self._offered)

    def _merge(self, pieces: Iterable[pd.DataFrame], rewrite: "FileRewrite") -> bool:
        """Whether anything changed; if so, all pieces are in the draft."""
        (edges, rows), unchanged, seen, changed = self._file.row_groups, [], 0, False
        for span, offered in align_pieces(edges, map(self._usable, pieces)):
            stored = self._file.read(*span)
            seen += len(stored)
            if stored["start"].duplicated().any():
                raise damaged_file_error(self._file.path, "which has a bar twice")
            combined = stored if offered is None else self._merge_piece(stored, offered)
            if not changed and combined.equals(stored):
                unchanged.append(span)
                continue
            if not changed:
                for before in unchanged:
                    rewrite.add(self._file.read(*before))
                changed = True
            rewrite.add(combined)
        if edges and seen != rows:
            raise damaged_file_error(self._file.path, f"which gives {seen} bars of {rows}")
        return changed

    def _usable(self, frame: pd.DataFrame) -> pd.DataFrame:
        usable = validate_bars(frame)
        self._offered += len(frame)
        self._dropped += len(frame) - len(usable)
        return usable

    def _merge_piece(self, stored: pd.DataFrame, offered: pd.DataFrame) -> pd.DataFrame:
        """A piece of the file with what is offered for it; disputes end where a source or a person speaks again."""
        rule = self._rule
        disputed = [d.start for d in self._open_disputes]
        combined, merged = combine(stored, offered, rule.tolerance, rule.replace, rule.interval, disputed)
        self._merges.append(merged)
        again = offered[offered["start"].isin(disputed)]
        offered_again = set(zip(again["start"], again["source"], strict=True))
        starts = set(again["start"]) if rule.replace else set()
        self._open_disputes = [
            d for d in self._open_disputes if d.start not in starts and (d.start, d.offered_source) not in offered_again
        ]
        if merged.added:
            self.added_spans.append(offered.loc[~offered["start"].isin(stored["start"]), ["start", "end"]])
        return combined


class FileRewrite:
    """A Parquet file written beside the one at `path`, which it replaces whole, or not at all."""

    def __init__(self, path: Path) -> None:
        """Nothing is written yet."""
        self._path, self._temporary = path, path.with_suffix(".tmp")
        self._buffer: list[pd.DataFrame] = []
        self._writer = None

    def add(self, frame: pd.DataFrame) -> None:
        """Append bars that come after all before."""
        self._buffer.append(frame)
        if sum(map(len, self._buffer)) >= 2 * MAX_PIECE_BARS:
            waiting = pd.concat(self._buffer, ignore_index=True)
            whole = len(waiting) // MAX_PIECE_BARS - 1  # what is left is long enough for a piece of its own
            self._write(waiting.iloc[: whole * MAX_PIECE_BARS], MAX_PIECE_BARS)
            self._buffer = [waiting.iloc[whole * MAX_PIECE_BARS :]]

    def publish(self) -> None:
        """Put it in the place of the file, once it is on disk."""
        waiting = self._buffer[0] if len(self._buffer) == 1 else pd.concat(self._buffer, ignore_index=True)
        parts = -(-len(waiting) // MAX_PIECE_BARS) or 1
        self._write(waiting, -(-len(waiting) // parts) or 1)
        self._writer.close()
        fsync_path(self._temporary)
        self._temporary.replace(self._path)
        fsync_path(self._path.parent)

    def close(self) -> None:
        """Leave nothing that was not published."""
        if self._writer:
            try:
                self._writer.close()
            finally:
                self._temporary.unlink(missing_ok=True)

    def _write(self, frame: pd.DataFrame, piece: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(frame, preserve_index=False)
        self._writer = self._writer or pq.ParquetWriter(self._temporary, table.schema)
        self._writer.write_table(table, row_group_size=piece)


@contextmanager
def rewrite_file(path: Path) -> Iterator[FileRewrite]:
    """A `Rewrite` of the file at `path`, of which nothing is left unless it is published."""
    rewrite = FileRewrite(path)
    try:
        yield rewrite
    finally:
        rewrite.close()
