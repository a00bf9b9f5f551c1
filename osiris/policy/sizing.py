"""How big a position is: the fraction of equity that is lost when the stop is hit.

Arguments as for the risk gate: `side` +1 or -1, distances in ATR, `confidence` and `hermes` in 0-1 (`hermes` may be
None), `features` by name.
"""

from collections.abc import Mapping

RISK = 0.01


def size(
    side: int,
    target_atr: float,
    stop_atr: float,
    confidence: float,
    hermes: float | None,
    features: Mapping[str, float],
) -> float:
    """Return the fraction of equity to put at risk, at most 0.02."""
    return RISK
