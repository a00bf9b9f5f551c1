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
from osiris.core.files import sync
from osiris.market.bar_disk import damaged, disputes_of, move_aside, note_disputes
from osiris.market.bar_pieces import PIECE, beside
from osiris.market.reconcile import Merged, checked, combine


class Rule(NamedTuple):
    """How bars are merged (`osiris.market.reconcile`)."""

    tolerance: float
    replace: bool
    interval: str


class Stored(NamedTuple):
    """A file of bars: `read` gives those from one moment on and before another; `groups` as of `bar_disk.Reader`."""

    path: Path
    read: Callable[[datetime | None, datetime | None], pd.DataFrame]
    groups: tuple[list[datetime], int]


def merge_file(
    stored: Callable[[], Stored], pieces: Callable[[], Iterable[pd.DataFrame]], rule: Rule, *, repair: bool
) -> tuple[Merged, list[pd.DataFrame]]:
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
    return replace(merged, aside=aside), file.came


class FileMerge:
    """The merge of new bars into one file, which is read and written a piece at a time."""

    def __init__(self, file: Stored, rule: Rule) -> None:
        """Merge into `file` by `rule`."""
        self._file, self._rule = file, rule
        self._earlier = disputes_of(file.path)
        self._standing, self._offered, self._dropped = list(self._earlier), 0, 0
        self._done: list[Merged] = []
        self.came: list[pd.DataFrame] = []
        """Start and end of the bars that were added, in pieces."""

    def run(self, pieces: Iterable[pd.DataFrame]) -> Merged:
        """Merge frames that follow one another in time; the file is replaced whole, and only where it changes.

        Raises `DamagedBars` where the file gives other bars than it says it has.
        """
        with rewriting(self._file.path) as draft:
            changed = self._merge(pieces, draft)
            found = [one for merged in self._done for one in merged.disagreements]
            note_disputes(self._file.path, [*self._earlier, *found])  # before the bars, those that ended after them
            if changed:
                draft.publish()
            note_disputes(self._file.path, [*self._standing, *found])
        added, changed_bars = (sum(getattr(merged, name) for merged in self._done) for name in ("added", "changed"))
        return Merged(added, changed_bars, self._dropped, found, offered=self._offered)

    def _merge(self, pieces: Iterable[pd.DataFrame], draft: "Rewrite") -> bool:
        """Whether anything changed; if so, all pieces are in the draft."""
        (edges, rows), unchanged, seen, changed = self._file.groups, [], 0, False
        for span, offered in beside(edges, map(self._usable, pieces)):
            stored = self._file.read(*span)
            seen += len(stored)
            if stored["start"].duplicated().any():
                raise damaged(self._file.path, "which has a bar twice")
            combined = stored if offered is None else self._one(stored, offered)
            if not changed and combined.equals(stored):
                unchanged.append(span)
                continue
            if not changed:
                for before in unchanged:
                    draft.add(self._file.read(*before))
                changed = True
            draft.add(combined)
        if edges and seen != rows:
            raise damaged(self._file.path, f"which gives {seen} bars of {rows}")
        return changed

    def _usable(self, frame: pd.DataFrame) -> pd.DataFrame:
        usable = checked(frame)
        self._offered += len(frame)
        self._dropped += len(frame) - len(usable)
        return usable

    def _one(self, stored: pd.DataFrame, offered: pd.DataFrame) -> pd.DataFrame:
        """A piece of the file with what is offered for it; disputes end where a source or a person speaks again."""
        rule = self._rule
        disputed = [d.start for d in self._standing]
        combined, merged = combine(stored, offered, rule.tolerance, rule.replace, rule.interval, disputed)
        self._done.append(merged)
        again = offered[offered["start"].isin(disputed)]
        spoken = set(zip(again["start"], again["source"], strict=True))
        starts = set(again["start"]) if rule.replace else set()
        self._standing = [
            d for d in self._standing if d.start not in starts and (d.start, d.offered_source) not in spoken
        ]
        if merged.added:
            self.came.append(offered.loc[~offered["start"].isin(stored["start"]), ["start", "end"]])
        return combined


class Rewrite:
    """A Parquet file written beside the one at `path`, which it replaces whole, or not at all."""

    def __init__(self, path: Path) -> None:
        """Nothing is written yet."""
        self._path, self._draft = path, path.with_suffix(".tmp")
        self._waiting: list[pd.DataFrame] = []
        self._writer = None

    def add(self, frame: pd.DataFrame) -> None:
        """Append bars that come after all before."""
        self._waiting.append(frame)
        if sum(map(len, self._waiting)) >= 2 * PIECE:
            waiting = pd.concat(self._waiting, ignore_index=True)
            whole = len(waiting) // PIECE - 1  # what is left is long enough for a piece of its own
            self._write(waiting.iloc[: whole * PIECE], PIECE)
            self._waiting = [waiting.iloc[whole * PIECE :]]

    def publish(self) -> None:
        """Put it in the place of the file, once it is on disk."""
        waiting = self._waiting[0] if len(self._waiting) == 1 else pd.concat(self._waiting, ignore_index=True)
        parts = -(-len(waiting) // PIECE) or 1
        self._write(waiting, -(-len(waiting) // parts) or 1)
        self._writer.close()
        sync(self._draft)
        self._draft.replace(self._path)
        sync(self._path.parent)

    def close(self) -> None:
        """Leave nothing that was not published."""
        if self._writer:
            try:
                self._writer.close()
            finally:
                self._draft.unlink(missing_ok=True)

    def _write(self, frame: pd.DataFrame, piece: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(frame, preserve_index=False)
        self._writer = self._writer or pq.ParquetWriter(self._draft, table.schema)
        self._writer.write_table(table, row_group_size=piece)


@contextmanager
def rewriting(path: Path) -> Iterator[Rewrite]:
    """A `Rewrite` of the file at `path`, of which nothing is left unless it is published."""
    draft = Rewrite(path)
    try:
        yield draft
    finally:
        draft.close()
