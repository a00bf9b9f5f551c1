"""Prices that jump too far for their market: a split nobody recorded, one applied twice, pence for pounds, a bad tick.

A person decides what such a bar is; until then nothing is judged across it. What is too far:

- from the close before to the open, recorded splits taken out: `ALWAYS` in any market; `RARE` in one whose usual moves
  from bar to bar are an eighth of that or less;
- on a bar with a recorded split, a price that looks as if the split were not in it, or in it twice;
- at the open of a session, a fall by the ratio of a small split or stock dividend (`SMALL`) in such a market;
- from low to high within one bar: `WILD` in any market, `ALWAYS` in one with a tenth of that as its usual range.

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
"""So many times the usual move, or range, is out of the usual."""
LOG_SMALL_SPLITS = np.log([21 / 20, 11 / 10, 6 / 5, 5 / 4, 4 / 3, 3 / 2])
TOLERANCE_MOVES, TOLERANCE_SHARE, MAX_LOG_TOLERANCE = 1.25, 0.15, 0.045
"""How far, in logs, an open may lie from a small ratio: so many usual moves or that share of it, but no further."""
MIN_LOG_MOVE, MIN_LOG_SPLIT = 0.002, 0.01
"""In logs: the usual move of a market that does not move, and the smallest recorded split worth a doubt."""
WRONG_SPLIT_POWERS = (0.5, 2.0, -1.0)
"""A split of which only the root was in the price, one that was in it twice, and one the wrong way round (powers)."""


def find_jumps(frame: pd.DataFrame) -> pd.DataFrame:
    """Bars that jump too far and that no person spoke for: `start`, `ratio`, `split`.

    `ratio` is the close before over the open, recorded splits taken out, or, where that is small, high over low.
    """
    bars = to_bar_arrays(frame)
    found = jump_mask(bars) & ~is_confirmed(frame["source"]).to_numpy(np.bool_)
    overnight, within = np.exp(log_jumps(bars)), bars.high / bars.low
    ratio = np.where(_range_jumps(bars) & ~_opening_jumps(bars), within, overnight)
    return pd.DataFrame({"start": frame["start"], "ratio": ratio, "split": frame["split"]})[found]


def describe_jumps(ticker: str, frame: pd.DataFrame, calendar: str, since: pd.Timestamp | None = None) -> list[str]:
    """`suspicious_jumps` of bars that began at or after `since`, each with the exchange's day and the ratio."""
    found = find_jumps(frame)
    if since is not None:
        found = found[found["start"] >= since]
    return [
        f"{ticker} {session_day(calendar, jump.start)}: the price jumps by {jump.ratio:.4g} to 1 "
        + ("without a recorded split" if jump.split == 1 else f"beyond the recorded split of {jump.split:.4g}")
        for jump in found.itertuples()
    ]


def jump_mask(bars: BarArrays) -> NDArray[np.bool_]:
    """Which bars jump too far, shape (n,)."""
    return _opening_jumps(bars) | _range_jumps(bars)


def log_jumps(bars: BarArrays) -> NDArray[np.float64]:
    """Log of the close before over the open, recorded splits taken out, shape (n,); 0 for the first bar."""
    found = np.zeros(len(bars.close))
    found[1:] = np.log(bars.close[:-1] / (bars.open[1:] * bars.split[1:]))
    return found


def _opening_jumps(bars: BarArrays) -> NDArray[np.bool_]:
    """Which bars open too far from the close before them."""
    jump = log_jumps(bars)
    size, first_of_session = np.abs(jump), np.zeros(len(jump), np.bool_)
    first_of_session[1:] = bars.start[1:] != bars.end[:-1]
    usual = np.where(
        first_of_session, _usual_size(size[first_of_session]), _usual_size(size[1:][~first_of_session[1:]])
    )
    rare = (size >= np.log(LARGE_RATIO)) & (size > UNUSUAL_MOVE_MULTIPLE * usual)
    return (
        (size >= np.log(EXTREME_RATIO))
        | rare
        | _small_split_jumps(jump, usual, first_of_session)
        | _misapplied_splits(jump, bars.split, usual)
    )


def _small_split_jumps(
    jump: NDArray[np.float64], usual: NDArray[np.float64], first: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which sessions open lower by the ratio of a small split."""
    found = np.zeros(len(jump), np.bool_)
    far = np.flatnonzero(first & (jump > UNUSUAL_MOVE_MULTIPLE * usual))
    near = np.minimum(
        np.maximum(TOLERANCE_MOVES * usual[far, None], TOLERANCE_SHARE * LOG_SMALL_SPLITS), MAX_LOG_TOLERANCE
    )
    found[far] = (np.abs(jump[far, None] - LOG_SMALL_SPLITS) <= near).any(axis=1)
    return found


def _misapplied_splits(
    jump: NDArray[np.float64], split: NDArray[np.float64], usual: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which bars have a recorded split that their price does not show as recorded."""
    found = np.zeros(len(jump), np.bool_)
    at = np.flatnonzero((np.abs(np.log(split)) >= MIN_LOG_SPLIT) & (np.arange(len(jump)) > 0))
    recorded, shown = np.log(split[at]), jump[at] + np.log(split[at])
    found[at] = np.abs(shown) < np.abs(shown - recorded)
    for power in WRONG_SPLIT_POWERS:
        off = np.abs(shown - power * recorded)
        near = np.minimum(
            np.maximum(TOLERANCE_MOVES * usual[at], TOLERANCE_SHARE * np.abs(recorded)), MAX_LOG_TOLERANCE
        )
        found[at] |= (off <= near) & (off < np.abs(shown - recorded))
    return found


def _range_jumps(bars: BarArrays) -> NDArray[np.bool_]:
    """Which bars reach too far from their low to their high."""
    size = np.log(bars.high / bars.low)
    return (size >= np.log(EXTREME_RANGE_RATIO)) | (
        (size >= np.log(EXTREME_RATIO)) & (size > UNUSUAL_RANGE_MULTIPLE * _usual_size(size))
    )


def _usual_size(sizes: NDArray[np.float64]) -> float:
    """A standard deviation that the largest moves do not stretch, but many large ones do; of one move, the least."""
    if len(sizes) < 2:
        return MIN_LOG_MOVE
    middle, large = np.quantile(sizes, [0.5, 0.9], method="lower")
    return max(1.4826 * middle, large / 1.645, MIN_LOG_MOVE)
