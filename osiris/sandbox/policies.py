"""Policies that answer from the sandbox: each answer is checked outside, by the contracts of `osiris.policy`."""

import threading
from collections.abc import Sequence
from typing import Any

from osiris.policy.contracts import BadAnswer, Feature, PolicyInput, parse_features, parse_passes, parse_size
from osiris.sandbox.session import CandidateFailed, PolicyFailed, Sandbox


class SandboxedPolicy:
    """A policy of somebody's, which answers from its sandbox; each answer is checked here."""

    renewable = True
    """Whether it may use more processor time than one session is given: one that is judged may not."""

    def __init__(self, files: dict[str, str], commit: str, patch_id: str | None) -> None:
        """Remember what is to be run; raises `NoSandbox` where it cannot be."""
        self.commit, self.patch_id = commit, patch_id
        self._sandbox = Sandbox(files, renewable=self.renewable)
        self._lock = threading.Lock()

    def __enter__(self) -> "SandboxedPolicy":
        """Use it as a context, which ends its session."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the session."""
        self.close()

    def features(
        self, high: Sequence[float], low: Sequence[float], close: Sequence[float], unit: float
    ) -> list[Feature]:
        """See `contracts.Policy`."""
        return self._ask("features", [high, low, close, unit], parse_features)

    def passes(self, idea: PolicyInput) -> bool:
        """See `contracts.Policy`."""
        return self._ask("passes", list(idea), lambda answer: parse_passes(answer, idea))

    def size(self, idea: PolicyInput) -> float:
        """See `contracts.Policy`."""
        return self._ask("size", list(idea), parse_size)

    def close(self) -> None:
        """End the session, after the answer that is under way; the next question begins another one."""
        with self._lock:
            self._sandbox.close()

    def _ask(self, call: str, args: list[Any], checked: Any) -> Any:
        with self._lock:
            answer = self._sandbox.ask(call, args)
        try:
            return checked(answer)
        except BadAnswer as error:
            remedy = f"roll it back: osiris kernel rollback {self.patch_id or 'ID'}"
            raise PolicyFailed(
                f"an answer to {call} that a policy may give", f"{answer!r:.200} ({error})", remedy
            ) from error


class CandidatePolicy(SandboxedPolicy):
    """A policy that is being judged; one that took too long once is not waited for again."""

    renewed = False

    def __init__(self, files: dict[str, str]) -> None:
        """Remember what is to be run."""
        super().__init__(files, "candidate", None)
        self._too_slow: CandidateFailed | None = None

    def _ask(self, call: str, args: list[Any], checked: Any) -> Any:
        if self._too_slow:
            raise self._too_slow
        try:
            return super()._ask(call, args, checked)
        except PolicyFailed as error:
            failed = CandidateFailed(error.expected, error.actual, "correct the patch")
            self._too_slow = failed if "no answer within" in error.actual else None
            raise failed from error
