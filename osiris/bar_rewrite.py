"""New bars into a file of bars, a piece at a time.

The file is replaced whole or not at all: written beside, flushed to disk, renamed.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from osiris.bar_disk import disputes_of, note_disputes
from osiris.bar_merge import Merged, checked, combine
from osiris.bar_pieces import PIECE, beside, edges_of
from osiris.files import sync


class Rule(NamedTuple):
    """How bars are merged (`osiris.bar_merge`); `watched` are opens and closes of sessions that had no bars so far."""

    tolerance: float
    replace: bool
    interval: str
    watched: dict[datetime, datetime]


class FileMerge:
    """The merge of new bars into one file, which is read and written a piece at a time."""

    def __init__(
        self, path: Path, read: Callable[[datetime | None, datetime | None], pd.DataFrame], rule: Rule
    ) -> None:
        """Merge into `path`; `read` gives its bars from one moment on and before another."""
        self._path, self._read, self._rule = path, read, rule
        self._earlier = disputes_of(path)
        self._standing, self._offered, self._dropped = list(self._earlier), 0, 0
        self._done: list[Merged] = []
        self.came: list[pd.DataFrame] = []
        """Bars that were added to the sessions of `Rule.watched`."""

    def run(self, pieces: Iterable[pd.DataFrame]) -> Merged:
        """Merge frames that follow one another in time; the file is replaced whole, and only where it changes."""
        changed = False
        with rewriting(self._path) as draft:
            for (low, high), offered in beside(edges_of(self._path), map(self._usable, pieces)):
                stored = self._read(low, high)
                combined = stored if offered is None else self._one(stored, offered)
                changed = changed or not combined.equals(stored)
                draft.add(combined)
            found = [one for merged in self._done for one in merged.disagreements]
            note_disputes(self._path, [*self._earlier, *found])  # before the bars, those that ended after them
            if changed:
                draft.publish()
            note_disputes(self._path, [*self._standing, *found])
        added, changed_bars = (sum(getattr(merged, name) for merged in self._done) for name in ("added", "changed"))
        return Merged(added, changed_bars, self._dropped, found, offered=self._offered)

    def _usable(self, frame: pd.DataFrame) -> pd.DataFrame:
        usable = checked(frame)
        self._offered += len(frame)
        self._dropped += len(frame) - len(usable)
        return usable

    def _one(self, stored: pd.DataFrame, offered: pd.DataFrame) -> pd.DataFrame:
        """A piece of the file with what is offered for it; disputes end where a source or a person speaks again."""
        rule = self._rule
        combined, merged = combine(stored, offered, rule.tolerance, rule.replace, rule.interval)
        self._done.append(merged)
        again = offered[offered["start"].isin([d.start for d in self._standing])]
        spoken = set(zip(again["start"], again["source"], strict=True))
        starts = set(again["start"]) if rule.replace else set()
        self._standing = [
            d for d in self._standing if d.start not in starts and (d.start, d.offered_source) not in spoken
        ]
        if merged.added and rule.watched:
            new = offered[~offered["start"].isin(stored["start"])]
            self.came += [new[(new["start"] >= start) & (new["start"] < end)] for start, end in rule.watched.items()]
        return combined


class Rewrite:
    """A Parquet file written beside the one at `path`, which it replaces whole, or not at all."""

    def __init__(self, path: Path) -> None:
        """Nothing is written yet."""
        self._path, self._draft = path, path.with_suffix(".tmp")
        self._waiting: list[pd.DataFrame] = []
        self._writer = None

    def add(self, frame: pd.DataFrame) -> None:
        """Append bars that come after all before; small pieces become one."""
        self._waiting.append(frame)
        if sum(map(len, self._waiting)) >= PIECE:
            self._flush()

    def publish(self) -> None:
        """Put it in the place of the file, once it is on disk."""
        self._flush()
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

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._waiting:
            return
        frame = self._waiting[0] if len(self._waiting) == 1 else pd.concat(self._waiting, ignore_index=True)
        self._waiting = []
        table = pa.Table.from_pandas(frame, preserve_index=False)
        self._writer = self._writer or pq.ParquetWriter(self._draft, table.schema)
        self._writer.write_table(table, row_group_size=PIECE)


@contextmanager
def rewriting(path: Path) -> Iterator[Rewrite]:
    """A `Rewrite` of the file at `path`, of which nothing is left unless it is published."""
    draft = Rewrite(path)
    try:
        yield draft
    finally:
        draft.close()
