"""Prices that jump too far for their market.

Such a jump may be a split that nobody recorded, a split that was applied twice, a price in pence and not in pounds, or
a bad tick. A person decides which it is; until then no idea is closed across the bar. These are too far:

- From the close before to the open, recorded splits taken out: `EXTREME_RATIO` in any market. `LARGE_RATIO` in a market
  whose usual moves from bar to bar are an eighth of the jump or less.
- On a bar with a recorded split: a price that looks as if the split were not in it, or in it twice.
- At the open of a session in such a market: a fall by the ratio of a small split or stock dividend, of which
  `LOG_SMALL_SPLITS` has the logarithms.
- From low to high within one bar: `EXTREME_RANGE_RATIO` in any market. `EXTREME_RATIO` in a market whose usual range is
  a tenth of the bar's or less.

Does not cover: an unrecorded split smaller than eight usual moves, which looks like any other day.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.bar_frames import BarArrays, to_bar_arrays
from osiris.market.calendars import session_day
from osiris.market.reconcile import is_confirmed

EXTREME_RATIO, LARGE_RATIO, EXTREME_RANGE_RATIO = 1.8, 1.45, 5.0
UNUSUAL_MOVE_MULTIPLE, UNUSUAL_RANGE_MULTIPLE = 8.0, 10.0
"""A move, or range, of more than so many times the usual one is unusual."""
LOG_SMALL_SPLITS = np.log([21 / 20, 11 / 10, 6 / 5, 5 / 4, 4 / 3, 3 / 2])
TOLERANCE_MOVES, TOLERANCE_SHARE, MAX_LOG_TOLERANCE = 1.25, 0.15, 0.045
"""How far, in logs, an open may lie from a split's ratio: so many usual moves or that share of it, whichever is more.

The third number is the limit of both.
"""
MIN_LOG_MOVE, MIN_LOG_SPLIT = 0.002, 0.01
"""In logs: the usual move of a market that does not move, and the smallest recorded split that is checked."""
WRONG_SPLIT_POWERS = (0.5, 2.0, -1.0)
"""Powers of a split as a price may show it: its root is in the price, or it is there twice, or the wrong way round."""


def find_jumps(frame: pd.DataFrame) -> pd.DataFrame:
    """Bars that jump too far and that no person confirmed: `start`, `ratio`, `split`.

    `ratio` is the close before over the open, recorded splits taken out. If only the range jumps, it is high over low.
    """
    bars = to_bar_arrays(frame)
    jumping = jump_mask(bars) & ~is_confirmed(frame["source"]).to_numpy(np.bool_)
    opening, within = np.exp(log_jumps(bars)), bars.high / bars.low
    ratio = np.where(_range_jumps(bars) & ~_opening_jumps(bars), within, opening)
    found: pd.DataFrame = pd.DataFrame({"start": frame["start"], "ratio": ratio, "split": frame["split"]})[jumping]
    return found


def describe_jumps(ticker: str, frame: pd.DataFrame, calendar: str, since: pd.Timestamp | None = None) -> list[str]:
    """A text for each of `find_jumps` that began at or after `since`, with the exchange's day and the ratio."""
    jumps = find_jumps(frame)
    if since is not None:
        jumps = jumps[jumps["start"] >= since]
    return [
        f"{ticker} {session_day(calendar, start)}: the price jumps by {ratio:.4g} to 1 "
        + ("without a recorded split" if split == 1 else f"beyond the recorded split of {split:.4g}")
        for start, ratio, split in zip(jumps["start"], jumps["ratio"], jumps["split"], strict=True)
    ]


def jump_mask(bars: BarArrays) -> NDArray[np.bool_]:
    """Mask of the bars that jump too far, shape (n,)."""
    return _opening_jumps(bars) | _range_jumps(bars)


def log_jumps(bars: BarArrays) -> NDArray[np.float64]:
    """Log of the close before over the open, recorded splits taken out, shape (n,); 0 for the first bar."""
    jump = np.zeros(len(bars.close))
    jump[1:] = np.log(bars.close[:-1] / (bars.open[1:] * bars.split[1:]))
    return jump


def _opening_jumps(bars: BarArrays) -> NDArray[np.bool_]:
    """Mask of the bars that open too far from the close before them, shape (n,)."""
    jump = log_jumps(bars)
    size = np.abs(jump)
    first_of_session = np.zeros(len(jump), np.bool_)
    first_of_session[1:] = bars.start[1:] != bars.end[:-1]  # a bar that does not begin where the one before ended
    # Moves overnight are larger than those within a session, so each of the two has a usual size of its own.
    usual = np.where(
        first_of_session, _usual_size(size[first_of_session]), _usual_size(size[1:][~first_of_session[1:]])
    )
    rare = (size >= np.log(LARGE_RATIO)) & (size > UNUSUAL_MOVE_MULTIPLE * usual)
    return np.asarray(
        (size >= np.log(EXTREME_RATIO))
        | rare
        | _small_split_jumps(jump, usual, first_of_session)
        | _misapplied_splits(jump, bars.split, usual)
    )


def _small_split_jumps(
    jump: NDArray[np.float64], usual: NDArray[np.float64], first: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Mask of the bars that open a session lower by the ratio of a small split, shape (n,)."""
    mask = np.zeros(len(jump), np.bool_)
    far = np.flatnonzero(first & (jump > UNUSUAL_MOVE_MULTIPLE * usual))
    tolerance = np.minimum(  # shape (bars in `far`, small splits)
        np.maximum(TOLERANCE_MOVES * usual[far, None], TOLERANCE_SHARE * LOG_SMALL_SPLITS), MAX_LOG_TOLERANCE
    )
    mask[far] = (np.abs(jump[far, None] - LOG_SMALL_SPLITS) <= tolerance).any(axis=1)
    return mask


def _misapplied_splits(
    jump: NDArray[np.float64], split: NDArray[np.float64], usual: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Mask of the bars with a recorded split that their price does not show as recorded, shape (n,)."""
    mask = np.zeros(len(jump), np.bool_)
    at = np.flatnonzero((np.abs(np.log(split)) >= MIN_LOG_SPLIT) & (np.arange(len(jump)) > 0))
    # `jump` has the recorded split taken out; `shown` is the fall of the price itself. Without the split in the price
    # it is about 0, with it about `recorded`.
    recorded, shown = np.log(split[at]), jump[at] + np.log(split[at])
    mask[at] = np.abs(shown) < np.abs(shown - recorded)
    for power in WRONG_SPLIT_POWERS:
        off = np.abs(shown - power * recorded)
        tolerance = np.minimum(
            np.maximum(TOLERANCE_MOVES * usual[at], TOLERANCE_SHARE * np.abs(recorded)), MAX_LOG_TOLERANCE
        )
        mask[at] |= (off <= tolerance) & (off < np.abs(shown - recorded))
    return mask


def _range_jumps(bars: BarArrays) -> NDArray[np.bool_]:
    """Mask of the bars whose high is too far from their low, shape (n,)."""
    size = np.log(bars.high / bars.low)
    unusual = (size >= np.log(EXTREME_RATIO)) & (size > UNUSUAL_RANGE_MULTIPLE * _usual_size(size))
    return np.asarray((size >= np.log(EXTREME_RANGE_RATIO)) | unusual)


def _usual_size(sizes: NDArray[np.float64]) -> float:
    """An estimate of the standard deviation from absolute moves; `MIN_LOG_MOVE` for fewer than two.

    A few very large moves do not change it; many large ones do.
    """
    if len(sizes) < 2:
        return MIN_LOG_MOVE
    middle, large = np.quantile(sizes, [0.5, 0.9], method="lower")
    # Of a normal distribution, half of the absolute moves are below 1 / 1.4826 standard deviations, and nine tenths are
    # below 1.645 of them.
    return float(max(1.4826 * middle, large / 1.645, MIN_LOG_MOVE))
