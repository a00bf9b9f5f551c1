"""Labels of ideas from a timeline of bars: win, loss, breakeven or open.

A case in doubt counts as a loss and is marked `ambiguous`. An idea for which evidence is missing stays open, and
`open_reason` says why. A trade closed by expiry or by hand is a breakeven if its R is within `outcomes.breakeven_r`
of zero; beyond that it is a win or a loss by its sign. `triple_barrier.find_first_touches` decides which level came
first.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.config.sections import OutcomesSettings
from osiris.core.ideas import ExitReason, Outcome, round_price
from osiris.labeling.arrays import DAY_NS, IdeaArrays, to_arrays, to_barrier_ideas
from osiris.labeling.triple_barrier import (
    CLOSED,
    EXPIRY,
    NEVER,
    STILL_OPEN,
    WIN,
    BarrierIdeas,
    Touches,
    find_first_touches,
)
from osiris.market.bar_frames import Bars
from osiris.market.data_issues import DataIssues
from osiris.market.timeline import Timeline
from osiris.storage.rules import PRICE_NOT_TRADED

NO_PRICES = "no prices from any source"
NO_TRADE = "the entry never traded before the idea ended"
NOT_FILLED = "the entry has not traded"
NOT_REACHED = "neither level reached"
OPEN_CODE, WIN_CODE, LOSS_CODE, BREAKEVEN_CODE = range(4)
OUTCOMES = np.array([Outcome.OPEN, Outcome.WIN, Outcome.LOSS, Outcome.BREAKEVEN], object)
"""The outcome of each code: the order is that of the four codes above."""
MANUAL_CODE = 4
"""Codes 0 to 3 of an exit reason are those of `triple_barrier`; only a person closes a trade by hand."""
EXIT_REASONS = np.array([None, ExitReason.TARGET, ExitReason.STOP, ExitReason.EXPIRY, ExitReason.MANUAL], object)
"""The exit reason of each code, 0 to 4."""


class Labels(NamedTuple):
    """The labels of n ideas, each array of shape (n,).

    `outcome` indexes `OUTCOMES` and `reason` indexes `EXIT_REASONS`. `price` is the raw exit price, `closed_at` is in
    nanoseconds UTC and `r` is the profit over the initial risk. `open_reason` is None for an idea that is not open.
    `ambiguous_at` (ns) is the start of the first bar whose order of prices only finer bars show, `NEVER` for none.
    """

    outcome: NDArray[np.int64]
    reason: NDArray[np.int64]
    price: NDArray[np.float64]
    closed_at: NDArray[np.int64]
    r: NDArray[np.float64]
    ambiguous: NDArray[np.bool_]
    open_reason: NDArray[np.object_]
    ambiguous_at: NDArray[np.int64]


class _Context(NamedTuple):
    """The bars of one ticker, the rules of outcomes, and the moment of the run in nanoseconds UTC."""

    timeline: Timeline
    rules: OutcomesSettings
    as_of_ns: int


def label_frame(
    ideas: pd.DataFrame, timelines: Mapping[str, Timeline], rules: OutcomesSettings, as_of: datetime
) -> pd.DataFrame:
    """Label ideas of any tickers; an idea on a ticker without a timeline stays open.

    `ideas` has the columns id, ticker, side, entry, target, stop, as_of and since (when the idea came into force). It
    may have basis_at (the end of the last bar in whose price basis the levels are), close_asked_at and
    close_asked_price (null unless a person closed the trade by hand).

    The result has one row per idea, ordered by ticker: id, outcome, exit_reason, close_price (raw), closed_at,
    r_multiple (profit over |entry - stop|), ambiguous, open_reason and ambiguous_at. The last is the start of the first
    bar whose order of prices only finer bars show, null for none.
    """
    codes, tickers = pd.factorize(ideas["ticker"], sort=True)
    order = np.argsort(codes, kind="stable")
    arrays = to_arrays(ideas).select(order)
    # The sorted codes run from 0 to len(tickers) - 1, so ticker k owns the rows edges[k] to edges[k + 1].
    edges = np.searchsorted(codes[order], np.arange(len(tickers) + 1))
    as_of_ns = pd.Timestamp(as_of).value
    labels = [
        label_ideas(arrays.select(slice(begin, end)), timelines.get(ticker), rules, as_of_ns)
        for ticker, begin, end in zip(tickers, edges[:-1], edges[1:], strict=True)
    ]
    return _as_frame(ideas["id"].to_numpy(dtype=object)[order], labels)


def label_ideas(arrays: IdeaArrays, timeline: Timeline | None, rules: OutcomesSettings, as_of_ns: int) -> Labels:
    """Label ideas on one ticker at `as_of_ns` (nanoseconds UTC); they stay open without a timeline or any bar."""
    if timeline is None or not len(timeline.bars.start):
        return _unpriced_labels(len(arrays.sign))
    parts = _split_by_broken_session(timeline, arrays.since)
    if parts:
        return _merge_labels(
            [(chosen, label_ideas(arrays.select(chosen), part, rules, as_of_ns)) for chosen, part in parts],
            len(arrays.sign),
        )
    bars = timeline.bars
    barrier_ideas = to_barrier_ideas(arrays, timeline, rules.max_holding_days)
    touches = find_first_touches(bars, barrier_ideas)
    # A close by hand is passed as an expiry. It was one by hand where the expiry is the moment the person named.
    by_hand = (touches.reason == EXPIRY) & (barrier_ideas.expiry == arrays.close_asked_at)
    closed = touches.state != STILL_OPEN
    # An idea that expired before its entry traded was no trade: it is still open, with the reason EXPIRY.
    over = ~closed & (touches.reason == EXPIRY)
    waiting = np.where(touches.filled, NOT_REACHED, NOT_FILLED)
    open_reason = np.where(over, NO_TRADE, waiting).astype(object)
    open_reason[closed] = None
    # `bar` and `ambiguous_bar` are -1 where there is none. They then index the last bar, and what that gives is unused:
    # an open idea shows no `closed_at`, and the two `where` below replace it.
    labels = Labels(
        outcome=_outcome_codes(touches.r, closed, touches.state, rules.breakeven_r),
        reason=np.where(by_hand, MANUAL_CODE, touches.reason),
        price=touches.price.copy(),
        closed_at=np.where(touches.at_open, bars.start[touches.bar], bars.end[touches.bar]),
        r=touches.r.copy(),
        ambiguous=touches.ambiguous.copy(),
        open_reason=open_reason,
        ambiguous_at=np.where(touches.ambiguous_bar >= 0, bars.start[touches.ambiguous_bar], NEVER),
    )
    # Evidence is needed up to the exit bar, or up to the run while no bar closed the trade.
    until = np.where(touches.bar >= 0, bars.start[touches.bar], as_of_ns)
    if (arrays.close_asked_at != NEVER).any():
        _apply_close_prices(labels, arrays, barrier_ideas, touches, until, _Context(timeline, rules, as_of_ns))
    # A label depends on the bars from the earliest of the three moments on: the price basis may be older than the idea.
    # `basis_at` is `NEVER` where it is missing, so it never is the earliest then.
    since = np.minimum.reduce([arrays.as_of, arrays.since, arrays.basis_at])
    _leave_open_across_issues(labels, timeline.issues, since, until)
    return labels


def _split_by_broken_session(timeline: Timeline, since: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Timeline]]:
    """The indices of ideas and the timeline that labels them, in parts; empty if one timeline serves all.

    An idea that came into force inside a session whose finer bars have a gap needs these bars and the gap. The daily
    bar of that session began before the idea, so it does not count.
    """
    parts = []
    remaining = np.ones(len(since), np.bool_)
    for session in timeline.gapped:
        in_session = (since > session[0]) & (since < session[1])
        if in_session.any():
            parts.append((np.flatnonzero(in_session), timeline.expand_session(session)))
            remaining &= ~in_session
    # Without `gapped` neither part is split again when `label_ideas` calls itself.
    return [*parts, (np.flatnonzero(remaining), timeline._replace(gapped={}))] if parts else []


def _merge_labels(parts: list[tuple[NDArray[np.int64], Labels]], count: int) -> Labels:
    merged = _unpriced_labels(count)
    for chosen, labels in parts:
        for column, values in zip(merged, labels, strict=True):
            column[chosen] = values
    return merged


def _outcome_codes(
    r: NDArray[np.float64], closed: NDArray[np.bool_], state: NDArray[np.int8], band: float
) -> NDArray[np.int64]:
    touched = np.where(state == WIN, WIN_CODE, LOSS_CODE)
    return np.select([~closed, state == CLOSED], [OPEN_CODE, _outcome_by_sign(r, band)], touched)


def _outcome_by_sign(r: NDArray[np.float64], band: float) -> NDArray[np.int64]:
    """The outcome of a trade that was closed on neither level: breakeven within `band`, in R, else by its sign."""
    return np.select([np.abs(r) <= band, r > 0], [BREAKEVEN_CODE, WIN_CODE], LOSS_CODE)


def _leave_open_across_issues(
    labels: Labels, issues: DataIssues, since: NDArray[np.int64], until: NDArray[np.int64]
) -> None:
    """Leave an idea open, with the reason, if a data issue ends after its `since` and begins by its `until`."""
    # `issues` are sorted by start. The first that ends after `since` has the index len(issues) where there is none,
    # so a start of NEVER is appended for it.
    first = issues.first_after(since)
    begins = np.append(issues.start, NEVER)[first]
    for i in np.flatnonzero(begins <= until).tolist():
        _leave_open(labels, i, issues.describe(int(first[i])))


def _leave_open(labels: Labels, i: int, why: str) -> None:
    # `ambiguous_at` stays: finer bars may still settle the idea.
    _set_label(labels, i, OPEN_CODE, 0, np.nan, 0, np.nan, False, why)


def _set_label(labels: Labels, i: int, *values: Any) -> None:
    """Set the first columns of row `i`, in the order of the fields of `Labels`."""
    for column, value in zip(labels, values, strict=False):
        column[i] = value


def _apply_close_prices(
    labels: Labels,
    arrays: IdeaArrays,
    ideas: BarrierIdeas,
    touches: Touches,
    until: NDArray[np.int64],
    context: _Context,
) -> None:
    """Close at the price that a person named, if it traded or if Yahoo has had no bar since; changes `until` too.

    Yahoo must have had no bar for `delisted_after_days` after the close. The trade then ends at the last bar.
    """
    timeline, rules, as_of_ns = context
    bars = timeline.bars
    silence = rules.delisted_after_days * DAY_NS
    for i in np.flatnonzero(np.isfinite(arrays.close_asked_price)).tolist():
        price = arrays.close_asked_price[i]
        asked = arrays.close_asked_at[i]
        bar = int(touches.bar[i])
        if labels.reason[i] == MANUAL_CODE and labels.outcome[i] != OPEN_CODE:
            if not _is_in_range(price, bars, bar, rules.tolerance):
                _leave_open(labels, i, PRICE_NOT_TRADED)
                continue
        elif (
            bar >= 0
            or not touches.filled[i]
            or bars.end[-1] > asked
            or as_of_ns - asked < silence
            or not timeline.no_later_bars
        ):
            continue
        else:
            until[i] = bars.start[-1]
        last = bar if bar >= 0 else len(bars.start) - 1
        sign = arrays.sign[i]
        # The person named a raw price; the levels are in the basis of the idea, so later splits are undone.
        in_basis = price * bars.split[last] / ideas.split[i]
        r = sign * (in_basis - arrays.entry[i]) / abs(arrays.entry[i] - arrays.stop[i])
        outcome = _outcome_by_sign(r, rules.breakeven_r)
        _set_label(labels, i, outcome, MANUAL_CODE, price, asked, r, touches.ambiguous[i], None)


def _is_in_range(price: float, bars: Bars, bar: int, tolerance: float) -> bool:
    """Whether `price` lies in the range of the bar and the close before it, widened by `tolerance`, a fraction."""
    # Both raw prices have to be in the basis of this bar, or a split between the two would widen the range.
    before = bars.close[bar - 1] * bars.split[bar - 1] / bars.split[bar] if bar else bars.open[bar]
    low, high = min(bars.low[bar], before), max(bars.high[bar], before)
    return bool(low * (1 - tolerance) <= price <= high * (1 + tolerance))


def _unpriced_labels(count: int) -> Labels:
    return Labels(
        outcome=np.zeros(count, np.int64),
        reason=np.zeros(count, np.int64),
        price=np.full(count, np.nan),
        closed_at=np.zeros(count, np.int64),
        r=np.full(count, np.nan),
        ambiguous=np.zeros(count, np.bool_),
        open_reason=np.full(count, NO_PRICES, object),
        ambiguous_at=np.full(count, NEVER),
    )


def _as_frame(ids: NDArray[np.object_], labels: list[Labels]) -> pd.DataFrame:
    joined = Labels._make(map(np.concatenate, zip(*labels, strict=True))) if labels else _unpriced_labels(0)
    is_open = joined.outcome == OPEN_CODE
    moments = pd.Series(pd.to_datetime(joined.closed_at, utc=True).as_unit("us")).mask(is_open)
    return pd.DataFrame(
        {
            "id": ids,
            "outcome": OUTCOMES[joined.outcome],
            "exit_reason": EXIT_REASONS[joined.reason],
            "close_price": [round_price(price) for price in joined.price.tolist()],
            "closed_at": moments,
            "r_multiple": joined.r,
            "ambiguous": pd.Series(joined.ambiguous, dtype=object).mask(is_open, None),
            "open_reason": joined.open_reason,
            "ambiguous_at": pd.Series(pd.to_datetime(joined.ambiguous_at, utc=True)).mask(joined.ambiguous_at == NEVER),
        }
    )
