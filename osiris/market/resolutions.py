"""Finer bars over coarser ones: for each session the finest bars that cover it.

A session whose finer bars have gaps, or contradict other bars, keeps the coarser bars and is listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osiris.market.bar_frames import BarArrays
from osiris.market.data_issues import TimeArray
from osiris.market.gaps import fill_missing, is_contiguous


class Sessions(NamedTuple):
    """The sessions between two moments, in time order, with the begins and ends of their pauses.

    `opens`, `closes` and both arrays of `pauses` have shape (n,), int64 nanoseconds UTC. `limit` is the later of the
    two moments, so the last session may be under way.
    """

    opens: TimeArray
    closes: TimeArray
    limit: int
    pauses: tuple[TimeArray, TimeArray]

    def pause_of(self, number: int) -> tuple[int, int]:
        """Begin and end of the pause in a session."""
        return int(self.pauses[0][number]), int(self.pauses[1][number])

    def index_of(self, bars: BarArrays) -> TimeArray:
        """Index of the session in which each bar lies, shape of `bars.start`; -1 for a bar outside of all of them."""
        index = np.searchsorted(self.opens, bars.start, side="right") - 1
        # The appended 0 is what index -1 finds, so that this works without sessions too.
        outside = (index < 0) | (bars.end > np.append(self.closes, 0)[index])
        return np.where(outside, -1, index)


@dataclass
class BarLayers:
    """The bars `chosen` so far, at first the daily ones; `confirmed` and `absent` are opens of sessions.

    A `confirmed` daily bar stands even if finer bars contradict it. An `absent` session without a daily bar had no
    other bars than the stored ones, because a person said so.

    `daily_conflicts` lists the sessions whose finer bars contradict the daily one by more than `tolerance`. Those whose
    finer bars contradict each other are in `intraday_conflicts`.

    `gapped` is for sessions (open, close) whose daily bar stands because finer bars are missing. It holds the finer
    bars that are stored.
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
        """Replace chosen bars by the bars of `fine` that cover them; bars outside of the sessions are left out."""
        fine = fine.select(self.sessions.index_of(fine) >= 0)
        session, fine_session = self.sessions.index_of(self.chosen), self.sessions.index_of(fine)
        keep, take = np.ones(len(session), np.bool_), np.zeros(len(fine_session), np.bool_)
        for number in np.unique(fine_session):
            part = slice(*np.searchsorted(fine_session, [number, number + 1]))
            self._refine_session(int(number), fine, part, session == number, (keep, take))
        merged = [np.concatenate([c[keep], f[take]]) for c, f in zip(self.chosen, fine, strict=True)]
        self.chosen = BarArrays(*merged).select(np.argsort(merged[0], kind="stable"))

    def _refine_session(
        self,
        number: int,
        fine: BarArrays,
        part: slice,
        in_session: NDArray[np.bool_],
        masks: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    ) -> None:
        """Decide for one session which bars stay and which come, in the `masks` (keep, take).

        `part` are the indices of its finer bars; `in_session` marks its chosen bars. keep has the shape of the chosen
        bars, take that of the finer ones.
        """
        keep, take = masks
        opened, closed = int(self.sessions.opens[number]), int(self.sessions.closes[number])
        begin, stop = part.start, part.stop
        only_bars = not in_session.any() and opened in self.absent
        # The bars [begin:run] of `fine` follow one another without a gap from the session's open.
        run = stop if only_bars else self._contiguous_end(number, fine, begin, stop)
        over = closed <= self.sessions.limit
        complete = only_bars or (
            run > begin and bool(is_contiguous(fine.end[run - 1], closed, self.sessions.pause_of(number)))
        )
        if over and not complete and in_session.sum() <= 1:
            if (self.daily.start == opened).any():
                self._add_gapped(number, fine.select(part))
            return
        if run == begin:
            return
        replaced = in_session if complete else in_session & (self.chosen.end <= fine.end[run - 1])
        if (in_session & ~replaced).any():
            # A coarser bar stays after the replaced ones, so the run must end with them: bars may not overlap.
            edge = self.chosen.end[replaced].max(initial=0)
            run = begin + int(np.searchsorted(fine.end[begin:run], edge, side="right"))
        shorter = fine.select(slice(begin, run))
        if run > begin and over and not self._agree(number, shorter, complete):
            return
        longer = self.chosen.select(replaced & (self.chosen.end - self.chosen.start < closed - opened))
        if (
            run > begin
            and number not in self.daily_conflicts
            and _has_intraday_conflict(longer, shorter, self.tolerance)
        ):
            self.intraday_conflicts.append(number)
        if complete:  # these finer bars have no gap, so the daily bar does not stand any longer
            self.gapped.pop((opened, closed), None)
        keep[replaced] = False
        take[begin:run] = True

    def _contiguous_end(self, number: int, bars: BarArrays, at: int, stop: int) -> int:
        """Index behind the last of the bars [at:stop] that follow from the session's open without a gap."""
        # Shape (stop - at,): the first bar must begin at the open, each next one at the end of the bar before it.
        expected = np.append(self.sessions.opens[number], bars.end[at : max(at, stop - 1)])[: stop - at]
        follows = is_contiguous(expected, bars.start[at:stop], self.sessions.pause_of(number))
        return stop if follows.all() else at + int(np.argmin(follows))

    def _add_gapped(self, number: int, bars: BarArrays) -> None:
        if self._agree(number, bars, complete=False):
            session = int(self.sessions.opens[number]), int(self.sessions.closes[number])
            self.gapped[session] = fill_missing(self.gapped.get(session), bars)

    def _agree(self, number: int, bars: BarArrays, complete: bool) -> bool:
        """Whether finer bars may be used; those that contradict a confirmed daily bar may not.

        If they contradict a daily bar that nobody confirmed, they are used and the session becomes a daily conflict.
        """
        opened = int(self.sessions.opens[number])
        if _has_daily_conflict(self.daily, self.daily.start == opened, bars, complete, self.tolerance):
            if opened in self.confirmed:
                return False
            self.daily_conflicts.append(number)
        return True


def count_splits_once(layers: Sequence[BarArrays], sessions: Sessions) -> list[int]:
    """Leave each session's split on its first bar of every layer, and return the sessions with two different ratios.

    A split that stands on all bars of a day, or in one layer alone, takes effect once. The layers are changed.
    """
    ratios: dict[int, float] = {}
    conflicts = []
    indices = [sessions.index_of(bars) for bars in layers]
    for bars, index in zip(layers, indices, strict=True):
        for number in np.unique(index[(bars.split != 1) & (index >= 0)]):
            recorded = np.unique(bars.split[(index == number) & (bars.split != 1)])
            first_ratio = ratios.setdefault(int(number), float(recorded[0]))
            if not np.allclose(recorded, first_ratio, rtol=1e-6):
                conflicts.append(int(number))
        bars.split[index >= 0] = 1.0
    for number, ratio in ratios.items():
        for bars, index in zip(layers, indices, strict=True):
            bars.split[np.flatnonzero(index == number)[:1]] = ratio
    return conflicts


def _has_intraday_conflict(longer: BarArrays, shorter: BarArrays, tolerance: float) -> bool:
    """Whether a longer bar has another high, low or close than the shorter bars of its time."""
    begin = np.searchsorted(shorter.start, longer.start)
    behind = np.searchsorted(shorter.start, longer.end)
    known = behind > begin
    if not known.any():
        return False
    # reduceat takes edges in pairs here: [begin, behind) of each longer bar, then the time up to the next one, which
    # [::2] drops. A `behind` may be the number of shorter bars, so each column gets one neutral element more.
    spans = np.column_stack([begin, behind])[known].ravel()
    last = behind[known] - 1
    high = np.maximum.reduceat(np.append(shorter.high, 0.0), spans)[::2]
    low = np.minimum.reduceat(np.append(shorter.low, np.inf), spans)[::2]
    pairs = ((high, longer.high), (low, longer.low), (shorter.close[last], longer.close))
    return any(bool((np.abs(one / other[known] - 1) > tolerance).any()) for one, other in pairs)


def _has_daily_conflict(
    days: BarArrays, in_session: NDArray[np.bool_], fine: BarArrays, complete: bool, tolerance: float
) -> bool:
    """Whether finer bars leave the range of their daily bar.

    If they are the `complete` session, they must also reach its high and its low and end at its close.
    """
    if not in_session.any():
        return False
    high, low = fine.high.max() / days.high[in_session][0] - 1, fine.low.min() / days.low[in_session][0] - 1
    close = fine.close[-1] / days.close[in_session][0] - 1
    if high > tolerance or low < -tolerance:
        return True
    return complete and max(-high, low, abs(close)) > tolerance
