"""Merge new bars into a file of bars, a piece at a time.

The file is replaced as a whole or not at all: a temporary file is written, flushed to disk and renamed.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from osiris.core.errors import DamagedBars
from osiris.core.files import fsync_path
from osiris.market.bar_disk import damaged_file_error, move_aside
from osiris.market.bar_pieces import MAX_PIECE_BARS, TimeRange, align_pieces
from osiris.market.disputes import read_disputes, write_disputes
from osiris.market.reconcile import MergeResult, combine, validate_bars

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetWriter


class MergeRule(NamedTuple):
    """The settings of a merge: the tolerance, whether stored bars are replaced, the length of the bars.

    `osiris.market.reconcile` has the rules.
    """

    tolerance: float
    replace: bool
    interval: str


class StoredFile(NamedTuple):
    """A file of bars; `read` gives those from one moment on and before another.

    `row_groups` is the result of `bar_disk.BarReader.read_row_groups`: the edges, and the number of bars.
    """

    path: Path
    read: Callable[[datetime | None, datetime | None], pd.DataFrame]
    row_groups: tuple[list[datetime], int]


def merge_file(
    stored: Callable[[], StoredFile], pieces: Callable[[], Iterable[pd.DataFrame]], rule: MergeRule, *, repair: bool
) -> tuple[MergeResult, list[pd.DataFrame]]:
    """Merge `pieces` into a file; returns the counts, and start and end of the bars that were added.

    Raises `DamagedBars` if the file cannot be read. With `repair` it is renamed instead, and `pieces` is called again.
    """
    moved_to = ""
    try:
        file = FileMerge(stored(), rule)
        merged = file.run(pieces())
    except DamagedBars:
        if not repair:
            raise
        moved_to = str(move_aside(stored().path))
        file = FileMerge(stored(), rule)
        merged = file.run(pieces())
    return replace(merged, moved_to=moved_to), file.added_spans


class FileMerge:
    """The merge of new bars into one file, which is read and written a piece at a time."""

    def __init__(self, file: StoredFile, rule: MergeRule) -> None:
        """Merge into `file` by `rule`."""
        self._file, self._rule = file, rule
        self._earlier_disputes = read_disputes(file.path)
        self._open_disputes = list(self._earlier_disputes)
        self._offered = 0
        self._dropped = 0
        self._merges: list[MergeResult] = []
        self.added_spans: list[pd.DataFrame] = []
        """Start and end of the bars that were added, in pieces."""

    def run(self, pieces: Iterable[pd.DataFrame]) -> MergeResult:
        """Merge frames that follow one another in time; the file is replaced as a whole, and only if a bar changes.

        Raises `DamagedBars` if the file gives another number of bars than its footer says, or a bar twice.
        """
        with rewrite_file(self._file.path) as rewrite:
            changed = self._merge(pieces, rewrite)
            found = [one for merged in self._merges for one in merged.disagreements]
            # Disputes begin before the bars change and end after it: a crash in between leaves one too many, never a
            # disputed bar that counts as undisputed.
            write_disputes(self._file.path, [*self._earlier_disputes, *found])
            if changed:
                rewrite.publish()
            write_disputes(self._file.path, [*self._open_disputes, *found])
        added = sum(merged.added for merged in self._merges)
        changed_bars = sum(merged.changed for merged in self._merges)
        return MergeResult(added, changed_bars, self._dropped, found, offered=self._offered)

    def _merge(self, pieces: Iterable[pd.DataFrame], rewrite: "FileRewrite") -> bool:
        """Whether any bar changed; if so, all pieces are in `rewrite`."""
        edges, rows = self._file.row_groups
        unchanged: list[TimeRange] = []
        seen = 0
        changed = False
        for span, offered in align_pieces(edges, map(self._usable, pieces)):
            stored = self._file.read(*span)
            seen += len(stored)
            if stored["start"].duplicated().any():
                raise damaged_file_error(self._file.path, "which has a bar twice")
            combined = stored if offered is None else self._merge_piece(stored, offered)
            if not changed and combined.equals(stored):
                unchanged.append(span)  # the pieces before the first change are only copied once there is one
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
        """A piece of the file with the bars that are offered for it.

        A dispute ends if its source offers the bar again; `combine` finds it again if the two still differ. It also
        ends if a person replaces the bar.
        """
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
    """A temporary Parquet file that replaces the one at `path` as a whole, or not at all."""

    def __init__(self, path: Path) -> None:
        """Nothing is written yet."""
        self._path, self._temporary = path, path.with_suffix(".tmp")
        self._buffer: list[pd.DataFrame] = []
        self._writer: ParquetWriter | None = None

    def add(self, frame: pd.DataFrame) -> None:
        """Append bars that are later than all bars before."""
        self._buffer.append(frame)
        if sum(map(len, self._buffer)) >= 2 * MAX_PIECE_BARS:
            buffered = pd.concat(self._buffer, ignore_index=True)
            full = len(buffered) // MAX_PIECE_BARS - 1  # the rest is long enough for a piece of its own
            self._write(buffered.iloc[: full * MAX_PIECE_BARS], MAX_PIECE_BARS)
            self._buffer = [buffered.iloc[full * MAX_PIECE_BARS :]]

    def publish(self) -> None:
        """Flush the temporary file to disk, then rename it to the file."""
        buffered = self._buffer[0] if len(self._buffer) == 1 else pd.concat(self._buffer, ignore_index=True)
        # -(-a // b) rounds up: pieces of about equal length, none longer than allowed; `or 1` is for no bars at all.
        parts = -(-len(buffered) // MAX_PIECE_BARS) or 1
        writer = self._write(buffered, -(-len(buffered) // parts) or 1)
        writer.close()
        fsync_path(self._temporary)
        self._temporary.replace(self._path)
        fsync_path(self._path.parent)

    def close(self) -> None:
        """Remove the temporary file, unless it was published."""
        if self._writer:
            try:
                self._writer.close()
            finally:
                self._temporary.unlink(missing_ok=True)

    def _write(self, frame: pd.DataFrame, piece: int) -> "ParquetWriter":
        """Write bars in row groups of `piece` bars; returns the writer, which is opened with the first of them."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = self._writer = self._writer or pq.ParquetWriter(self._temporary, table.schema)
        writer.write_table(table, row_group_size=piece)
        return writer


@contextmanager
def rewrite_file(path: Path) -> Iterator[FileRewrite]:
    """A `FileRewrite` of the file at `path`; its temporary file is removed unless it is published."""
    rewrite = FileRewrite(path)
    try:
        yield rewrite
    finally:
        rewrite.close()
