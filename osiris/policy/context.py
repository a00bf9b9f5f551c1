"""Which features of the market the prompt shows.

Every function takes price arrays of shape (n,), oldest first, in one price basis, and looks at nothing later than their
last element. Too short an input raises `ValueError`; NaN is never accepted.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ATR_BARS = 14
MOMENTUM_BARS = 20
RSI_BARS = 14
WARM_UP = 60
"""Bars that `features` needs."""


class Feature(NamedTuple):
    """One feature: `value` is signed round its neutral level, `shown` is the magnitude the prompt prints."""

    name: str
    value: float
    shown: float

    @property
    def direction(self) -> str:
        """The word for the sign: `up` at or above neutral, else `down`."""
        return "up" if self.value >= 0 else "down"


def true_range(high: Array, low: Array, close: Array) -> Array:
    """True range of bars 1..n-1, shape (n-1,), in price units (Wilder 1978)."""
    previous = close[:-1]
    return np.maximum(high[1:], previous) - np.minimum(low[1:], previous)


def atr(high: Array, low: Array, close: Array, bars: int = ATR_BARS) -> float:
    """Mean true range of the last `bars` bars, in price units."""
    if len(close) < bars + 1:
        raise ValueError(f"ATR needs {bars + 1} bars, got {len(close)}")
    return float(true_range(high, low, close)[-bars:].mean())


def momentum(close: Array, unit: float, bars: int = MOMENTUM_BARS) -> float:
    """Last close above (+) or below (-) its mean of `bars` bars, in multiples of `unit` (the ATR)."""
    return float((close[-1] - close[-bars:].mean()) / unit)


def rsi(close: Array, bars: int = RSI_BARS) -> float:
    """Relative strength index of the last `bars` changes by plain means, 0-100; 50 when nothing moved."""
    change = np.diff(close[-bars - 1 :])
    gain, loss = change.clip(min=0).sum(), -change.clip(max=0).sum()
    return 50.0 if gain + loss == 0 else float(100 * gain / (gain + loss))


def last_move(close: Array, unit: float) -> float:
    """Last close-to-close change, in multiples of `unit` (the ATR)."""
    return float((close[-1] - close[-2]) / unit)


def features(high: Array, low: Array, close: Array) -> list[Feature]:
    """The features the prompt shows, in order. Raises `ValueError` on fewer than `WARM_UP` bars, NaN or no range."""
    if len(close) < WARM_UP:
        raise ValueError(f"features need {WARM_UP} bars, got {len(close)}")
    if not (np.isfinite(high).all() and np.isfinite(low).all() and np.isfinite(close).all()):
        raise ValueError("features need finite prices, got NaN or infinity")
    unit = atr(high, low, close)
    if unit <= 0:
        raise ValueError("features need bars that move, got an ATR of zero")
    strength = rsi(close)
    return [
        Feature("momentum", mom := momentum(close, unit), abs(mom)),
        Feature("rsi", strength - 50, strength),
        Feature("last", move := last_move(close, unit), abs(move)),
    ]
