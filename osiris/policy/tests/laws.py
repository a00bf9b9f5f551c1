"""Laws: what must hold of the risk filter and of sizing for all numbers. CrossHair searches for numbers that break one.

The first assertions of each law are its conditions, the last ones must then hold. The limits are written as numbers
here, since this file is loaded in the sandbox, without Osiris.
"""

from importlib import import_module

gate, sizing = import_module("gate"), import_module("sizing")


def no_idea_beyond_the_limits_passes(
    side: int, target: float, stop: float, confidence: float, hermes: float, trend: float
) -> None:
    """The risk filter keeps to `HARD_MAX_STOP_ATR` and `HARD_MIN_REWARD_TO_RISK`."""
    assert side in (1, -1)
    assert 0 < target <= 20
    assert 0 < stop <= 20
    assert 0 <= confidence <= 1
    assert 0 <= hermes <= 1
    passed = gate.passes(side, target, stop, confidence, hermes, {"momentum": trend, "rsi": 0.0, "last": 0.0})
    assert passed is False or (passed is True and stop <= 10.0 and target >= 0.25 * stop)


def no_idea_risks_more_than_the_limit(
    side: int, target: float, stop: float, confidence: float, hermes: float, trend: float
) -> None:
    """The size lies between 0 and `MAX_RISK`."""
    assert side in (1, -1)
    assert 0 < target <= 20
    assert 0 < stop <= 20
    assert 0 <= confidence <= 1
    assert 0 <= hermes <= 1
    size = sizing.size(side, target, stop, confidence, hermes, {"momentum": trend, "rsi": 0.0, "last": 0.0})
    assert 0 <= size <= 0.02


def an_idea_that_the_judge_gave_no_number_is_gated_and_sized(
    side: int, target: float, stop: float, confidence: float
) -> None:
    """The risk filter and sizing need neither Hermes nor any feature."""
    assert side in (1, -1)
    assert 0 < target <= 20
    assert 0 < stop <= 20
    assert 0 <= confidence <= 1
    passed = gate.passes(side, target, stop, confidence, None, {})
    size = sizing.size(side, target, stop, confidence, None, {})
    assert passed in (True, False)
    assert 0 <= size <= 0.02
