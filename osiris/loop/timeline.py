"""The bars that ideas on one ticker are judged on, and the moments nobody can vouch for.

For each session the finest bars that cover it without a gap, else its daily bar; of a session under way, the finest
bars from its open on. What is left are doubts, and no idea is closed across one: a session without bars, one on whose
bars sources disagree, finer bars that contradict the daily bar, a jump that looks like a split nobody recorded. A daily
bar that a person confirmed is beyond doubt.

Does not cover: sessions with a lunch break, whose finer bars have a gap and are passed over for the daily bar.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.bar_frames import looks_like_split, nanoseconds
from osiris.bar_merge import Disagreement, is_confirmed
from osiris.calendars import session_edges
from osiris.loop.first_touch import Bars

Times = NDArray[np.int64]
MISSING, DISPUTED, CONTRADICTED, JUMP = "missing", "disputed", "contradicted", "jump"
TEXTS = {
    MISSING: "no bar of {day}",
    DISPUTED: "sources differ on {day}",
    CONTRADICTED: "finer bars contradict the daily bar of {day}",
    JUMP: "a price jump on {day} looks like an unrecorded split",
}
NO_FINER: Mapping[str, pd.DataFrame] = {}


class Doubts(NamedTuple):
    """Spans of time (ns, by start) nobody can vouch for, and the kind of each."""

    start: Times
    end: Times
    kinds: Sequence[str]

    def text(self, index: int) -> str:
        """Say what is in doubt, and on which day."""
        return TEXTS[self.kinds[index]].format(day=f"{pd.Timestamp(self.start[index], unit='ns'):%Y-%m-%d}")

    def first_after(self, moments: Times) -> Times:
        """Index of the first doubt that ends after each moment."""
        return np.searchsorted(np.maximum.accumulate(self.end), moments, side="right")


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
        """The timeline with the finer bars of a broken session in place of its daily bar."""
        away = (self.bars.start < session[0]) | (self.bars.start >= session[1])
        kept, added = Bars(*(column[away] for column in self.bars)), self.broken[session]
        merged = Bars(*(np.concatenate(parts) for parts in zip(kept, added, strict=True)))
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
    chosen = _columns(daily, sessions.limit)
    confirmed = _confirmed(daily) if finer else np.array([], np.int64)
    wrong: list[int] = []
    broken: dict[tuple[int, int], _Columns] = {}
    for frame in finer.values():
        fine = _columns(frame, sessions.limit)
        chosen = _refined(chosen, fine, sessions, confirmed, tolerance, wrong, broken)
    covered = np.zeros(len(sessions.opens) + 1, np.bool_)
    covered[sessions.of(chosen)] = True
    missing = np.flatnonzero((sessions.closes <= sessions.limit) & ~covered[:-1])
    moments = np.array([pd.Timestamp(d.start).value for d in disputes], np.int64)
    disputed = np.searchsorted(sessions.opens, moments[moments < sessions.limit], side="right") - 1
    doubtful = {MISSING: missing, DISPUTED: disputed[disputed >= 0], CONTRADICTED: np.array(wrong, np.int64)}
    bars = Bars(*chosen[:-1], chosen.split.cumprod())
    return Timeline(
        bars,
        _doubts(doubtful, sessions, _jumps(chosen, daily)),
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
        if over and fine.end[run - 1] < closed:
            if mine.any():
                broken.setdefault((opened, closed), _Columns(*(column[begin:run] for column in fine)))
            continue
        replaced = mine & (coarse.end <= fine.end[run - 1])
        if (mine & ~replaced).any():
            run = begin + int(np.searchsorted(fine.end[begin:run], coarse.end[replaced].max(initial=0), side="right"))
        if over and mine.sum() == 1 and _contradict(coarse, mine, fine, slice(begin, run), tolerance):
            if opened in confirmed:
                continue
            wrong.append(int(number))
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


def _contradict(coarse: _Columns, mine: NDArray[np.bool_], fine: _Columns, part: slice, tolerance: float) -> bool:
    pairs = (
        (coarse.high[mine][0], fine.high[part].max()),
        (coarse.low[mine][0], fine.low[part].min()),
        (coarse.close[mine][0], fine.close[part][-1]),
    )
    return any(abs(finer / daily - 1) > tolerance for daily, finer in pairs)


def _in_basis_of(bars: Bars, part: _Columns) -> Bars:
    """Finer bars of a session with the cumulative split of its daily bar."""
    at = np.searchsorted(bars.start, part.start[0])
    return Bars(*part[:-1], np.full(len(part.start), bars.split[min(at, len(bars.split) - 1)]))


def _jumps(chosen: _Columns, daily: pd.DataFrame) -> tuple[Times, Times]:
    """Starts and ends of the bars that look like an unrecorded split and that no person confirmed."""
    found = looks_like_split(chosen.open, chosen.close, chosen.split)
    if found.any():
        found &= ~np.isin(chosen.start, _confirmed(daily))
    return chosen.start[found], chosen.end[found]


def _doubts(found: Mapping[str, Times], sessions: _Sessions, jumps: tuple[Times, Times]) -> Doubts:
    start = np.concatenate([*(sessions.opens[numbers] for numbers in found.values()), jumps[0]])
    end = np.concatenate([*(sessions.closes[numbers] for numbers in found.values()), jumps[1]])
    kinds = [kind for kind, numbers in found.items() for _ in numbers] + [JUMP] * len(jumps[0])
    order = np.argsort(start, kind="stable")
    return Doubts(start[order], end[order], [kinds[index] for index in order])
