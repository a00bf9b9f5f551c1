"""What the market made of ideas: win, loss, breakeven or open, from a timeline of bars.

Whatever is in doubt counts as a loss and says so (`ambiguous`); whatever lacks evidence stays open and says why. A
trade closed by expiry or by hand is breakeven inside `outcomes.breakeven_r` round the entry, else a win or a loss by
its sign. Which level came first is for `loop.first_touch` to say.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.config.settings import OutcomesSettings
from osiris.core.ideas import ExitReason, Outcome, round_price
from osiris.labeling.arrays import DAY_NS, IdeaArrays, to_arrays, to_barrier_ideas
from osiris.labeling.triple_barrier import (
    CLOSED,
    EXPIRY,
    NEVER,
    STILL_OPEN,
    WIN,
    BarrierIdeas,
    Bars,
    Touches,
    find_first_touches,
)
from osiris.market.data_issues import DataIssues
from osiris.market.timeline import Timeline
from osiris.storage.rules import PRICE_NOT_TRADED

NO_PRICES = "no prices from any source"
NO_TRADE, NOT_FILLED, NOT_REACHED = (
    "the entry never traded before the idea ended", "the entry has not traded", "neither level reached",
)  # fmt: skip
OPEN_CODE, WIN_CODE, LOSS_CODE, BREAKEVEN_CODE = range(4)
OUTCOMES = np.array([Outcome.OPEN, Outcome.WIN, Outcome.LOSS, Outcome.BREAKEVEN], object)
MANUAL_CODE = 4
EXIT_REASONS = np.array([None, ExitReason.TARGET, ExitReason.STOP, ExitReason.EXPIRY, ExitReason.MANUAL], object)


class Labels(NamedTuple):
    """What became of claims, each shape (n,): codes of `OUTCOMES` and `REASONS`, raw price, time in ns, R, text.

    `ambiguous_at` (ns) is the start of the first bar that finer ones would have to explain, `NEVER` for none.
    """

    outcome: NDArray[np.int64]
    reason: NDArray[np.int64]
    price: NDArray[np.float64]
    closed_at: NDArray[np.int64]
    r: NDArray[np.float64]
    ambiguous: NDArray[np.bool_]
    open_reason: NDArray[np.object_]
    ambiguous_at: NDArray[np.int64]


def label_frame(
    ideas: pd.DataFrame, timelines: Mapping[str, Timeline], rules: OutcomesSettings, as_of: datetime
) -> pd.DataFrame:
    """Judge ideas of any tickers; one on a ticker without a timeline stays open.

    `ideas` has columns id, ticker, side, entry, target, stop, as_of, since (when it came into force), and it may have
    basis_at (the end of the last bar in whose price basis the levels are), close_asked_at
    and close_asked_price (by hand, or null). The answer has a row an idea, by ticker: id, outcome, exit_reason,
    close_price (raw), closed_at, r_multiple (profit over |entry - stop|), ambiguous, open_reason, and ambiguous_at, the
    start of the first bar that finer ones would have to explain.
    """
    codes, tickers = pd.factorize(ideas["ticker"], sort=True)
    order = np.argsort(codes, kind="stable")
    arrays = IdeaArrays(*(column[order] for column in to_arrays(ideas)))
    edges = np.searchsorted(codes[order], np.arange(len(tickers) + 1))
    as_of_ns = pd.Timestamp(as_of).value
    labels = [
        label_ideas(IdeaArrays(*(column[a:b] for column in arrays)), timelines.get(ticker), rules, as_of_ns)
        for ticker, a, b in zip(tickers, edges, edges[1:], strict=False)
    ]
    return _as_frame(ideas["id"].to_numpy(dtype=object)[order], labels)


def label_ideas(arrays: IdeaArrays, timeline: Timeline | None, rules: OutcomesSettings, as_of_ns: int) -> Labels:
    """Judge claims on one ticker at `limit` (ns)."""
    if timeline is None or not len(timeline.bars.start):
        return _unpriced_labels(len(arrays.sign))
    inside = _split_by_broken_session(timeline, arrays.since)
    if inside:
        return _merge_labels(
            [(chosen, label_ideas(_select(arrays, chosen), part, rules, as_of_ns)) for chosen, part in inside],
            len(arrays.sign),
        )
    bars = timeline.bars
    barrier_ideas = to_barrier_ideas(arrays, timeline, rules.max_holding_days)
    touches = find_first_touches(bars, barrier_ideas)
    by_hand = (touches.reason == EXPIRY) & (barrier_ideas.expiry == arrays.close_asked_at)
    closed = touches.state != STILL_OPEN
    over = ~closed & (touches.reason == EXPIRY)
    waiting = np.where(touches.filled, NOT_REACHED, NOT_FILLED)
    labels = Labels(
        _outcome_codes(touches.r, closed, touches.state, rules.breakeven_r),
        np.where(by_hand, MANUAL_CODE, touches.reason),
        touches.price.copy(),
        np.where(touches.at_open, bars.start[touches.bar], bars.end[touches.bar]),
        touches.r.copy(),
        touches.ambiguous.copy(),
        np.where(closed, None, np.where(over, NO_TRADE, waiting)).astype(object),
        np.where(touches.ambiguous_bar >= 0, bars.start[touches.ambiguous_bar], NEVER),
    )
    until = np.where(touches.bar >= 0, bars.start[touches.bar], as_of_ns)
    if (arrays.close_asked_at != NEVER).any():
        until = _apply_close_prices(labels, arrays, barrier_ideas, touches, timeline, rules, as_of_ns, until)
    _leave_open_across_issues(
        labels, timeline.issues, np.minimum.reduce([arrays.as_of, arrays.since, arrays.basis_at]), until
    )
    return labels


def _split_by_broken_session(timeline: Timeline, since: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Timeline]]:
    """Which ideas came into force inside of a session whose finer bars have a gap, and what each is judged on."""
    found, left = [], np.ones(len(since), np.bool_)
    for session in timeline.gapped:
        mine = (since > session[0]) & (since < session[1])
        if mine.any():
            found.append((np.flatnonzero(mine), timeline.expand_session(session)))
            left &= ~mine
    return [*found, (np.flatnonzero(left), timeline._replace(gapped={}))] if found else []


def _select(claims: IdeaArrays, chosen: NDArray[np.int64]) -> IdeaArrays:
    return IdeaArrays(*(column[chosen] for column in claims))


def _merge_labels(parts: list[tuple[NDArray[np.int64], Labels]], count: int) -> Labels:
    whole = _unpriced_labels(count)
    for chosen, labels in parts:
        for column, values in zip(whole, labels, strict=True):
            column[chosen] = values
    return whole


def _outcome_codes(r: NDArray[np.float64], closed: NDArray[np.bool_], state: NDArray[np.int8], band: float) -> NDArray:
    touched = np.where(state == WIN, WIN_CODE, LOSS_CODE)
    return np.select([~closed, state == CLOSED], [OPEN_CODE, _outcome_by_sign(r, band)], touched)


def _outcome_by_sign(r: NDArray[np.float64], band: float) -> NDArray[np.int64]:
    """What a trade that was closed on neither level comes to."""
    return np.select([np.abs(r) <= band, r > 0], [BREAKEVEN_CODE, WIN_CODE], LOSS_CODE)


def _leave_open_across_issues(
    labels: Labels, issues: DataIssues, since: NDArray[np.int64], until: NDArray[np.int64]
) -> None:
    """Leave open, with the reason, what ended across a doubt: one that ends after `since` and begins by `until`."""
    first = issues.first_after(since)
    begins = np.append(issues.start, NEVER)[first]
    for i in np.flatnonzero(begins <= until):
        _leave_open(labels, i, issues.describe(first[i]))


def _leave_open(labels: Labels, i: int, why: str) -> None:
    _set_label(labels, i, OPEN_CODE, 0, np.nan, 0, np.nan, False, why)


def _set_label(labels: Labels, i: int, *values: object) -> None:
    for column, value in zip(labels, values, strict=False):
        column[i] = value


def _apply_close_prices(
    labels: Labels, arrays: IdeaArrays, ideas: BarrierIdeas, touches: Touches, timeline: Timeline, rules: OutcomesSettings, as_of_ns: int,
    until: NDArray[np.int64],
) -> NDArray[np.int64]:  # fmt: skip
    """Close at the price that a person gave where it traded, or where Yahoo has had no bar since; returns `until`."""
    bars, silence = timeline.bars, rules.delisted_after_days * DAY_NS
    for i in np.flatnonzero(np.isfinite(arrays.close_asked_price)):
        price, asked, bar = arrays.close_asked_price[i], arrays.close_asked_at[i], touches.bar[i]
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
        basis = price * bars.split[last] / ideas.split[i]
        r = sign * (basis - arrays.entry[i]) / abs(arrays.entry[i] - arrays.stop[i])
        _set_label(
            labels, i, _outcome_by_sign(r, rules.breakeven_r), MANUAL_CODE, price, asked, r, touches.ambiguous[i], None
        )
    return until


def _is_in_range(price: float, bars: Bars, bar: int, tolerance: float) -> bool:
    """Whether `price` lies in the bar's range, the close before it included, give or take `tolerance`."""
    before = bars.close[bar - 1] * bars.split[bar - 1] / bars.split[bar] if bar else bars.open[bar]
    low, high = min(bars.low[bar], before), max(bars.high[bar], before)
    return low * (1 - tolerance) <= price <= high * (1 + tolerance)


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
    whole = Labels(*(np.concatenate(parts) for parts in zip(*labels, strict=True))) if labels else _unpriced_labels(0)
    is_open = whole.outcome == OPEN_CODE
    moments = pd.Series(pd.to_datetime(whole.closed_at, utc=True).as_unit("us")).mask(is_open)
    return pd.DataFrame(
        {
            "id": ids,
            "outcome": OUTCOMES[whole.outcome],
            "exit_reason": EXIT_REASONS[whole.reason],
            "close_price": [round_price(price) for price in whole.price.tolist()],
            "closed_at": moments,
            "r_multiple": whole.r,
            "ambiguous": pd.Series(whole.ambiguous, dtype=object).mask(is_open, None),
            "open_reason": whole.open_reason,
            "doubt_at": pd.Series(pd.to_datetime(whole.ambiguous_at, utc=True)).mask(whole.ambiguous_at == NEVER),
        }
    )
