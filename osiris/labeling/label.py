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

from osiris.config.settings import Outcomes
from osiris.core.ideas import ExitReason, Outcome, rounded_price
from osiris.labeling.arrays import DAY, Claims, as_claims, kernel_ideas
from osiris.labeling.triple_barrier import CLOSED, EXPIRY, NEVER, STILL_OPEN, WIN, Bars, Ideas, Touches, first_touch
from osiris.market.data_issues import Doubts
from osiris.market.timeline import Timeline
from osiris.storage.rules import ODD_PRICE

NO_PRICES = "no prices from any source"
NO_TRADE, NOT_FILLED, NOT_REACHED = (
    "the entry never traded before the idea ended", "the entry has not traded", "neither level reached",
)  # fmt: skip
OPEN, WON, LOST, EVEN = range(4)
OUTCOMES = np.array([Outcome.OPEN, Outcome.WIN, Outcome.LOSS, Outcome.BREAKEVEN], object)
MANUAL = 4
REASONS = np.array([None, ExitReason.TARGET, ExitReason.STOP, ExitReason.EXPIRY, ExitReason.MANUAL], object)


class Rulings(NamedTuple):
    """What became of claims, each shape (n,): codes of `OUTCOMES` and `REASONS`, raw price, time in ns, R, text.

    `doubt_at` (ns) is the start of the first bar that finer ones would have to explain, `NEVER` for none.
    """

    outcome: NDArray[np.int64]
    reason: NDArray[np.int64]
    price: NDArray[np.float64]
    at: NDArray[np.int64]
    r: NDArray[np.float64]
    ambiguous: NDArray[np.bool_]
    why_open: NDArray[np.object_]
    doubt_at: NDArray[np.int64]


def judge(ideas: pd.DataFrame, lines: Mapping[str, Timeline], rules: Outcomes, as_of: datetime) -> pd.DataFrame:
    """Judge ideas of any tickers; one on a ticker without a timeline stays open.

    `ideas` has columns id, ticker, side, entry, target, stop, as_of, since (when it came into force), and it may have
    basis_at (the end of the last bar in whose price basis the levels are), close_asked_at
    and close_asked_price (by hand, or null). The answer has a row an idea, by ticker: id, outcome, exit_reason,
    close_price (raw), closed_at, r_multiple (profit over |entry - stop|), ambiguous, open_reason, and doubt_at, the
    start of the first bar that finer ones would have to explain.
    """
    codes, tickers = pd.factorize(ideas["ticker"], sort=True)
    order = np.argsort(codes, kind="stable")
    claims = Claims(*(column[order] for column in as_claims(ideas)))
    edges = np.searchsorted(codes[order], np.arange(len(tickers) + 1))
    limit = pd.Timestamp(as_of).value
    rulings = [
        rule(Claims(*(column[a:b] for column in claims)), lines.get(ticker), rules, limit)
        for ticker, a, b in zip(tickers, edges, edges[1:], strict=False)
    ]
    return _as_frame(ideas["id"].to_numpy(dtype=object)[order], rulings)


def rule(claims: Claims, line: Timeline | None, rules: Outcomes, limit: int) -> Rulings:
    """Judge claims on one ticker at `limit` (ns)."""
    if line is None or not len(line.bars.start):
        return _unpriced(len(claims.sign))
    inside = _inside_of_broken(line, claims.since)
    if inside:
        return _joined(
            [(chosen, rule(_part(claims, chosen), part, rules, limit)) for chosen, part in inside], len(claims.sign)
        )
    bars = line.bars
    asked_for = kernel_ideas(claims, line, rules.max_holding_days)
    touches = first_touch(bars, asked_for)
    by_hand = (touches.reason == EXPIRY) & (asked_for.expiry == claims.asked)
    closed = touches.state != STILL_OPEN
    over = ~closed & (touches.reason == EXPIRY)
    waiting = np.where(touches.filled, NOT_REACHED, NOT_FILLED)
    rulings = Rulings(
        _outcomes(touches.r, closed, touches.state, rules.breakeven_r),
        np.where(by_hand, MANUAL, touches.reason),
        touches.price.copy(),
        np.where(touches.at_open, bars.start[touches.bar], bars.end[touches.bar]),
        touches.r.copy(),
        touches.ambiguous.copy(),
        np.where(closed, None, np.where(over, NO_TRADE, waiting)).astype(object),
        np.where(touches.doubt >= 0, bars.start[touches.doubt], NEVER),
    )
    until = np.where(touches.bar >= 0, bars.start[touches.bar], limit)
    if (claims.asked != NEVER).any():
        until = _take_prices(rulings, claims, asked_for, touches, line, rules, limit, until)
    _hold_back(rulings, line.doubts, np.minimum.reduce([claims.as_of, claims.since, claims.basis]), until)
    return rulings


def _inside_of_broken(line: Timeline, since: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Timeline]]:
    """Which ideas came into force inside of a session whose finer bars have a gap, and what each is judged on."""
    found, left = [], np.ones(len(since), np.bool_)
    for session in line.broken:
        mine = (since > session[0]) & (since < session[1])
        if mine.any():
            found.append((np.flatnonzero(mine), line.inside(session)))
            left &= ~mine
    return [*found, (np.flatnonzero(left), line._replace(broken={}))] if found else []


def _part(claims: Claims, chosen: NDArray[np.int64]) -> Claims:
    return Claims(*(column[chosen] for column in claims))


def _joined(parts: list[tuple[NDArray[np.int64], Rulings]], count: int) -> Rulings:
    whole = _unpriced(count)
    for chosen, rulings in parts:
        for column, values in zip(whole, rulings, strict=True):
            column[chosen] = values
    return whole


def _outcomes(r: NDArray[np.float64], closed: NDArray[np.bool_], state: NDArray[np.int8], band: float) -> NDArray:
    touched = np.where(state == WIN, WON, LOST)
    return np.select([~closed, state == CLOSED], [OPEN, _by_sign(r, band)], touched)


def _by_sign(r: NDArray[np.float64], band: float) -> NDArray[np.int64]:
    """What a trade that was closed on neither level comes to."""
    return np.select([np.abs(r) <= band, r > 0], [EVEN, WON], LOST)


def _hold_back(rulings: Rulings, doubts: Doubts, since: NDArray[np.int64], until: NDArray[np.int64]) -> None:
    """Leave open, with the reason, what ended across a doubt: one that ends after `since` and begins by `until`."""
    first = doubts.first_after(since)
    begins = np.append(doubts.start, NEVER)[first]
    for i in np.flatnonzero(begins <= until):
        _leave_open(rulings, i, doubts.text(first[i]))


def _leave_open(rulings: Rulings, i: int, why: str) -> None:
    _rule(rulings, i, OPEN, 0, np.nan, 0, np.nan, False, why)


def _rule(rulings: Rulings, i: int, *values: object) -> None:
    for column, value in zip(rulings, values, strict=False):
        column[i] = value


def _take_prices(
    rulings: Rulings, claims: Claims, ideas: Ideas, touches: Touches, line: Timeline, rules: Outcomes, limit: int,
    until: NDArray[np.int64],
) -> NDArray[np.int64]:  # fmt: skip
    """Close at the price that a person gave where it traded, or where Yahoo has had no bar since; returns `until`."""
    bars, silence = line.bars, rules.delisted_after_days * DAY
    for i in np.flatnonzero(np.isfinite(claims.asked_price)):
        price, asked, bar = claims.asked_price[i], claims.asked[i], touches.bar[i]
        if rulings.reason[i] == MANUAL and rulings.outcome[i] != OPEN:
            if not _traded(price, bars, bar, rules.tolerance):
                _leave_open(rulings, i, ODD_PRICE)
                continue
        elif bar >= 0 or not touches.filled[i] or bars.end[-1] > asked or limit - asked < silence or not line.silent:
            continue
        else:
            until[i] = bars.start[-1]
        last = bar if bar >= 0 else len(bars.start) - 1
        sign = claims.sign[i]
        basis = price * bars.split[last] / ideas.split[i]
        r = sign * (basis - claims.entry[i]) / abs(claims.entry[i] - claims.stop[i])
        _rule(rulings, i, _by_sign(r, rules.breakeven_r), MANUAL, price, asked, r, touches.ambiguous[i], None)
    return until


def _traded(price: float, bars: Bars, bar: int, tolerance: float) -> bool:
    """Whether `price` lies in the bar's range, the close before it included, give or take `tolerance`."""
    before = bars.close[bar - 1] * bars.split[bar - 1] / bars.split[bar] if bar else bars.open[bar]
    low, high = min(bars.low[bar], before), max(bars.high[bar], before)
    return low * (1 - tolerance) <= price <= high * (1 + tolerance)


def _unpriced(count: int) -> Rulings:
    return Rulings(
        outcome=np.zeros(count, np.int64),
        reason=np.zeros(count, np.int64),
        price=np.full(count, np.nan),
        at=np.zeros(count, np.int64),
        r=np.full(count, np.nan),
        ambiguous=np.zeros(count, np.bool_),
        why_open=np.full(count, NO_PRICES, object),
        doubt_at=np.full(count, NEVER),
    )


def _as_frame(ids: NDArray[np.object_], rulings: list[Rulings]) -> pd.DataFrame:
    whole = Rulings(*(np.concatenate(parts) for parts in zip(*rulings, strict=True))) if rulings else _unpriced(0)
    is_open = whole.outcome == OPEN
    moments = pd.Series(pd.to_datetime(whole.at, utc=True).as_unit("us")).mask(is_open)
    return pd.DataFrame(
        {
            "id": ids,
            "outcome": OUTCOMES[whole.outcome],
            "exit_reason": REASONS[whole.reason],
            "close_price": [rounded_price(price) for price in whole.price.tolist()],
            "closed_at": moments,
            "r_multiple": whole.r,
            "ambiguous": pd.Series(whole.ambiguous, dtype=object).mask(is_open, None),
            "open_reason": whole.why_open,
            "doubt_at": pd.Series(pd.to_datetime(whole.doubt_at, utc=True)).mask(whole.doubt_at == NEVER),
        }
    )
