"""Which features of the market the prompt shows.

Prices are sequences of equal length, oldest first, in one price basis, at least 60 of them, finite and positive; `unit`
is their ATR, above zero. Nothing later than their last element is known.
"""

from collections.abc import Sequence
from typing import NamedTuple

MOMENTUM_BARS = 20
RSI_BARS = 14


class Feature(NamedTuple):
    """One feature: `value` is signed round its neutral level, `shown` is the magnitude the prompt prints."""

    name: str
    value: float
    shown: float


def momentum(close: Sequence[float], unit: float, bars: int = MOMENTUM_BARS) -> float:
    """Last close above (+) or below (-) its mean of `bars` bars, in multiples of `unit`."""
    return (close[-1] - sum(close[-bars:]) / bars) / unit


def rsi(close: Sequence[float], bars: int = RSI_BARS) -> float:
    """Relative strength index of the last `bars` changes by plain means, 0-100; 50 when nothing moved."""
    changes = [after - before for before, after in zip(close[-bars - 1 : -1], close[-bars:], strict=True)]
    gain = sum(change for change in changes if change > 0)
    loss = -sum(change for change in changes if change < 0)
    return 50.0 if gain + loss == 0 else 100 * gain / (gain + loss)


def last_move(close: Sequence[float], unit: float) -> float:
    """Last close-to-close change, in multiples of `unit`."""
    return (close[-1] - close[-2]) / unit


def features(high: Sequence[float], low: Sequence[float], close: Sequence[float], unit: float) -> list[Feature]:
    """Return the features the prompt shows, in order."""
    trend, strength, move = momentum(close, unit), rsi(close), last_move(close, unit)
    return [
        Feature("momentum", trend, abs(trend)),
        Feature("rsi", strength - 50, strength),
        Feature("last", move, abs(move)),
    ]
