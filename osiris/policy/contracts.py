"""What a policy is asked, what it may answer, and the limits that no patch can change.

A policy consists of three files: `context.py`, `gate.py` and `sizing.py`. They do not import each other, and each is
pure functions of its arguments. This file is not part of a policy, so no patch reaches it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

WARM_UP_BARS = 60
"""The number of bars that `features` is given at least."""
MAX_FEATURES = 8
MAX_RISK = 0.02
"""The largest fraction of equity that one idea may risk."""
HARD_MAX_STOP_ATR = 10.0
HARD_MIN_REWARD_TO_RISK = 0.25
"""No risk filter may pass an idea with a wider stop, or with less reward for its risk."""
MAX_ANSWER_VALUE = 1e12
"""Every number in an answer is smaller than this; infinity and NaN are refused by the same comparison."""
FEATURE_NAME = re.compile(r"[a-z][a-z0-9_]{0,23}")


class Feature(NamedTuple):
    """One feature: `value` is signed around its neutral level, `shown` is the magnitude that the prompt prints."""

    name: str
    value: float
    shown: float

    @property
    def direction(self) -> str:
        """The sign as a word: `up` at or above the neutral level, `down` below it."""
        return "up" if self.value >= 0 else "down"


class PolicyInput(NamedTuple):
    """An idea as the risk filter and sizing see it.

    `side` is +1 for long and -1 for short, distances are in multiples of ATR, `confidence` and `hermes` lie in 0-1
    (`hermes` is `None` where the judge gave no number), and `features` are by name.
    """

    side: int
    target_atr: float
    stop_atr: float
    confidence: float
    hermes: float | None
    features: Mapping[str, float]


class Policy(Protocol):
    """Describes, filters and sizes ideas. `commit` is that of its code; `patch_id` is its newest patch, if any."""

    commit: str
    patch_id: str | None

    def features(
        self, high: Sequence[float], low: Sequence[float], close: Sequence[float], unit: float
    ) -> list[Feature]:
        """The features that the prompt shows, of at least `WARM_UP_BARS` bars, oldest first; `unit` is their ATR."""

    def passes(self, idea: PolicyInput) -> bool:
        """Whether the risk filter passes an idea to the reviewers."""

    def size(self, idea: PolicyInput) -> float:
        """The fraction of equity to put at risk, 0 to `MAX_RISK`."""


class BadAnswer(ValueError):
    """An answer that no policy may give."""


def parse_features(answer: object) -> list[Feature]:
    """Read an answer `[[name, value, shown], ...]`; raises `BadAnswer`."""
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
    """Read whether the risk filter passes `idea`; raises `BadAnswer`, also if no filter may pass it."""
    if not isinstance(answer, bool):
        raise BadAnswer("expected true or false")
    if answer and (idea.stop_atr > HARD_MAX_STOP_ATR or idea.target_atr / idea.stop_atr < HARD_MIN_REWARD_TO_RISK):
        limits = f"a stop beyond {HARD_MAX_STOP_ATR} ATR or reward-to-risk below {HARD_MIN_REWARD_TO_RISK}"
        raise BadAnswer(f"expected no idea to pass with {limits}")
    return answer


def parse_size(answer: object) -> float:
    """Read a size, the fraction of equity at risk; raises `BadAnswer`."""
    size = _finite(answer)
    if not 0 <= size <= MAX_RISK:
        raise BadAnswer(f"expected a fraction of equity from 0 to {MAX_RISK}")
    return size


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MAX_ANSWER_VALUE:
        raise BadAnswer(f"expected numbers below {MAX_ANSWER_VALUE:g}")
    return float(value)
