"""The bars that ideas on one ticker are judged on, and the moments nobody can vouch for.

For each session the finest bars that cover it without a gap, else its daily bar; of a session under way, the finest
bars from its open on. What is left are doubts, and no idea is closed across one: a session without bars, one on whose
bars sources disagree, bars of different lengths that contradict each other, a daily bar after which some sessions have
none (weekly bars look so), a price that jumps too far. A daily bar that a person confirmed is beyond doubt, and a
session of which a person said that it had no other bars lacks none. Nothing lacks in a lunch break.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from osiris.market.bar_frames import Bars, to_bar_arrays, to_nanoseconds
from osiris.market.bar_jumps import jump_mask
from osiris.market.calendars import all_session_bounds, session_pauses
from osiris.market.data_issues import (
    DAILY_CONFLICT,
    DISPUTED,
    INTRADAY_CONFLICT,
    LONG_BAR,
    MISSING_SESSION,
    PRICE_JUMP,
    DataIssues,
    TimeArray,
)
from osiris.market.gaps import DailyBar, mark_gaps
from osiris.market.reconcile import Disagreement, is_confirmed
from osiris.market.resolutions import BarLayers, Sessions, count_splits_once

BASIS_LOOKBACK = timedelta(days=10)
"""Bars from that long before the first idea on tell its price basis."""
MIN_MISSING_SESSIONS = 3
"""So many sessions without a bar cast doubt on the daily bar before them."""
NO_FINER_BARS: Mapping[str, pd.DataFrame] = {}
SpanArrays = tuple[TimeArray, TimeArray]


class Timeline(NamedTuple):
    """Bars for the kernel, and what is in doubt about them.

    `closes` are those of the sessions over at `as_of`. `broken` holds, by session (open, close), the finer bars and the
    gaps between them where the daily bar stands for them: an idea that came into force inside is judged on those.
    `silent` says that Yahoo was asked for the time after the last bar and had nothing.
    """

    bars: Bars
    issues: DataIssues
    closes: TimeArray
    gapped: Mapping[tuple[int, int], Bars]
    no_later_bars: bool

    def expand_session(self, session: tuple[int, int]) -> "Timeline":
        """The timeline with the finer bars of a broken session, and its gaps, in place of its daily bar."""
        before, after = (
            slice(0, np.searchsorted(self.bars.start, session[0])),
            slice(np.searchsorted(self.bars.start, session[1]), None),
        )
        whole = self.bars._replace(gap=np.zeros(len(self.bars.start), np.int8))
        parts = (Bars(*(column[before] for column in whole)), self.gapped[session])
        parts += (Bars(*(column[after] for column in whole)),)
        return self._replace(bars=Bars(*(np.concatenate(columns) for columns in zip(*parts, strict=True))), gapped={})


def build_timeline(
    daily: pd.DataFrame,
    calendar: str,
    start: datetime,
    as_of: datetime,
    *,
    finer: Mapping[str, pd.DataFrame] = NO_FINER_BARS,
    disputes: Sequence[Disagreement] = (),
    absent: Sequence[datetime] = (),
    tolerance: float = 0.02,
    no_later_bars: bool = False,
) -> Timeline:
    """Lay the bars between `first` and `as_of` out; what `as_of` could not know is not looked at.

    `finer` holds frames of shorter bars by the names of `calendars.MINUTES`, the longest first. Daily and finer bars of
    a session whose high, low or close are apart by more than `tolerance`, relatively, contradict each other. `absent`
    are the opens of sessions of which a person said that they had no other bars.
    """
    opens, closes = all_session_bounds(calendar)
    limit = pd.Timestamp(as_of).value
    inside = (opens >= pd.Timestamp(start).value) & (opens < limit)
    pauses = tuple(edge[inside] for edge in session_pauses(calendar))
    sessions = Sessions(opens[inside], closes[inside], limit, pauses)
    frames = [daily, *finer.values()]
    days, *fines = layers = [columns.select(columns.end <= limit) for columns in map(to_bar_arrays, frames)]
    apart = count_splits_once(layers, sessions)
    closed = np.array([pd.Timestamp(moment).value for moment in absent], np.int64)
    bar_layers = BarLayers(days, sessions, _confirmed_starts(daily), closed, tolerance, apart)
    for fine in fines:
        bar_layers.refine(fine)
    bars = Bars(*bar_layers.chosen[:-1], bar_layers.chosen.split.cumprod())
    broken = {
        session: mark_gaps(
            part, _daily_bar(bars, session), tolerance, sessions.pause_of(sessions.opens.searchsorted(session[0]))
        )
        for session, part in bar_layers.gapped.items()
    }
    issues = _session_issues(bar_layers, disputes) | {PRICE_JUMP: _price_jumps(bar_layers, frames)}
    return Timeline(bars, _to_data_issues(issues, calendar), closes[inside & (closes <= limit)], broken, no_later_bars)


def _confirmed_starts(frame: pd.DataFrame) -> TimeArray:
    return to_nanoseconds(frame["start"][is_confirmed(frame["source"])]) if len(frame) else np.array([], np.int64)


def _daily_bar(bars: Bars, session: tuple[int, int]) -> DailyBar:
    at = np.searchsorted(bars.start, session[0])
    return DailyBar(*session, bars.high[at], bars.low[at], bars.close[at], bars.split[at])


def _session_issues(laid: BarLayers, disputes: Sequence[Disagreement]) -> dict[str, SpanArrays]:
    """Opens and closes of the sessions without bars, in dispute, or with bars that contradict each other."""
    sessions = laid.sessions
    covered = np.zeros(len(sessions.opens) + 1, np.bool_)
    covered[sessions.index_of(laid.chosen)] = True
    covered[:-1] |= np.isin(sessions.opens, laid.absent)
    missing = np.flatnonzero((sessions.closes <= sessions.limit) & ~covered[:-1])
    moments = np.array([pd.Timestamp(d.start).value for d in disputes], np.int64)
    disputed = np.searchsorted(sessions.opens, moments[moments < sessions.limit], side="right") - 1
    found = {
        MISSING_SESSION: missing,
        DISPUTED: disputed[disputed >= 0],
        DAILY_CONFLICT: np.array(laid.daily_conflicts, np.int64),
        INTRADAY_CONFLICT: np.array(laid.intraday_conflicts, np.int64),
        LONG_BAR: _long_bars(laid, missing),
    }
    return {kind: (sessions.opens[numbers], sessions.closes[numbers]) for kind, numbers in found.items()}


def _long_bars(laid: BarLayers, missing: TimeArray) -> TimeArray:
    """Sessions with a daily bar, which nobody confirmed, before `HOLE` sessions or more without bars and one that has.

    A bar of a week that stands among daily ones would be known on its Monday.
    """
    edges = np.flatnonzero(np.diff(missing, prepend=-2, append=np.iinfo(np.int64).max) != 1)
    begins, lengths = missing[edges[:-1]], np.diff(edges)
    known = laid.sessions.index_of(laid.chosen).max(initial=-1)
    before = begins[(lengths >= MIN_MISSING_SESSIONS) & (begins > 0) & (begins < known)] - 1
    opens, closes = laid.sessions.opens[before], laid.sessions.closes[before]
    daily = np.isin(opens, laid.chosen.start) & np.isin(closes, laid.chosen.end[np.isin(laid.chosen.start, opens)])
    return before[daily & ~np.isin(opens, laid.confirmed)]


def _price_jumps(laid: BarLayers, frames: Sequence[pd.DataFrame]) -> SpanArrays:
    """Starts and ends of the bars that jump too far, but for sessions that a person spoke for."""
    seen = [laid.chosen, *laid.gapped.values()]
    far = [bars.select(jump_mask(bars)) for bars in seen]
    start, end = (np.concatenate([bars[edge] for bars in far]) for edge in (0, 1))
    if not len(start):
        return start, end
    opens = laid.sessions.opens
    spoken = np.searchsorted(opens, np.concatenate([_confirmed_starts(frame) for frame in frames]), side="right")
    left = ~np.isin(np.searchsorted(opens, start, side="right"), spoken)
    return start[left], end[left]


def _to_data_issues(found: Mapping[str, SpanArrays], calendar: str) -> DataIssues:
    start, end = (np.concatenate([spans[edge] for spans in found.values()]) for edge in (0, 1))
    kinds = [kind for kind, spans in found.items() for _ in spans[0]]
    order = np.argsort(start, kind="stable")
    return DataIssues(start[order], end[order], [kinds[index] for index in order], calendar)
