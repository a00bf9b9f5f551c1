"""The bars that ideas on one ticker are judged on, and the moments nobody can vouch for.

For each session the finest bars that cover it without a gap, else its daily bar; of a session under way, the finest
bars from its open on. What is left are doubts, and no idea is closed across one: a session without bars, one on whose
bars sources disagree, finer bars that contradict the daily bar, a jump that looks like a split nobody recorded. A daily
bar that a person confirmed is beyond doubt.

Does not cover: sessions with a lunch break, whose finer bars have a gap and are passed over for the daily bar.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.bar_frames import looks_like_split, nanoseconds
from osiris.bar_merge import Disagreement, is_confirmed
from osiris.calendars import session_edges
from osiris.loop.doubts import CONTRADICTED, DISPUTED, JUMP, MISSING, Doubts, Times
from osiris.loop.first_touch import Bars

LOOK_BACK = timedelta(days=10)
"""Bars from that long before the first idea on tell its price basis."""
NO_FINER: Mapping[str, pd.DataFrame] = {}


class Timeline(NamedTuple):
    """Bars for the kernel, and what is in doubt about them.

    `closes` are those of the sessions over at `as_of`. `broken` holds, by session (open, close), the finer bars up to
    their first gap where the daily bar stands for them: an idea that came into force inside is judged on those.
    `silent` says that Yahoo was asked for the time after the last bar and had nothing.
    """

    bars: Bars
    doubts: Doubts
    closes: Times
    broken: Mapping[tuple[int, int], Bars]
    silent: bool

    def inside(self, session: tuple[int, int]) -> "Timeline":
        """The timeline with the finer bars of a broken session in place of its daily bar.

        A last bar stands for the time after the gap: of the day's high and low it has what no bar before it showed.
        """
        of_day = (self.bars.start >= session[0]) & (self.bars.start < session[1])
        hours, day = self.broken[session], Bars(*(column[of_day] for column in self.bars))
        rest = Bars(hours.end[-1:], day.end, hours.close[-1:], day.high, day.low, day.close, day.split)
        calm_high, calm_low = np.maximum(rest.open, rest.close), np.minimum(rest.open, rest.close)
        rest = rest._replace(
            high=np.where(day.high > hours.high.max(), day.high, calm_high),
            low=np.where(day.low < hours.low.min(), day.low, calm_low),
        )
        kept = (column[~of_day] for column in self.bars)
        merged = Bars(*(np.concatenate(parts) for parts in zip(kept, hours, rest, strict=True)))
        order = np.argsort(merged.start, kind="stable")
        return self._replace(bars=Bars(*(np.ascontiguousarray(column[order]) for column in merged)), broken={})


class _Columns(NamedTuple):
    """A frame of bars as arrays, each shape (n,)."""

    start: Times
    end: Times
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    split: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> "_Columns":
        return _Columns(*(np.ascontiguousarray(column[chosen]) for column in self))


class _Sessions(NamedTuple):
    """Opens and closes of the sessions between two moments, and the later one."""

    opens: Times
    closes: Times
    limit: int

    def of(self, bars: _Columns) -> Times:
        """Index of the session each bar lies in; -1, the place behind the last, for a bar outside of all of them."""
        found = np.searchsorted(self.opens, bars.start, side="right") - 1
        outside = (found < 0) | (bars.end > np.append(self.closes, 0)[found])
        return np.where(outside, -1, found)


def timeline(
    daily: pd.DataFrame,
    calendar: str,
    first: datetime,
    as_of: datetime,
    *,
    finer: Mapping[str, pd.DataFrame] = NO_FINER,
    disputes: Sequence[Disagreement] = (),
    tolerance: float = 0.02,
    silent: bool = False,
) -> Timeline:
    """Lay the bars between `first` and `as_of` out; what `as_of` could not know is not looked at.

    `finer` holds frames of shorter bars by the names of `calendars.MINUTES`, the longest first. Daily and finer bars of
    a session whose high, low or close are apart by more than `tolerance`, relatively, contradict each other.
    """
    sessions = _sessions(calendar, first, as_of)
    chosen = days = _columns(daily, sessions.limit)
    confirmed = _confirmed(daily) if finer else np.array([], np.int64)
    wrong: list[int] = []
    broken: dict[tuple[int, int], _Columns] = {}
    for frame in finer.values():
        fine = _columns(frame, sessions.limit)
        chosen = _refined(chosen, fine, days, sessions, confirmed, tolerance, wrong, broken)
    covered = np.zeros(len(sessions.opens) + 1, np.bool_)
    covered[sessions.of(chosen)] = True
    missing = np.flatnonzero((sessions.closes <= sessions.limit) & ~covered[:-1])
    moments = np.array([pd.Timestamp(d.start).value for d in disputes], np.int64)
    disputed = np.searchsorted(sessions.opens, moments[moments < sessions.limit], side="right") - 1
    doubtful = {MISSING: missing, DISPUTED: disputed[disputed >= 0], CONTRADICTED: np.array(wrong, np.int64)}
    bars = Bars(*chosen[:-1], chosen.split.cumprod())
    return Timeline(
        bars,
        _doubts(doubtful, sessions, _jumps(chosen, sessions, [daily, *finer.values()])),
        sessions.closes[sessions.closes <= sessions.limit],
        {session: _in_basis_of(bars, part) for session, part in broken.items()},
        silent,
    )


def _sessions(calendar: str, first: datetime, as_of: datetime) -> _Sessions:
    opens, closes = session_edges(calendar)
    limit = pd.Timestamp(as_of).value
    inside = (opens >= pd.Timestamp(first).value) & (opens < limit)
    return _Sessions(opens[inside], closes[inside], limit)


def _columns(frame: pd.DataFrame, limit: int) -> _Columns:
    prices = (frame[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "split"))
    columns = _Columns(nanoseconds(frame["start"]), nanoseconds(frame["end"]), *prices)
    return columns.where(columns.end <= limit)


def _confirmed(daily: pd.DataFrame) -> Times:
    return nanoseconds(daily["start"][is_confirmed(daily["source"])])


def _refined(
    coarse: _Columns,
    fine: _Columns,
    days: _Columns,
    sessions: _Sessions,
    confirmed: Times,
    tolerance: float,
    wrong: list[int],
    broken: dict[tuple[int, int], _Columns],
) -> _Columns:
    """The bars with what `fine` covers replaced by it; adds the sessions that contradict, and those with a gap."""
    session, fine_session = sessions.of(coarse), sessions.of(fine)
    fine, fine_session = fine.where(fine_session >= 0), fine_session[fine_session >= 0]
    keep, take = np.ones(len(session), np.bool_), np.zeros(len(fine_session), np.bool_)
    for number in np.unique(fine_session):
        begin, stop = np.searchsorted(fine_session, [number, number + 1])
        opened, closed = int(sessions.opens[number]), int(sessions.closes[number])
        run = _unbroken(fine, begin, stop, opened)
        mine = session == number
        over = closed <= sessions.limit
        if run == begin:
            continue
        whole = fine.end[run - 1] == closed
        if over and not whole and not (mine.sum() > 1):
            if mine.any():
                broken.setdefault((opened, closed), _Columns(*(column[begin:run] for column in fine)))
            continue
        replaced = mine & (coarse.end <= fine.end[run - 1])
        if (mine & ~replaced).any():
            run = begin + int(np.searchsorted(fine.end[begin:run], coarse.end[replaced].max(initial=0), side="right"))
        if run > begin and over and _contradict(days, days.start == opened, fine, slice(begin, run), whole, tolerance):
            if opened in confirmed:
                continue
            wrong.append(int(number))
        if whole:
            broken.pop((opened, closed), None)
        if replaced.any() and run > begin:
            fine.split[begin:run] = 1.0
            fine.split[begin] = coarse.split[replaced].prod()
        keep &= ~replaced
        take[begin:run] = True
    merged = [np.concatenate([c[keep], f[take]]) for c, f in zip(coarse, fine, strict=True)]
    order = np.argsort(merged[0], kind="stable")
    return _Columns(*(np.ascontiguousarray(column[order]) for column in merged))


def _unbroken(bars: _Columns, at: int, stop: int, opened: int) -> int:
    """Index behind the last bar that follows from the session's open without a gap."""
    expected = opened
    while at < stop and bars.start[at] == expected:
        expected, at = bars.end[at], at + 1
    return at


def _contradict(
    days: _Columns, mine: NDArray[np.bool_], fine: _Columns, part: slice, whole: bool, tolerance: float
) -> bool:
    """Whether finer bars leave the range of their daily bar or, where they are `whole`, end or reach elsewhere."""
    if not mine.any():
        return False
    high = fine.high[part].max() / days.high[mine][0] - 1
    low = fine.low[part].min() / days.low[mine][0] - 1
    close = fine.close[part][-1] / days.close[mine][0] - 1
    if high > tolerance or low < -tolerance:
        return True
    return whole and max(-high, low, abs(close)) > tolerance


def _in_basis_of(bars: Bars, part: _Columns) -> Bars:
    """Finer bars of a session with the cumulative split of its daily bar."""
    at = np.searchsorted(bars.start, part.start[0])
    return Bars(*part[:-1], np.full(len(part.start), bars.split[min(at, len(bars.split) - 1)]))


def _jumps(chosen: _Columns, sessions: _Sessions, frames: Sequence[pd.DataFrame]) -> tuple[Times, Times]:
    """Starts and ends of the bars that look like an unrecorded split, but for sessions that a person spoke for."""
    found = looks_like_split(chosen.open, chosen.close, chosen.split)
    if found.any():
        spoken = np.concatenate([_confirmed(frame) for frame in frames])
        of_spoken = np.searchsorted(sessions.opens, spoken, side="right")
        found &= ~np.isin(np.searchsorted(sessions.opens, chosen.start, side="right"), of_spoken)
    return chosen.start[found], chosen.end[found]


def _doubts(found: Mapping[str, Times], sessions: _Sessions, jumps: tuple[Times, Times]) -> Doubts:
    start = np.concatenate([*(sessions.opens[numbers] for numbers in found.values()), jumps[0]])
    end = np.concatenate([*(sessions.closes[numbers] for numbers in found.values()), jumps[1]])
    kinds = [kind for kind, numbers in found.items() for _ in numbers] + [JUMP] * len(jumps[0])
    order = np.argsort(start, kind="stable")
    return Doubts(start[order], end[order], [kinds[index] for index in order])
