"""The trading policy as it is shipped: small, pure, tested code that patches may improve.

`contracts` says what it is asked and what it may answer.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from osiris.policy import context, gate, sizing
from osiris.policy.contracts import Feature, PolicyInput, parse_features, parse_passes, parse_size

PATCHABLE_FILES = ("context.py", "gate.py", "sizing.py")
POLICY_FOLDER = Path(__file__).parent
SHIPPED_SHA256 = {
    "context.py": "eebe0d6108189a0f8ed19530ee0dceb9979bdc7dd85e86275b89dc8125ae08ee",
    "gate.py": "d1a7fb2d0a2dd4b429b1460f4f568cbd32e3449f34c4fb98da6c63dc89786c39",
    "sizing.py": "89ec2f8c606695f1aa038bf6a0c12aeda54b870ee2f9195476ee719e941e2eb8",
}
"""Hashes of the files that this version ships. They tell an edit in place, which nobody proved, from an upgrade: a
release with other files has other hashes here."""
_TEXTS = {name: (POLICY_FOLDER / name).read_text(encoding="utf-8") for name in PATCHABLE_FILES}
"""Read once, so that the texts belong to the modules that this process imported above."""

HOW_TO_CHANGE = (
    "the policy is changed by patches: keep your change with `git diff > my.diff`, put the files back with "
    "`git checkout -- osiris/policy` or by installing Osiris again, then `osiris kernel submit my.diff`"
)


def shipped_files() -> dict[str, str]:
    """The policy's files as they were when this process began: text by name."""
    return dict(_TEXTS)


def edited_files() -> list[str]:
    """The policy's files that differ from those that this version ships, because somebody edited them in place."""
    return [name for name, text in _TEXTS.items() if hashlib.sha256(text.encode()).hexdigest() != SHIPPED_SHA256[name]]


def edit_warning() -> str:
    """A warning where the shipped files were edited in place; empty where they are unchanged."""
    edited = ", ".join(str(POLICY_FOLDER / name) for name in edited_files())
    return f"edited in place and therefore not live: {edited}; {HOW_TO_CHANGE}" if edited else ""


class ShippedPolicy:
    """The shipped policy, called in this process."""

    def __init__(self, commit: str = "shipped", patch_id: str | None = None) -> None:
        """Take the `commit` and `patch_id` of a workspace's policy that consists of the shipped files."""
        self.commit, self.patch_id = commit, patch_id

    def features(
        self, high: Sequence[float], low: Sequence[float], close: Sequence[float], unit: float
    ) -> list[Feature]:
        """See `contracts.Policy`."""
        return parse_features([list(feature) for feature in context.features(high, low, close, unit)])

    def passes(self, idea: PolicyInput) -> bool:
        """See `contracts.Policy`."""
        return parse_passes(gate.passes(*idea), idea)

    def size(self, idea: PolicyInput) -> float:
        """See `contracts.Policy`."""
        return parse_size(sizing.size(*idea))
