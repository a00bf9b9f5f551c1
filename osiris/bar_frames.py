"""Frames of bars: what was known when, splits, and jumps that look like a split nobody recorded.

The format is that of `osiris.calendars`; nothing here reads or writes a file.
"""

from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.calendars import PRICE_COLUMNS

SPLIT_RATIOS = np.array([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 50])
OPEN_NEAR, CLOSE_NEAR = 0.05, 0.15


def known_at(frame: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """The bars that were complete at `as_of` (end <= as_of), reindexed from 0."""
    return frame[frame["end"] <= pd.Timestamp(as_of)].reset_index(drop=True)


def nanoseconds(times: pd.Series) -> NDArray[np.int64]:
    """Aware UTC times as int64 nanoseconds, shape (n,); NaT is the smallest integer."""
    return pd.DatetimeIndex(times).as_unit("ns").asi8


def cumulative_split(frame: pd.DataFrame) -> NDArray[np.float64]:
    """What one share held before the first bar has become at each bar, shape (n,), its own split included."""
    return frame["split"].to_numpy(np.float64).cumprod()


def rebased(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy with all prices and volumes in the basis of the last bar; `split` still tells what was applied.

    price_t * cum_t / cum_last and volume_t * cum_last / cum_t, with cum the `cumulative_split`.
    """
    basis = frame.copy()
    if len(basis):
        cumulative = cumulative_split(frame)
        factor = cumulative / cumulative[-1]
        for column in PRICE_COLUMNS:
            basis[column] = basis[column] * factor
        basis["volume"] = basis["volume"] / factor
    return basis


def suspicious_jumps(frame: pd.DataFrame) -> pd.DataFrame:
    """Bars that look like a split nobody recorded: `start`, `ratio` (close before / close), `split`.

    Recorded splits taken out, the close before is within 5 % of a usual split ratio (1.5, 2, 3, ... 50, or its inverse)
    times the open, and within 15 % of it times the close. A crash to a half is one of them too: a person decides.
    """
    opens, closes, splits = (frame[name].to_numpy(np.float64) for name in ("open", "close", "split"))
    by_close = jump_ratios(closes, closes, splits)
    near = looks_like_split(opens, closes, splits)
    return pd.DataFrame({"start": frame["start"], "ratio": by_close, "split": frame["split"]})[near]


def looks_like_split(
    opens: NDArray[np.float64], closes: NDArray[np.float64], splits: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which bars `suspicious_jumps` names, shape (n,); prices raw, `splits` the ratio of each bar."""
    by_open, by_close = jump_ratios(closes, opens, splits), jump_ratios(closes, closes, splits)
    return _near_split(by_open, OPEN_NEAR) & _near_split(by_close, CLOSE_NEAR)


def jump_ratios(
    closes: NDArray[np.float64], prices: NDArray[np.float64], splits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The close before over the price of each bar, recorded splits taken out, shape (n,); NaN for the first."""
    ratios = np.full(len(closes), np.nan)
    ratios[1:] = closes[:-1] / (prices[1:] * splits[1:])
    return ratios


def _near_split(ratio: NDArray[np.float64], within: float) -> NDArray[np.bool_]:
    size = np.maximum(ratio, 1 / ratio)
    near = np.zeros(len(ratio), np.bool_)
    far = np.flatnonzero(size >= SPLIT_RATIOS[0] * (1 - within))  # few bars, so that a million of others cost nothing
    near[far] = (np.abs(size[far, None] / SPLIT_RATIOS - 1) <= within).any(axis=1)
    return near
