"""The bars that ideas on one ticker are judged on, and the times at which those bars are in doubt.

Each session uses the finest bars that cover it without a gap, else its daily bar. A session under way uses the finest
bars from its open on. Bars do not count as missing in a lunch break.

No idea is closed across a data issue. These have one:

- a session without bars, unless a person said that it had none;
- a session on whose bars sources disagree;
- a session whose bars of different lengths contradict each other;
- a daily bar after which several sessions have none, because weekly bars look so;
- a price that jumps too far.

A daily bar that a person confirmed has no issue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
"""Bars from that long before the first idea on give its price basis. Ten days hold a session in every calendar."""
MIN_MISSING_SESSIONS = 3
"""So many sessions without a bar put the daily bar before them in doubt: it may be the bar of a week."""
SpanArrays = tuple[TimeArray, TimeArray]


@dataclass(frozen=True)
class TimelineSources:
    """The stored data of one ticker, from which `build_timeline` makes its timeline.

    `finer` holds frames of shorter bars by the names of `calendars.BAR_MINUTES`, the longest first. `absent` are the
    opens of sessions of which a person said that they had no other bars. `no_later_bars` says that Yahoo was asked for
    the time after the last bar and had nothing.
    """

    daily: pd.DataFrame
    finer: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    disputes: Sequence[Disagreement] = ()
    absent: Sequence[datetime] = ()
    no_later_bars: bool = False


class Timeline(NamedTuple):
    """Bars for the triple-barrier search, and the data issues about them.

    `closes` are those of the sessions over at `as_of`. `gapped` is for sessions whose daily bar stands because finer
    bars are missing. By session (open, close) it holds the finer bars and the gaps between them: an idea that came
    into force inside such a session is judged on those. `no_later_bars` is that of `TimelineSources`.
    """

    bars: Bars
    issues: DataIssues
    closes: TimeArray
    gapped: Mapping[tuple[int, int], Bars]
    no_later_bars: bool

    def expand_session(self, session: tuple[int, int]) -> "Timeline":
        """The timeline with the finer bars of a gapped session, and its gaps, in place of its daily bar."""
        begin, end = np.searchsorted(self.bars.start, session)
        pairs = zip(self.bars.with_marks(), self.gapped[session].with_marks(), strict=True)
        bars = Bars._make(np.concatenate([coarse[:begin], finer, coarse[end:]]) for coarse, finer in pairs)
        return self._replace(bars=bars, gapped={})


def build_timeline(
    sources: TimelineSources, calendar: str, start: datetime, as_of: datetime, tolerance: float = 0.02
) -> Timeline:
    """Arrange the bars between `start` and `as_of`; data that was not known at `as_of` is ignored.

    Daily and finer bars of a session contradict each other if a high, low or close differs by more than `tolerance`,
    relatively.
    """
    opens, closes = all_session_bounds(calendar)
    limit = pd.Timestamp(as_of).value
    inside = (opens >= pd.Timestamp(start).value) & (opens < limit)
    pause_begins, pause_ends = session_pauses(calendar)
    sessions = Sessions(opens[inside], closes[inside], limit, (pause_begins[inside], pause_ends[inside]))
    frames = [sources.daily, *sources.finer.values()]
    # No look-ahead: a bar counts only once it is complete, so its end decides and not its start.
    days, *fines = layers = [columns.select(columns.end <= limit) for columns in map(to_bar_arrays, frames)]
    split_conflicts = count_splits_once(layers, sessions)
    absent = np.array([pd.Timestamp(moment).value for moment in sources.absent], np.int64)
    bar_layers = BarLayers(days, sessions, _confirmed_starts(sources.daily), absent, tolerance, split_conflicts)
    for fine in fines:
        bar_layers.refine(fine)
    bars = Bars(*bar_layers.chosen[:6], bar_layers.chosen.split.cumprod())  # the volume decides no outcome
    gapped = {
        session: mark_gaps(
            part, _daily_bar(bars, session), tolerance, sessions.pause_of(int(sessions.opens.searchsorted(session[0])))
        )
        for session, part in bar_layers.gapped.items()
    }
    issues = _session_issues(bar_layers, sources.disputes) | {PRICE_JUMP: _price_jumps(bar_layers, frames)}
    over = closes[inside & (closes <= limit)]
    return Timeline(bars, _to_data_issues(issues, calendar), over, gapped, sources.no_later_bars)


def _confirmed_starts(frame: pd.DataFrame) -> TimeArray:
    return to_nanoseconds(frame["start"][is_confirmed(frame["source"])]) if len(frame) else np.array([], np.int64)


def _daily_bar(bars: Bars, session: tuple[int, int]) -> DailyBar:
    at = np.searchsorted(bars.start, session[0])
    return DailyBar(*session, bars.high[at], bars.low[at], bars.close[at], bars.split[at])


def _session_issues(layers: BarLayers, disputes: Sequence[Disagreement]) -> dict[str, SpanArrays]:
    """Opens and closes of the sessions without bars, in dispute, or with bars that contradict each other."""
    sessions = layers.sessions
    # One place more than there are sessions: `index_of` gives -1 for a bar outside of them, which lands there.
    covered = np.zeros(len(sessions.opens) + 1, np.bool_)
    covered[sessions.index_of(layers.chosen)] = True
    covered[:-1] |= np.isin(sessions.opens, layers.absent)
    missing = np.flatnonzero((sessions.closes <= sessions.limit) & ~covered[:-1])
    moments = np.array([pd.Timestamp(d.start).value for d in disputes], np.int64)
    disputed = np.searchsorted(sessions.opens, moments[moments < sessions.limit], side="right") - 1
    indices = {
        MISSING_SESSION: missing,
        DISPUTED: disputed[disputed >= 0],
        DAILY_CONFLICT: np.array(layers.daily_conflicts, np.int64),
        INTRADAY_CONFLICT: np.array(layers.intraday_conflicts, np.int64),
        LONG_BAR: _long_bars(layers, missing),
    }
    return {kind: (sessions.opens[numbers], sessions.closes[numbers]) for kind, numbers in indices.items()}


def _long_bars(layers: BarLayers, missing: TimeArray) -> TimeArray:
    """Indices of the sessions whose daily bar may be of more than that session.

    `MIN_MISSING_SESSIONS` or more sessions without bars follow them, then one that has bars; nobody confirmed them.
    For example, the bar of a week that stands among daily ones would be known on its Monday.
    """
    # Runs of consecutive numbers in `missing`: an edge is where the step is not 1. The prepended -2 and the appended
    # maximum make the first element and the place behind the last one edges, whatever their values are.
    edges = np.flatnonzero(np.diff(missing, prepend=-2, append=np.iinfo(np.int64).max) != 1)
    begins, lengths = missing[edges[:-1]], np.diff(edges)
    known = layers.sessions.index_of(layers.chosen).max(initial=-1)
    before = begins[(lengths >= MIN_MISSING_SESSIONS) & (begins > 0) & (begins < known)] - 1
    opens, closes = layers.sessions.opens[before], layers.sessions.closes[before]
    chosen = layers.chosen
    daily = np.isin(opens, chosen.start) & np.isin(closes, chosen.end[np.isin(chosen.start, opens)])
    return np.asarray(before[daily & ~np.isin(opens, layers.confirmed)])


def _price_jumps(layers: BarLayers, frames: Sequence[pd.DataFrame]) -> SpanArrays:
    """Starts and ends of the bars that jump too far, except in sessions of which a person confirmed a bar."""
    jumping = [bars.select(jump_mask(bars)) for bars in (layers.chosen, *layers.gapped.values())]
    start = np.concatenate([bars.start for bars in jumping])
    end = np.concatenate([bars.end for bars in jumping])
    if not len(start):
        return start, end
    opens = layers.sessions.opens
    confirmed = np.searchsorted(opens, np.concatenate([_confirmed_starts(frame) for frame in frames]), side="right")
    left = ~np.isin(np.searchsorted(opens, start, side="right"), confirmed)
    return start[left], end[left]


def _to_data_issues(spans_by_kind: Mapping[str, SpanArrays], calendar: str) -> DataIssues:
    start, end = (np.concatenate([spans[edge] for spans in spans_by_kind.values()]) for edge in (0, 1))
    kinds = [kind for kind, spans in spans_by_kind.items() for _ in spans[0]]
    order = np.argsort(start, kind="stable")
    return DataIssues(start[order], end[order], [kinds[index] for index in order], calendar)
