"""How often held-out days were looked at: an append-only ledger, since each further look may be right by chance.

The k-th look at much the same days is given level / (k (k + 1)), so that all looks together err with at most the level.
Looks are keyed by what was looked at: the held-out prompts and bars, and the weights of both adapters. Training again,
renaming an adapter, deleting it or its verdict do not take a look back. The very same comparison, asked again, has the
same answer and is the same look.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from osiris.core.files import exclusive_lock
from osiris.storage.journal import Journal

LEDGER_LOCK_SECONDS = 60
MIN_NEW_SHARE = 0.25
"""Share of the held-out days that must be later than the last look at them before there is another."""


class HeldOutSpan(NamedTuple):
    """Held-out days: the moments of the first and the last prompt."""

    first: datetime
    last: datetime

    def overlaps(self, other: "HeldOutSpan") -> bool:
        """Whether these are much the same days: half of the shorter span is in the other, or more."""
        shared = min(self.last, other.last) - max(self.first, other.first)
        return shared >= timedelta(0) and 2 * shared >= min(self.last - self.first, other.last - other.first)


def alpha_for_look(look: int, alpha: float) -> float:
    """What the `look`-th look (from 1) at the same held-out days may err with; over all looks it sums to the level."""
    return alpha / (look * (look + 1))


class LookLedger:
    """The looks of one workspace."""

    def __init__(self, path: Path) -> None:
        """Use the journal at `path`; it is made at the first look."""
        self._path, self._journal = path, Journal(path)

    def record_look(self, key: str, span: HeldOutSpan, at: datetime, **facts: Any) -> int:
        """Record the look `key` at the days of `span`, durably, and return its number, from 1.

        A `key` that is there already keeps its number.
        """
        with exclusive_lock(self._path.with_suffix(".lock"), "look at held-out days", LEDGER_LOCK_SECONDS):
            for row in self._rows():
                if row["key"] == key:
                    return row["look"]
            number = 1 + sum(span.overlaps(then) for then in self._spans())
            row = {"key": key, "look": number, "first": span.first, "last": span.last, "at": at, **facts}
            self._journal.append("looked", [row])
            return number

    def has_look(self, key: str) -> bool:
        """Whether the look `key` was taken."""
        return any(row["key"] == key for row in self._rows())

    def due_at(self, span: HeldOutSpan) -> datetime | None:
        """From which last prompt on another look at these days is due; `None` where there was none at them."""
        before = [then.last for then in self._spans() if span.overlaps(then)]
        if not before:
            return None
        newest, share = max(before), MIN_NEW_SHARE / (1 - MIN_NEW_SHARE)
        return newest + share * (newest - min(span.first, newest))

    def _rows(self) -> Iterator[dict[str, Any]]:
        for entry in self._journal.read():
            yield from entry.rows

    def _spans(self) -> list[HeldOutSpan]:
        return [HeldOutSpan(row["first"], row["last"]) for row in self._rows()]
