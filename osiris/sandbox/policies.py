"""Policies that answer from the sandbox: each answer is checked outside, by the contracts of `osiris.policy`."""

import threading
from collections.abc import Sequence
from typing import Any

from osiris.policy.contracts import BadAnswer, Feature, Sketch, as_features, as_passed, as_size
from osiris.sandbox.session import CandidateFailed, PolicyFailed, Sandbox


class SandboxedPolicy:
    """A policy of somebody's, which answers from its sandbox; each answer is checked here."""

    renewed = True
    """Whether it may use more processor time than one session is given: one that is judged may not."""

    def __init__(self, files: dict[str, str], commit: str, patch_id: str | None) -> None:
        """Remember what is to be run; raises `NoSandbox` where it cannot be."""
        self.commit, self.patch_id = commit, patch_id
        self._sandbox = Sandbox(files, renewed=self.renewed)
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
        return self._asked("features", [high, low, close, unit], as_features)

    def passes(self, idea: Sketch) -> bool:
        """See `contracts.Policy`."""
        return self._asked("passes", list(idea), lambda answer: as_passed(answer, idea))

    def size(self, idea: Sketch) -> float:
        """See `contracts.Policy`."""
        return self._asked("size", list(idea), as_size)

    def close(self) -> None:
        """End the session, after the answer that is under way; the next question begins another one."""
        with self._lock:
            self._sandbox.close()

    def _asked(self, call: str, args: list[Any], checked: Any) -> Any:
        with self._lock:
            answer = self._sandbox.ask(call, args)
        try:
            return checked(answer)
        except BadAnswer as error:
            remedy = f"roll it back: osiris kernel rollback {self.patch_id or 'ID'}"
            raise PolicyFailed(
                f"an answer to {call} that a policy may give", f"{answer!r:.200} ({error})", remedy
            ) from error


class Candidate(SandboxedPolicy):
    """A policy that is being judged; one that took too long once is not waited for again."""

    renewed = False

    def __init__(self, files: dict[str, str]) -> None:
        """Remember what is to be run."""
        super().__init__(files, "candidate", None)
        self._too_slow: CandidateFailed | None = None

    def _asked(self, call: str, args: list[Any], checked: Any) -> Any:
        if self._too_slow:
            raise self._too_slow
        try:
            return super()._asked(call, args, checked)
        except PolicyFailed as error:
            failed = CandidateFailed(error.expected, error.came, "correct the patch")
            self._too_slow = failed if "no answer within" in error.came else None
            raise failed from error
