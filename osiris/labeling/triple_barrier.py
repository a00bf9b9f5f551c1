"""The barrier a trade touched first, from bars alone: one numba function for all ideas of one ticker.

Example: a long idea with entry 100, target 106 and stop 97, and one bar that ranges from 96 to 107 after the entry. The
bar touched both levels, and OHLC data does not record in which order. The trade counts as a loss and is `ambiguous`.
Each rule below errs towards a loss, never towards a win, and marks the case as `ambiguous`.

- A bar counts if it began at or after the start of the idea and is complete. The caller passes only complete bars.
- The entry must trade: the first bar whose range holds the entry fills the idea, at the entry price.
- From the next bar on, an open beyond a level closes the trade at that open (a gap between bars). Both levels inside
  one bar are a loss.
- Inside the bar that fills the idea, the open tells the order of touches. A price that came from the target's side
  reached the entry before the stop. So the stop counts; the target counts only if the bar also closed beyond it.
  A price that came from the stop's side reached the entry before the target. So the target counts; a stop is a loss
  too, and an ambiguous one unless the bar also closed beyond it.
- At expiry the trade closes at the first known price: the open of a bar that began after the expiry, else the close of
  the bar. Inside the bar in which the idea expires, no touch can be placed before or after the expiry. There a target
  does not count, a stop counts, and a fill is no trade; all three are ambiguous.
- A gap inside the data is a span whose bars are missing; only its extremes are known. Its open, the order of its prices
  and the trades between them are not. A stop that the gap may have reached is a loss. A target counts only if the gap
  must have reached it. An entry may have traded. All but the target that must have been reached are ambiguous.
- Later splits rescale the levels: bars are compared in the price basis of the idea.
- A price within `SINGLE_PRECISION_TOLERANCE` of a level has reached it. A file in single precision holds 183.09 as
  183.08999633789062, and 100.2 divided by ten is 10.020000000000001.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from osiris.market.bar_frames import HIGH_TRADED, LOW_TRADED, Bars

STILL_OPEN, WIN, LOSS, CLOSED = 0, 1, 2, 3
"""Codes of `Touches.state`; `CLOSED` is a trade that ended at its expiry, on neither level."""
NO_REASON, TARGET, STOP, EXPIRY = 0, 1, 2, 3
"""Codes of `Touches.reason`."""
NEVER = np.iinfo(np.int64).max
"""A moment after all others: the expiry of an idea that has none."""
SINGLE_PRECISION_TOLERANCE = 2.0**-24
"""Largest relative difference between a price and its nearest number of single precision: half of 2**-23."""


class BarrierIdeas(NamedTuple):
    """Ideas on one ticker, each array of shape (m,).

    `sign` is +1 for long and -1 for short. Entry, target and stop are in the price basis of the cumulative split
    `split`. `since` is when the idea came into force and `expiry` when it ends (`NEVER` for none), in int64 nanoseconds
    UTC.
    """

    sign: NDArray[np.float64]
    entry: NDArray[np.float64]
    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    split: NDArray[np.float64]
    since: NDArray[np.int64]
    expiry: NDArray[np.int64]


class Touches(NamedTuple):
    """The first touch of each idea, arrays of shape (m,).

    `state` is STILL_OPEN, WIN (target), LOSS (stop) or CLOSED (expiry). `price` is the raw exit price and `r` the
    profit over the initial risk, both NaN while open. `bar` is the index of the exit bar or -1. `at_open` marks an exit
    at the open of that bar.

    `entry_bar` is the index of the bar in which the entry was reached, or -1. `ambiguous_bar` is the index of the first
    bar whose order of prices decides the result, or -1.
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
    """Find the first touch of every idea. NaN prices are not accepted: the caller drops such bars."""
    count = len(ideas.sign)
    touches = Touches(
        state=np.zeros(count, np.int8),
        reason=np.zeros(count, np.int8),
        bar=np.full(count, -1, np.int64),
        at_open=np.zeros(count, np.bool_),
        price=np.full(count, np.nan),
        r=np.full(count, np.nan),
        filled=np.zeros(count, np.bool_),
        ambiguous=np.zeros(count, np.bool_),
        entry_bar=np.full(count, -1, np.int64),
        ambiguous_bar=np.full(count, -1, np.int64),
    )
    gap = np.zeros(len(bars.start), np.int8) if bars.gap is None else bars.gap
    # Flat arguments, in the order of the fields of Bars, BarrierIdeas and Touches. The last are filled in place.
    _resolve(*bars[:7], gap, *ideas, *touches)
    return touches


# numba takes the arrays one by one, and its branches are the rules of this module: hence no limit of either.
@njit(cache=True, nogil=True)
def _resolve(  # type: ignore[no-untyped-def]  # noqa: C901, PLR0913 - numba finds the types
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
        maybe = False  # whether the entry may have traded inside a gap
        # Bars are sorted by start, so this is the first that began at or after the idea.
        first = np.searchsorted(start, since[i])
        if first > 0 and gaps[first - 1] and end[first - 1] > since[i]:
            first -= 1  # the idea began inside this gap, and its rest counts
        for j in range(first, len(start)):
            # The cumulative splits of bar and idea give the factor between their price bases.
            to_basis = s * cumulative[j] / split[i]
            o, c = opens[j] * to_basis, closes[j] * to_basis
            # The mirror image swaps high and low: the negative low of a short is its highest price.
            h = (highs[j] if s > 0 else lows[j]) * to_basis
            low = (lows[j] if s > 0 else highs[j]) * to_basis
            level, code, why = np.nan, STILL_OPEN, NO_REASON
            # The order of the branches is the rule: the expiry, then gaps, then the entry, then the levels.
            # A stop that may have come first is tried before the target, because a case in doubt is a loss.
            cut = start[j] < expiry[i] < end[j]
            if expiry[i] <= start[j]:
                if not filled[i]:
                    reason[i], bar[i] = EXPIRY, j
                    break
                level, code, why, at_open[i] = o, CLOSED, EXPIRY, True
                # The open of a gap is unknown; its close is the first price that is known after it.
                if gaps[j]:
                    level, at_open[i], ambiguous[i] = c, False, True
            elif gaps[j]:
                # The extreme is sure only if it traded after the idea came into force.
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
                    # The stop surely came after the entry if the bar opened above the entry, since the price then met
                    # the entry on its way down, or if it closed at the stop. The target is the mirror image.
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
            # The open traded before the expiry; a target touched later in this bar may have come after it.
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
