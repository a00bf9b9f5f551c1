"""Finer bars laid over coarser ones: for each session the finest that cover it, and the sessions where that fails."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osiris.market.bar_frames import BarArrays
from osiris.market.data_issues import TimeArray
from osiris.market.gaps import fill_missing, is_contiguous


class Sessions(NamedTuple):
    """Opens and closes of the sessions between two moments, and the later one; begin and end of the pause in each."""

    opens: TimeArray
    closes: TimeArray
    limit: int
    pauses: tuple[TimeArray, TimeArray]

    def pause_of(self, number: int) -> tuple[int, int]:
        """Begin and end of the pause in a session."""
        return int(self.pauses[0][number]), int(self.pauses[1][number])

    def index_of(self, bars: BarArrays) -> TimeArray:
        """Index of the session each bar lies in; -1, the place behind the last, for a bar outside of all of them."""
        found = np.searchsorted(self.opens, bars.start, side="right") - 1
        outside = (found < 0) | (bars.end > np.append(self.closes, 0)[found])
        return np.where(outside, -1, found)


@dataclass
class BarLayers:
    """The bars `chosen` so far, at first the daily ones; `confirmed` and `closed` are opens of sessions.

    A daily bar that is `confirmed` stands whatever finer bars say; a session that is `closed` and has no daily bar had
    no bars but those there are. `wrong` names the sessions whose finer bars contradict the daily one by more than
    `tolerance`, `differing` those whose finer bars contradict each other; `broken` holds the finer bars of sessions
    (open, close) for which the daily bar stands because some are lacking.
    """

    daily: BarArrays
    sessions: Sessions
    confirmed: TimeArray
    absent: TimeArray
    tolerance: float
    daily_conflicts: list[int] = field(default_factory=list)
    intraday_conflicts: list[int] = field(default_factory=list)
    gapped: dict[tuple[int, int], BarArrays] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the daily bars."""
        self.chosen = self.daily

    def refine(self, fine: BarArrays) -> None:
        """Replace what `fine` covers; those of its bars that lie outside of the sessions are left out."""
        fine = fine.select(self.sessions.index_of(fine) >= 0)
        session, fine_session = self.sessions.index_of(self.chosen), self.sessions.index_of(fine)
        keep, take = np.ones(len(session), np.bool_), np.zeros(len(fine_session), np.bool_)
        for number in np.unique(fine_session):
            part = slice(*np.searchsorted(fine_session, [number, number + 1]))
            self._refine_session(int(number), fine, part, session == number, (keep, take))
        merged = [np.concatenate([c[keep], f[take]]) for c, f in zip(self.chosen, fine, strict=True)]
        self.chosen = BarArrays(*merged).select(np.argsort(merged[0], kind="stable"))

    def _refine_session(
        self, number: int, fine: BarArrays, part: slice, in_session: NDArray[np.bool_], choice: tuple[NDArray, NDArray]
    ) -> None:
        opened, closed = int(self.sessions.opens[number]), int(self.sessions.closes[number])
        begin, stop = part.start, part.stop
        alone = not in_session.any() and opened in self.absent
        run = stop if alone else self._contiguous_end(number, fine, begin, stop)
        over = closed <= self.sessions.limit
        whole = alone or (
            run > begin and bool(is_contiguous(fine.end[run - 1], closed, self.sessions.pause_of(number)))
        )
        if over and not whole and in_session.sum() <= 1:
            if (self.daily.start == opened).any():
                self._add_gapped(number, fine.select(part))
            return
        if run == begin:
            return
        replaced = in_session if whole else in_session & (self.chosen.end <= fine.end[run - 1])
        if (in_session & ~replaced).any():
            edge = self.chosen.end[replaced].max(initial=0)
            run = begin + int(np.searchsorted(fine.end[begin:run], edge, side="right"))
        shorter = fine.select(slice(begin, run))
        if run > begin and over and not self._agree(number, shorter, whole):
            return
        longer = self.chosen.select(replaced & (self.chosen.end - self.chosen.start < closed - opened))
        if (
            run > begin
            and number not in self.daily_conflicts
            and _has_intraday_conflict(longer, shorter, self.tolerance)
        ):
            self.intraday_conflicts.append(number)
        if whole:
            self.gapped.pop((opened, closed), None)
        choice[0][replaced] = False
        choice[1][begin:run] = True

    def _contiguous_end(self, number: int, bars: BarArrays, at: int, stop: int) -> int:
        """Index behind the last bar that follows from the session's open without a gap."""
        expected = np.append(self.sessions.opens[number], bars.end[at : max(at, stop - 1)])[: stop - at]
        follows = is_contiguous(expected, bars.start[at:stop], self.sessions.pause_of(number))
        return stop if follows.all() else at + int(np.argmin(follows))

    def _add_gapped(self, number: int, bars: BarArrays) -> None:
        if self._agree(number, bars, whole=False):
            session = int(self.sessions.opens[number]), int(self.sessions.closes[number])
            self.gapped[session] = fill_missing(self.gapped.get(session), bars)

    def _agree(self, number: int, bars: BarArrays, whole: bool) -> bool:
        """Whether finer bars may be used: not against a confirmed daily bar; against another, the session is wrong."""
        opened = int(self.sessions.opens[number])
        if _has_daily_conflict(self.daily, self.daily.start == opened, bars, whole, self.tolerance):
            if opened in self.confirmed:
                return False
            self.daily_conflicts.append(number)
        return True


def count_splits_once(layers: Sequence[BarArrays], sessions: Sessions) -> list[int]:
    """Leave each session's split on its first bar of every layer; returns the sessions of which layers tell two.

    A split that stands on all bars of a day, or in one layer alone, takes effect once. The layers are changed.
    """
    ratios: dict[int, float] = {}
    apart = []
    places = [sessions.index_of(bars) for bars in layers]
    for bars, place in zip(layers, places, strict=True):
        for number in np.unique(place[(bars.split != 1) & (place >= 0)]):
            ratios_told = np.unique(bars.split[(place == number) & (bars.split != 1)])
            if not np.allclose(
                [*ratios_told, ratios_told[0]], ratios.setdefault(int(number), float(ratios_told[0])), rtol=1e-6
            ):
                apart.append(int(number))
        bars.split[place >= 0] = 1.0
    for number, ratio in ratios.items():
        for bars, place in zip(layers, places, strict=True):
            bars.split[np.flatnonzero(place == number)[:1]] = ratio
    return apart


def _has_intraday_conflict(longer: BarArrays, shorter: BarArrays, tolerance: float) -> bool:
    """Whether one of the longer bars reaches or ends elsewhere than the shorter ones that stand for it."""
    at = np.searchsorted(shorter.start, longer.start)
    behind = np.searchsorted(shorter.start, longer.end)
    known = behind > at
    if not known.any():
        return False
    spans = np.column_stack([at, behind])[known].ravel()
    last = behind[known] - 1
    high = np.maximum.reduceat(np.append(shorter.high, 0.0), spans)[::2]
    low = np.minimum.reduceat(np.append(shorter.low, np.inf), spans)[::2]
    pairs = ((high, longer.high), (low, longer.low), (shorter.close[last], longer.close))
    return any(bool((np.abs(one / other[known] - 1) > tolerance).any()) for one, other in pairs)


def _has_daily_conflict(
    days: BarArrays, in_session: NDArray[np.bool_], fine: BarArrays, whole: bool, tolerance: float
) -> bool:
    """Whether finer bars leave the range of their daily bar or, where they are `whole`, end or reach elsewhere."""
    if not in_session.any():
        return False
    high, low = fine.high.max() / days.high[in_session][0] - 1, fine.low.min() / days.low[in_session][0] - 1
    close = fine.close[-1] / days.close[in_session][0] - 1
    if high > tolerance or low < -tolerance:
        return True
    return whole and max(-high, low, abs(close)) > tolerance
