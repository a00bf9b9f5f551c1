"""A session whose finer bars have gaps: what they and the daily bar together tell of it.

The bars on both sides of a gap are used as they are. Within it the day's high and low may have traded; they must have
where it is the session's only gap and no known bar comes near them. A gap at the end ended at the day's close.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osiris.market.bar_frames import GAP, HIGH_TRADED, LOW_TRADED, NO_GAP, BarArrays, Bars


class DailyBar(NamedTuple):
    """The daily bar of a session, with the cumulative split of its basis."""

    start: int
    end: int
    high: float
    low: float
    close: float
    split: float


def fill_missing(known: BarArrays | None, more: BarArrays) -> BarArrays:
    """The `known` bars of a session, and those of `more` that overlap none of them nor each other, by start."""
    if known is None:
        known, more = more, more.select(slice(0, 0))
    both = BarArrays(*(np.concatenate(pair) for pair in zip(known, more, strict=True)))
    kept: list[int] = []
    for i in range(len(both.start)):
        if not ((both.start[kept] < both.end[i]) & (both.end[kept] > both.start[i])).any():
            kept.append(i)
    free = both.select(np.array(kept, np.int64))
    return free.select(np.argsort(free.start, kind="stable"))


def is_contiguous(end: NDArray[np.int64], start: NDArray[np.int64], pause: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether nothing trades from each end of a bar to the start of the next, shape (n,): they meet, or pause."""
    return (end == start) | ((pause[0] <= end) & (start <= pause[1]))


def mark_gaps(known: BarArrays, day: DailyBar, tolerance: float, pause: tuple[int, int]) -> Bars:
    """The known bars of a session with a gap (`Bars.gap`) wherever one is lacking, in the basis of the day.

    In the `pause` (begin, end) none is.

    An extreme of the day is that of a known bar where the two are apart by no more than `tolerance`, relatively.
    """
    start, end = np.append(known.end, day.end), np.append(known.start, day.end)
    start[1:], start[0] = known.end, day.start
    at = np.flatnonzero((start < end) & ~is_contiguous(start, end, pause))
    gap = np.full(len(at), GAP, np.int8)
    if len(at) == 1:
        gap |= HIGH_TRADED * (day.high > known.high.max() * (1 + tolerance))
        gap |= LOW_TRADED * (day.low < known.low.min() * (1 - tolerance))
    after = np.append(known.open, day.close)[at]
    spans = (start[at], end[at], after, np.full(len(at), day.high), np.full(len(at), day.low), after)
    parts = [np.concatenate(pair) for pair in zip(known[:6], spans, strict=True)]
    kinds = np.append(np.full(len(known.start), NO_GAP, np.int8), gap)
    order = np.argsort(parts[0], kind="stable")
    return Bars(*(part[order] for part in parts), np.full(len(order), day.split), kinds[order])
