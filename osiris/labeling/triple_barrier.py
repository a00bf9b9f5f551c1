"""Which barrier a trade touched first, on bars alone: a numba kernel over all ideas of one ticker.

Rules (each errs on the side of a loss, never of a win, and says so with `ambiguous`):

- A bar counts if it began at or after the start of the idea and was complete; the caller passes complete bars only.
- The entry must trade: the first bar whose range holds the entry fills the idea, at its entry price.
- From the next bar on, an open beyond a level closes at that open (a gap); both levels inside one bar are a loss.
- Inside the filling bar the order of touches follows from the open: a price that came from the target's side reached
  the entry before the stop, so its stop counts and its target only if the bar also closed beyond it; and the reverse.
- At expiry the trade closes at the first price there is: the open of a bar that began after it, else the bar's close.
  Of what happened inside the bar in which it expires nobody knows whether it came before: a target does not count
  there, a stop does, a fill is no trade, each in doubt.
- A gap is a span whose bars are lacking and whose extremes alone are known: its open, the order of its prices and
  whether it traded at a price between them are not. A stop that it may have reached is a loss, a target counts only
  where the gap must have reached it, an entry may have traded; all but a target that must have is in doubt.
- Later splits rescale the levels: bars are compared in the price basis of the idea.
- A price within `SAME` of a level has reached it: 183.08999633789062 is 183.09 as a file of single precision holds it,
  and 100.2 over ten is 10.020000000000001.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from osiris.market.bar_frames import HIGH_TRADED, LOW_TRADED, Bars

STILL_OPEN, WIN, LOSS, CLOSED = 0, 1, 2, 3
NO_REASON, TARGET, STOP, EXPIRY = 0, 1, 2, 3
NEVER = np.iinfo(np.int64).max
SINGLE_PRECISION_TOLERANCE = 2.0**-24
"""Largest relative difference between a price and its nearest number of single precision."""


class BarrierIdeas(NamedTuple):
    """Ideas on that ticker, each array of shape (m,).

    `sign` is +1 long, -1 short; levels are prices in the basis of cumulative split `split`; `since` is when the idea
    came into force and `expiry` when it ends (`NEVER` for none), int64 nanoseconds UTC.
    """

    sign: NDArray[np.float64]
    entry: NDArray[np.float64]
    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    split: NDArray[np.float64]
    since: NDArray[np.int64]
    expiry: NDArray[np.int64]


class Touches(NamedTuple):
    """What became of each idea, arrays of shape (m,).

    `state` is STILL_OPEN, WIN (target), LOSS (stop) or CLOSED (expiry); `price` is the raw exit price and `r` the
    profit over the initial risk, both NaN while open; `bar` is the exit bar's index or -1; `at_open` tells a gap exit;
    `entry_bar` is the index of the bar in which the entry was reached, or -1; `ambiguous_bar` that of the first bar whose order
    of prices would have to be known, or -1.
    """

    state: NDArray[np.int8]
    reason: NDArray[np.int8]
    bar: NDArray[np.int64]
    at_open: NDArray[np.bool_]
    price: NDArray[np.float64]
    r: NDArray[np.float64]
    filled: NDArray[np.bool_]
    ambiguous: NDArray[np.bool_]
    entry_bar: NDArray[np.int64]
    ambiguous_bar: NDArray[np.int64]


def find_first_touches(bars: Bars, ideas: BarrierIdeas) -> Touches:
    """Resolve every idea against the bars. NaN prices are not accepted: the caller drops such bars."""
    count = len(ideas.sign)
    touches = Touches(
        np.zeros(count, np.int8),
        np.zeros(count, np.int8),
        np.full(count, -1, np.int64),
        np.zeros(count, np.bool_),
        np.full(count, np.nan),
        np.full(count, np.nan),
        np.zeros(count, np.bool_),
        np.zeros(count, np.bool_),
        np.full(count, -1, np.int64),
        np.full(count, -1, np.int64),
    )
    gap = np.zeros(len(bars.start), np.int8) if bars.gap is None else bars.gap
    _resolve(*bars[:7], gap, *ideas, *touches)
    return touches


@njit(cache=True, nogil=True)
def _resolve(
    start, end, opens, highs, lows, closes, cumulative, gaps,
    sign, entry, target, stop, split, since, expiry,
    state, reason, bar, at_open, price, r, filled, ambiguous, entry_bar, ambiguous_bar,
):  # fmt: skip
    for i in range(len(sign)):
        s = sign[i]
        # Everything below is written for a long; a short is its mirror image.
        e, t, x = s * entry[i], s * target[i], s * stop[i]
        # A price reaches a level from below at the lower of its bounds, from above at the upper.
        e_low, e_high = e - SINGLE_PRECISION_TOLERANCE * abs(e), e + SINGLE_PRECISION_TOLERANCE * abs(e)
        t_low, x_high = t - SINGLE_PRECISION_TOLERANCE * abs(t), x + SINGLE_PRECISION_TOLERANCE * abs(x)
        risk = e - x
        maybe = False  # filled in a gap, perhaps
        first = np.searchsorted(start, since[i])
        if first > 0 and gaps[first - 1] and end[first - 1] > since[i]:
            first -= 1  # of a gap that had begun the rest counts
        for j in range(first, len(start)):
            to_basis = s * cumulative[j] / split[i]
            o, c = opens[j] * to_basis, closes[j] * to_basis
            h = (highs[j] if s > 0 else lows[j]) * to_basis
            low = (lows[j] if s > 0 else highs[j]) * to_basis
            level, code, why = np.nan, STILL_OPEN, NO_REASON
            cut = start[j] < expiry[i] < end[j]
            if expiry[i] <= start[j]:
                if not filled[i]:
                    reason[i], bar[i] = EXPIRY, j
                    break
                level, code, why, at_open[i] = o, CLOSED, EXPIRY, True
                if gaps[j]:
                    level, at_open[i], ambiguous[i] = c, False, True
            elif gaps[j]:
                sure = gaps[j] & (HIGH_TRADED if s > 0 else LOW_TRADED) and start[j] >= since[i]
                if (filled[i] or maybe or h >= e_low) and low <= x_high:
                    level, code, why, filled[i], ambiguous[i] = x, LOSS, STOP, True, True
                elif filled[i] and h >= t_low and sure:
                    level, code, why = t, WIN, TARGET
                elif filled[i]:
                    ambiguous[i] |= h >= t_low or expiry[i] <= end[j]
                elif low <= e_high and e_low <= h:
                    maybe = ambiguous[i] = True
            elif maybe and not filled[i] and low <= x_high:
                level, code, why, at_open[i] = min(o, x), LOSS, STOP, o <= x_high
                filled[i] = ambiguous[i] = True
            elif not filled[i]:
                if low <= e_high and e_low <= h:
                    filled[i] = not cut or e_low <= o <= e_high
                    ambiguous[i] |= not filled[i]
                    stop_sure = low <= x_high and (o >= e_low or c <= x_high)
                    stop_maybe = low <= x_high
                    target_sure = h >= t_low and (o <= e_high or c >= t_low)
                    target_maybe = h >= t_low
                    if stop_maybe:
                        level, code, why, filled[i] = x, LOSS, STOP, True
                        ambiguous[i] |= target_maybe or not stop_sure or cut
                    elif target_sure:
                        level, code, why = t, WIN, TARGET
                    elif target_maybe:
                        ambiguous[i] = True
            elif o <= x_high:
                level, code, why, at_open[i] = o, LOSS, STOP, True
            elif o >= t_low:
                level, code, why, at_open[i] = o, WIN, TARGET, True
            elif low <= x_high:
                level, code, why = x, LOSS, STOP
                ambiguous[i] |= h >= t_low or cut
            elif h >= t_low:
                level, code, why = t, WIN, TARGET
            if code == WIN and cut and not at_open[i]:
                level, code, why, ambiguous[i] = np.nan, STILL_OPEN, NO_REASON, True
            if filled[i] and entry_bar[i] < 0:
                entry_bar[i] = j
            if ambiguous[i] and ambiguous_bar[i] < 0:
                ambiguous_bar[i] = j
            if code == STILL_OPEN and expiry[i] <= end[j]:
                if filled[i]:
                    level, code, why = c, CLOSED, EXPIRY
                else:
                    reason[i], bar[i] = EXPIRY, j
                    break
            if code != STILL_OPEN:
                state[i], reason[i], bar[i] = code, why, j
                price[i] = level / to_basis
                r[i] = (level - e) / risk
                break
