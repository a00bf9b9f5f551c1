"""The code that patches may improve, as it is shipped: small, pure, tested. What it may answer is in `contracts`."""

from collections.abc import Sequence
from pathlib import Path

from osiris.policy import context, gate, sizing
from osiris.policy.contracts import Feature, Sketch, as_features, as_passed, as_size

PATCHABLE = ("context.py", "gate.py", "sizing.py")
FOLDER = Path(__file__).parent


def shipped_files() -> dict[str, str]:
    """The policy's files as they are shipped, name to text."""
    return {name: (FOLDER / name).read_text(encoding="utf-8") for name in PATCHABLE}


class Shipped:
    """The shipped policy, called in this process."""

    def __init__(self, commit: str = "shipped", patch_id: str | None = None) -> None:
        """`commit` and `patch_id` are those of a workspace's policy in which the shipped files stand."""
        self.commit, self.patch_id = commit, patch_id

    def features(
        self, high: Sequence[float], low: Sequence[float], close: Sequence[float], unit: float
    ) -> list[Feature]:
        """See `contracts.Policy`."""
        return as_features([list(feature) for feature in context.features(high, low, close, unit)])

    def passes(self, idea: Sketch) -> bool:
        """See `contracts.Policy`."""
        return as_passed(gate.passes(*idea), idea)

    def size(self, idea: Sketch) -> float:
        """See `contracts.Policy`."""
        return as_size(sizing.size(*idea))
