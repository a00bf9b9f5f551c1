"""What a policy is asked, what it may answer, and the limits that no patch can move.

A policy is three files, `context.py`, `gate.py` and `sizing.py`, each by itself: pure functions of the numbers that
they are given. Here stands what is outside their reach.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

WARM_UP_BARS = 60
"""Bars that `features` may count on."""
MAX_FEATURES = 8
MAX_RISK = 0.02
"""Largest fraction of equity that may be at risk in one idea."""
HARD_MAX_STOP_ATR = 10.0
HARD_MIN_REWARD_TO_RISK = 0.25
MAX_ANSWER_VALUE = 1e12
"""No number of a policy is as large; NaN is none either."""
FEATURE_NAME = re.compile(r"[a-z][a-z0-9_]{0,23}")


class Feature(NamedTuple):
    """One feature: `value` is signed round its neutral level, `shown` is the magnitude the prompt prints."""

    name: str
    value: float
    shown: float

    @property
    def direction(self) -> str:
        """The word for the sign: `up` at or above neutral, else `down`."""
        return "up" if self.value >= 0 else "down"


class PolicyInput(NamedTuple):
    """An idea as gate and sizing see it: side +1 long or -1 short, distances in ATR, Hermes 0-1, features by name."""

    side: int
    target_atr: float
    stop_atr: float
    confidence: float
    hermes: float | None
    features: Mapping[str, float]


class Policy(Protocol):
    """What drafts, gates and sizes ideas. `commit` is that of its code, `patch_id` the patch that it came by."""

    commit: str
    patch_id: str | None

    def features(
        self, high: Sequence[float], low: Sequence[float], close: Sequence[float], unit: float
    ) -> list[Feature]:
        """The features that the prompt shows, of at least `WARM_UP` bars, oldest first; `unit` is their ATR."""

    def passes(self, idea: PolicyInput) -> bool:
        """Whether the risk gate lets an idea through to the reviewers."""

    def size(self, idea: PolicyInput) -> float:
        """The fraction of equity to put at risk, 0 to `MAX_RISK`."""


class BadAnswer(ValueError):
    """A policy answered what no policy may."""


def parse_features(answer: object) -> list[Feature]:
    """The features of an answer `[[name, value, shown], ...]`; raises `BadAnswer`."""
    if not isinstance(answer, list) or not 1 <= len(answer) <= MAX_FEATURES:
        raise BadAnswer(f"expected a list of 1 to {MAX_FEATURES} features")
    features = []
    for row in answer:
        if not isinstance(row, list | tuple) or len(row) != 3:
            raise BadAnswer("expected name, value and magnitude of each feature")
        name, value, shown = row
        if not isinstance(name, str) or not FEATURE_NAME.fullmatch(name):
            raise BadAnswer("expected names of features such as rsi_14")
        features.append(Feature(name, _finite(value), _finite(shown)))
        if features[-1].shown < 0:
            raise BadAnswer("expected magnitudes of at least 0")
    if len({feature.name for feature in features}) < len(features):
        raise BadAnswer("expected each feature once")
    return features


def parse_passes(answer: object, idea: PolicyInput) -> bool:
    """Whether the gate let `idea` through; raises `BadAnswer`, also for one that no gate may let through."""
    if not isinstance(answer, bool):
        raise BadAnswer("expected true or false")
    if answer and (idea.stop_atr > HARD_MAX_STOP_ATR or idea.target_atr / idea.stop_atr < HARD_MIN_REWARD_TO_RISK):
        limits = f"a stop beyond {HARD_MAX_STOP_ATR} ATR or reward-to-risk below {HARD_MIN_REWARD_TO_RISK}"
        raise BadAnswer(f"expected no idea to pass with {limits}")
    return answer


def parse_size(answer: object) -> float:
    """The size of an answer; raises `BadAnswer`."""
    size = _finite(answer)
    if not 0 <= size <= MAX_RISK:
        raise BadAnswer(f"expected a fraction of equity from 0 to {MAX_RISK}")
    return size


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_ANSWER_VALUE:
        raise BadAnswer(f"expected numbers below {MAX_ANSWER_VALUE:g}")
    return float(value)
