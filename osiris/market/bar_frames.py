"""Frames of bars: the bars known at a moment, their price basis, and their columns as arrays.

The format is that of `osiris.market.calendars`; nothing here reads or writes a file.
"""

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import PRICE_COLUMNS

NO_GAP, GAP, HIGH_TRADED, LOW_TRADED = 0, 1, 2, 4
"""Bit flags of `Bars.gap`: a gap in which the day's high must have traded is `GAP | HIGH_TRADED`."""


class Bars(NamedTuple):
    """Complete bars of one ticker, oldest first, each array of shape (n,).

    `start`/`end` are int64 nanoseconds UTC; prices are raw, in currency; `split` is the cumulative product of the split
    ratios up to and including the bar. `gap` (default: `NO_GAP` throughout) marks the entries that are no bars. `high`
    and `low` of a gap are the prices that may have traded, `close` is the first price known after it, and `open` means
    nothing.
    """

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    split: NDArray[np.float64]
    gap: NDArray[np.int8] | None = None

    def with_marks(self) -> tuple[NDArray[Any], ...]:
        """The eight columns, with `gap` as an array also where it is left out."""
        gap = np.full(len(self.start), NO_GAP, np.int8) if self.gap is None else self.gap
        return (*self[:7], gap)


class BarArrays(NamedTuple):
    """A frame of bars as arrays, each shape (n,): moments int64 ns, raw prices, split ratios, volumes in shares."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    split: NDArray[np.float64]
    volume: NDArray[np.float64]

    def select(self, selection: NDArray[np.bool_] | NDArray[np.integer[Any]] | slice) -> "BarArrays":
        """The bars of a mask, of indices or of a slice, as contiguous arrays."""
        return BarArrays._make(np.ascontiguousarray(column[selection]) for column in self)

    def complete_at(self, as_of: datetime) -> "BarArrays":
        """The bars that were complete at `as_of` (end <= as_of)."""
        return self.select(self.end <= pd.Timestamp(as_of).as_unit("ns").value)

    def adjust_splits(self) -> "BarArrays":
        """The bars with prices and volumes in the basis of the last one, as the function `adjust_splits` has it."""
        factor = _factor_to_last(self.split.cumprod())
        prices = {name: getattr(self, name) * factor for name in PRICE_COLUMNS}
        return self._replace(**prices, volume=self.volume / factor)


def to_bar_arrays(frame: pd.DataFrame) -> BarArrays:
    """The bars of a frame as arrays; the split ratios are a copy, because `count_splits_once` changes them."""
    opens, highs, lows, closes = (frame[name].to_numpy(np.float64) for name in PRICE_COLUMNS)
    splits = frame["split"].to_numpy(np.float64, copy=True)
    volumes = frame["volume"].to_numpy(np.float64)
    start, end = to_nanoseconds(frame["start"]), to_nanoseconds(frame["end"])
    return BarArrays(start, end, opens, highs, lows, closes, splits, volumes)


def to_nanoseconds(times: pd.Series) -> NDArray[np.int64]:
    """Aware UTC times as int64 nanoseconds, shape (n,); NaT is the smallest integer."""
    return pd.DatetimeIndex(times).as_unit("ns").asi8


def cumulative_split(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Shares at each bar for one share held before the first, shape (n,); the bar's own split is included."""
    return frame["split"].to_numpy(np.float64).cumprod()


def adjust_splits(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy with all prices and volumes in the basis of the last bar; `split` still has the ratios applied.

    price_t * cum_t / cum_last and volume_t * cum_last / cum_t, with cum the `cumulative_split`.
    """
    basis = frame.copy()
    if len(basis):
        factor = _factor_to_last(cumulative_split(frame))
        for column in PRICE_COLUMNS:
            basis[column] = basis[column] * factor
        basis["volume"] = basis["volume"] / factor
    return basis


def _factor_to_last(cumulative: NDArray[np.float64]) -> NDArray[np.float64]:
    """What brings the price of each bar to the basis of the last one; empty for no bars."""
    return np.asarray(cumulative / cumulative[-1:])
