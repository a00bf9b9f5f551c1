"""Policies that answer from the sandbox; each answer is checked out here, by the contracts of `osiris.policy`.

What this keeps out: an answer of the wrong type, a number that is not finite, a size or idea beyond the fixed limits.
What it does not: an answer within the limits that is a bad decision. Measuring it is the task of the patch loop.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar

from osiris.policy.contracts import BadAnswer, Feature, PolicyInput, parse_features, parse_passes, parse_size
from osiris.sandbox.session import CandidateFailed, PolicyFailed, Sandbox

Answer = TypeVar("Answer")


class SandboxedPolicy:
    """An untrusted policy, which answers from its sandbox. Threads may share it: it answers one question at a time."""

    renewable = True
    """Whether it may use more processor time than one session has. A live policy may, a candidate may not."""

    def __init__(self, files: dict[str, str], commit: str, patch_id: str | None) -> None:
        """Remember the files; raises `SandboxUnavailable` where they cannot be run."""
        self.commit, self.patch_id = commit, patch_id
        self._sandbox = Sandbox(files, renewable=self.renewable)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
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
        """End the session once the current answer is complete; the next question starts another one."""
        with self._lock:
            self._sandbox.close()

    def _ask(self, call: str, args: list[Any], parse: Callable[[Any], Answer]) -> Answer:
        with self._lock:  # a session has one pipe: two questions at once would mix up their answers
            answer = self._sandbox.ask(call, args)
        try:
            return parse(answer)
        except BadAnswer as error:
            remedy = f"roll it back: osiris kernel rollback {self.patch_id or 'ID'}"
            raise PolicyFailed(
                f"an answer to {call} that a policy may give", f"{answer!r:.200} ({error})", remedy
            ) from error


class CandidatePolicy(SandboxedPolicy):
    """A policy that is being proved or measured. After it took too long once, every later question fails at once."""

    renewable = False

    def __init__(self, files: dict[str, str]) -> None:
        """Remember the files."""
        super().__init__(files, "candidate", None)
        self._too_slow: CandidateFailed | None = None

    def _ask(self, call: str, args: list[Any], parse: Callable[[Any], Any]) -> Any:
        if self._too_slow:
            raise self._too_slow
        try:
            return super()._ask(call, args, parse)
        except PolicyFailed as error:
            failed = CandidateFailed(error.expected, error.actual, "correct the patch")
            self._too_slow = failed if "no answer within" in error.actual else None
            raise failed from error
