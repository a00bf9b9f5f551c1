"""The bars that ideas on one ticker are judged on, and the moments nobody can vouch for.

For each session the finest bars that cover it without a gap, else its daily bar; of a session under way, the finest
bars from its open on. What is left are doubts, and no idea is closed across one: a session without bars, one on whose
bars sources disagree, finer bars that contradict the daily bar, a jump that looks like a split nobody recorded.

Does not cover: sessions with a lunch break, whose finer bars have a gap and are passed over for the daily bar.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.bar_frames import looks_like_split, nanoseconds
from osiris.bar_merge import Disagreement
from osiris.calendars import session_edges
from osiris.loop.first_touch import Bars

Times = NDArray[np.int64]
MISSING, DISPUTED, CONTRADICTED, JUMP = "no bar", "sources differ", "finer bars contradict the daily bar", "jump"
TEXTS = {
    MISSING: "no bar of {day}",
    DISPUTED: "sources differ on {day}",
    CONTRADICTED: "finer bars contradict the daily bar of {day}",
    JUMP: "a price jump on {day} looks like an unrecorded split",
}
NO_FINER: Mapping[str, pd.DataFrame] = {}


class Doubts(NamedTuple):
    """Moments (starts of bars or sessions) nobody can vouch for, ascending, and the kind of each."""

    at: Times
    kinds: Sequence[str]

    def text(self, index: int) -> str:
        """Say what is in doubt, and on which day."""
        return TEXTS[self.kinds[index]].format(day=f"{pd.Timestamp(self.at[index], unit='ns'):%Y-%m-%d}")


class Timeline(NamedTuple):
    """Bars for the kernel; `levels` are doubts about what traded, `basis` about which price basis it traded in."""

    bars: Bars
    levels: Doubts
    basis: Doubts


class _Columns(NamedTuple):
    """A frame of bars as arrays, each shape (n,)."""

    start: Times
    end: Times
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    split: NDArray[np.float64]


def timeline(
    daily: pd.DataFrame,
    calendar: str,
    first: datetime,
    as_of: datetime,
    *,
    finer: Mapping[str, pd.DataFrame] = NO_FINER,
    disputes: Sequence[Disagreement] = (),
    tolerance: float = 0.02,
) -> Timeline:
    """Lay the bars between `first` and `as_of` out; what `as_of` could not know is not looked at.

    `finer` holds frames of shorter bars by the names of `calendars.MINUTES`. Daily and finer bars of a session whose
    high, low or close are apart by more than `tolerance`, relatively, contradict each other.
    """
    opens, closes = session_edges(calendar)
    limit = pd.Timestamp(as_of).value
    inside = (opens >= pd.Timestamp(first).value) & (opens < limit)
    opens, closes = opens[inside], closes[inside]
    chosen = _columns(daily, limit)
    session = _session_of(chosen, opens, closes)
    wrong: list[int] = []
    for frame in finer.values():
        fine = _columns(frame, limit)
        chosen, session, contradicted = _refined(chosen, session, fine, opens, closes, limit, tolerance)
        wrong += contradicted
    covered = np.zeros(len(opens) + 1, np.bool_)
    covered[session] = True
    missing = opens[(closes <= limit) & ~covered[:-1]]
    disputed = np.array([pd.Timestamp(d.start).value for d in disputes], np.int64)
    levels = _doubts({MISSING: missing, DISPUTED: disputed, CONTRADICTED: opens[sorted(set(wrong))]})
    jumps = chosen.start[looks_like_split(chosen.open, chosen.close, chosen.split)]
    return Timeline(Bars(*chosen[:-1], chosen.split.cumprod()), levels, _doubts({JUMP: jumps}))


def _columns(frame: pd.DataFrame, limit: int) -> _Columns:
    prices = (frame[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "split"))
    columns = _Columns(nanoseconds(frame["start"]), nanoseconds(frame["end"]), *prices)
    known = columns.end <= limit
    return _Columns(*(np.ascontiguousarray(column[known]) for column in columns))


def _session_of(bars: _Columns, opens: Times, closes: Times) -> Times:
    """Index of the session each bar lies in; -1, the place behind the last, for a bar outside of all of them."""
    found = np.searchsorted(opens, bars.start, side="right") - 1
    outside = (found < 0) | (bars.end > np.append(closes, 0)[found])
    return np.where(outside, -1, found)


def _refined(
    coarse: _Columns, session: Times, fine: _Columns, opens: Times, closes: Times, limit: int, tolerance: float
) -> tuple[_Columns, Times, list[int]]:
    """The bars with each session that `fine` covers replaced by it, their sessions, and those that contradict."""
    fine_session = _session_of(fine, opens, closes)
    fine, fine_session = _Columns(*(column[fine_session >= 0] for column in fine)), fine_session[fine_session >= 0]
    keep_coarse, take_fine, wrong = np.ones(len(session), np.bool_), np.zeros(len(fine_session), np.bool_), []
    starts = np.searchsorted(fine_session, np.arange(len(opens)))
    stops = np.searchsorted(fine_session, np.arange(len(opens)), side="right")
    for number in np.unique(fine_session):
        part = slice(starts[number], stops[number])
        run = _unbroken(fine, part, opens[number])
        mine = session == number
        complete = run > part.start and fine.end[run - 1] == closes[number]
        begun = run > part.start and closes[number] > limit and not mine.any()
        if not (complete or begun):
            continue
        part = slice(part.start, run)
        if mine.sum() == 1 and _contradict(coarse, mine, fine, part, tolerance):
            wrong.append(int(number))
        if mine.any():
            fine.split[part] = 1.0
            fine.split[part.start] = coarse.split[mine].prod()
        keep_coarse &= ~mine
        take_fine[part] = True
    merged = [np.concatenate([c[keep_coarse], f[take_fine]]) for c, f in zip(coarse, fine, strict=True)]
    order = np.argsort(merged[0], kind="stable")
    sessions = np.concatenate([session[keep_coarse], fine_session[take_fine]])[order]
    return _Columns(*(np.ascontiguousarray(column[order]) for column in merged)), sessions, wrong


def _unbroken(bars: _Columns, part: slice, opened: int) -> int:
    """Index behind the last bar of `part` that follows from the session's open without a gap."""
    expected, at = opened, part.start
    while at < part.stop and bars.start[at] == expected:
        expected, at = bars.end[at], at + 1
    return at


def _contradict(coarse: _Columns, mine: NDArray[np.bool_], fine: _Columns, part: slice, tolerance: float) -> bool:
    pairs = (
        (coarse.high[mine][0], fine.high[part].max()),
        (coarse.low[mine][0], fine.low[part].min()),
        (coarse.close[mine][0], fine.close[part][-1]),
    )
    return any(abs(finer / daily - 1) > tolerance for daily, finer in pairs)


def _doubts(found: Mapping[str, Times]) -> Doubts:
    at = np.concatenate(list(found.values()) or [np.array([], np.int64)])
    kinds = [kind for kind, times in found.items() for _ in times]
    order = np.argsort(at, kind="stable")
    return Doubts(at[order], [kinds[index] for index in order])
