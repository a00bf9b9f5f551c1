"""Which ideas pass the risk gate on their way to the reviewers.

`side` is +1 for long and -1 for short, distances are in multiples of ATR, `confidence` and `hermes` lie in 0-1
(`hermes` is None where the judge gave no number), and `features` are the values that the prompt showed, by name.
"""

from collections.abc import Mapping

MIN_REWARD_TO_RISK = 0.25
MAX_STOP_ATR = 10.0
MIN_CONFIDENCE = 0.0
MIN_HERMES = 0.0


def passes(
    side: int,
    target_atr: float,
    stop_atr: float,
    confidence: float,
    hermes: float | None,
    features: Mapping[str, float],
) -> bool:
    """Whether the idea is offered to a reviewer; one that is not is settled on paper alone."""
    if stop_atr > MAX_STOP_ATR or target_atr < MIN_REWARD_TO_RISK * stop_atr:
        return False
    if hermes is not None and hermes < MIN_HERMES:
        return False
    return confidence >= MIN_CONFIDENCE
