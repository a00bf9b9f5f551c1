"""The live policy: the shipped one in this process until a patch changes it, then HEAD's, always in the sandbox."""

import threading
from collections.abc import Sequence
from typing import Any

from osiris.kernel.repo import PolicyRepo, Version
from osiris.policy import Shipped, edited_files, shipped_files
from osiris.policy.contracts import BadAnswer, Feature, Policy, Sketch, as_features, as_passed, as_size
from osiris.sandbox.session import CandidateFailed, PolicyFailed, Sandbox, try_sandbox


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


class LivePolicy(SandboxedPolicy):
    """A policy that is live; where it fails, the next turn of the kernel learns of it and rolls it back.

    It is asked twice, in two sessions: a session may be killed, or slow, for reasons that are not the policy's.
    """

    def __init__(self, version: Version, repo: PolicyRepo) -> None:
        """Remember what is to be run, and where a failure is noted."""
        super().__init__(version.files, version.commit, version.patch_id)
        self._repo = repo

    def _asked(self, call: str, args: list[Any], checked: Any) -> Any:
        try:
            return super()._asked(call, args, checked)
        except PolicyFailed:
            self.close()
            try_sandbox()
        try:
            return super()._asked(call, args, checked)
        except PolicyFailed as error:
            self._repo.note_failure(self.commit, str(error))
            raise


class LivePolicies:
    """Hands out the live policy; its session is kept until another one is live. Safe to share between threads."""

    def __init__(self, repo: PolicyRepo) -> None:
        """Remember the repository; nothing is read yet."""
        self._repo = repo
        self._current: LivePolicy | None = None
        self._lock = threading.Lock()

    def current(self) -> Policy:
        """The policy that HEAD holds now; raises `NoSandbox` for a patched one on a machine without bubblewrap.

        Where no patch is live that is the shipped one, also when the kernel has had no turn since Osiris was upgraded.
        Files that were edited in place are never run: HEAD's are, in the sandbox.
        """
        with self._lock:
            version = self._repo.head()
            if self._current is not None and self._current.commit == version.commit:
                return self._current
            self._end()
            if version.files == shipped_files():
                return Shipped(version.commit, version.patch_id)
            if version.patch_id is None and not edited_files():
                return Shipped(self._repo.shipped(), None)
            self._current = LivePolicy(version, self._repo)
            return self._current

    def close(self) -> None:
        """End the session of a patched policy."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None
