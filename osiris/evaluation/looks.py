"""How often held-out days were looked at: an append-only ledger, because each further look may pass by chance.

An example: the third look at much the same days is given a twelfth of alpha (`stats.alpha_for_look`). So all looks
together err with a probability of at most alpha.

A look is identified by a key of its contents: the held-out prompts and bars, and the weights of both adapters. Training
again, renaming or deleting an adapter, or deleting its verdict does not take a look back. Repeating exactly the same
comparison gives the same answer, and counts as the same look.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from osiris.core.files import exclusive_lock
from osiris.storage.journal import Journal

LEDGER_LOCK_SECONDS = 60
"""How long a look waits for another process that records one: an entry takes milliseconds, so a minute is ample."""
MIN_NEW_SHARE = 0.25
"""Share of the held-out days that must be later than the last look at them before another look is taken.

Each look makes the next one stricter: looking every day would use up alpha on days that have hardly changed.
"""


class HeldOutSpan(NamedTuple):
    """Held-out days: the moments of the first and the last prompt."""

    first: datetime
    last: datetime

    def overlaps(self, other: "HeldOutSpan") -> bool:
        """Whether these are much the same days: half of the shorter span is in the other, or more."""
        shared = min(self.last, other.last) - max(self.first, other.first)
        return shared >= timedelta(0) and 2 * shared >= min(self.last - self.first, other.last - other.first)


class LookLedger:
    """The looks of one workspace."""

    def __init__(self, path: Path) -> None:
        """Use the journal at `path`; the first look creates it."""
        self._path, self._journal = path, Journal(path)

    def record_look(self, key: str, span: HeldOutSpan, at: datetime, **facts: Any) -> int:
        """Record the look `key` at the days of `span`, durably, and return its number, from 1.

        A `key` that is recorded already keeps its number.
        """
        # The lock covers reading and appending: otherwise two processes could give two looks the same number.
        with exclusive_lock(self._path.with_suffix(".lock"), "look at held-out days", LEDGER_LOCK_SECONDS):
            for row in self._rows():
                if row["key"] == key:
                    return row["look"]
            number = 1 + sum(span.overlaps(earlier) for earlier in self._spans())
            row = {"key": key, "look": number, "first": span.first, "last": span.last, "at": at, **facts}
            self._journal.append("looked", [row])
            return number

    def has_look(self, key: str) -> bool:
        """Whether the look `key` is recorded."""
        return any(row["key"] == key for row in self._rows())

    def due_at(self, span: HeldOutSpan) -> datetime | None:
        """The earliest last prompt that makes another look at these days due; `None` if none was taken at them."""
        last_prompts = [earlier.last for earlier in self._spans() if span.overlaps(earlier)]
        if not last_prompts:
            return None
        newest = max(last_prompts)
        # New days make up s of all days when they are s / (1 - s) of the days that were looked at already.
        share = MIN_NEW_SHARE / (1 - MIN_NEW_SHARE)
        return newest + share * (newest - min(span.first, newest))

    def _rows(self) -> Iterator[dict[str, Any]]:
        for entry in self._journal.read():
            yield from entry.rows

    def _spans(self) -> list[HeldOutSpan]:
        return [HeldOutSpan(row["first"], row["last"]) for row in self._rows()]
