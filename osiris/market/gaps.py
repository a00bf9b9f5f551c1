"""Gaps between the finer bars of a session, and the prices that may have traded in them.

The bars on both sides of a gap are used as they are. Within it the day's high and low may have traded. They must have
traded there if it is the session's only gap and no known bar comes near them. A gap at the end of the session ended at
the day's close.
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
    """The `known` bars of a session and those of `more` that overlap neither them nor each other, sorted by start."""
    if known is None:
        known, more = more, more.select(slice(0, 0))
    both = BarArrays._make(np.concatenate(pair) for pair in zip(known, more, strict=True))
    kept: list[int] = []
    for i in range(len(both.start)):
        if not ((both.start[kept] < both.end[i]) & (both.end[kept] > both.start[i])).any():
            kept.append(i)
    without_overlaps = both.select(np.array(kept, np.int64))
    return without_overlaps.select(np.argsort(without_overlaps.start, kind="stable"))


def is_contiguous(end: NDArray[np.int64], start: NDArray[np.int64] | int, pause: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether nothing trades from each end of a bar to the start of the next, shape (n,): they meet, or pause.

    Two single moments give a single truth value.
    """
    meets: NDArray[np.bool_] = (end == start) | ((pause[0] <= end) & (start <= pause[1]))
    return meets


def mark_gaps(known: BarArrays, day: DailyBar, tolerance: float, pause: tuple[int, int]) -> Bars:
    """The known bars of a session, and a gap (`Bars.gap`) wherever one is missing, in the price basis of the day.

    Time in the `pause` (begin, end) is no gap. The day's high or low counts as that of a known bar if the two differ by
    no more than `tolerance`, relatively.
    """
    # n known bars have n + 1 places for a gap: before each of them, and after the last one. Place i reaches from
    # `start[i]`, the end of the bar before it, to `end[i]`, the start of the bar after it. The first begins with the
    # day and the last ends with it.
    start, end = np.append(known.end, day.end), np.append(known.start, day.end)
    start[1:], start[0] = known.end, day.start
    at = np.flatnonzero((start < end) & ~is_contiguous(start, end, pause))
    gap = np.full(len(at), GAP, np.int8)
    if len(at) == 1:  # of two gaps nobody knows in which of them the extreme traded
        gap |= HIGH_TRADED * (day.high > known.high.max() * (1 + tolerance))
        gap |= LOW_TRADED * (day.low < known.low.min() * (1 - tolerance))
    after = np.append(known.open, day.close)[at]
    # The columns of `Bars` from `start` to `close`; a gap's open means nothing, so it repeats the close.
    spans = (start[at], end[at], after, np.full(len(at), day.high), np.full(len(at), day.low), after)
    columns = [np.concatenate(pair) for pair in zip(known[:6], spans, strict=True)]
    kinds = np.append(np.full(len(known.start), NO_GAP, np.int8), gap)
    order = np.argsort(columns[0], kind="stable")
    return Bars._make([*(column[order] for column in columns), np.full(len(order), day.split), kinds[order]])
