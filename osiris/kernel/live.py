"""The live policy: the shipped one, in this process, until a patch is live; then HEAD's, always in the sandbox."""

import threading
from collections.abc import Callable
from typing import Any

from osiris.kernel.repo import PolicyRepo, PolicyVersion
from osiris.policy import ShippedPolicy, edited_files, shipped_files
from osiris.policy.contracts import Policy
from osiris.sandbox.policies import SandboxedPolicy
from osiris.sandbox.session import PolicyFailed, check_sandbox


class LivePolicy(SandboxedPolicy):
    """A patched policy that is live. If it fails, it is noted, and the next turn of the kernel rolls the patch back.

    It fails only if two sessions fail: one session may be killed, or be slow, through no fault of the policy.
    """

    def __init__(self, version: PolicyVersion, repo: PolicyRepo) -> None:
        """Remember the files, and the repository in which a failure is noted."""
        super().__init__(version.files, version.commit, version.patch_id)
        self._repo = repo

    def _ask(self, call: str, args: list[Any], parse: Callable[[Any], Any]) -> Any:
        try:
            return super()._ask(call, args, parse)
        except PolicyFailed:  # a sandbox that no longer works at all is not the policy's failure either
            self.close()
            check_sandbox()
        try:
            return super()._ask(call, args, parse)
        except PolicyFailed as error:
            self._repo.record_failure(self.commit, str(error))
            raise


class LivePolicies:
    """Provides the live policy, and keeps its session until another one is live. Threads may share it."""

    def __init__(self, repo: PolicyRepo) -> None:
        """Remember the repository; nothing is read yet."""
        self._repo = repo
        self._current: LivePolicy | None = None
        self._lock = threading.Lock()

    def current(self) -> Policy:
        """The policy at HEAD; raises `SandboxUnavailable` for a patched one on a machine without bubblewrap.

        If no patch is live, it is the shipped policy, even before the first turn of the kernel after an upgrade. Files
        that were edited in place are never run: HEAD's are run instead, in the sandbox.
        """
        with self._lock:
            version = self._repo.head()
            if self._current is not None and self._current.commit == version.commit:
                return self._current
            self._end()
            if version.files == shipped_files():
                return ShippedPolicy(version.commit, version.patch_id)
            if version.patch_id is None and not edited_files():
                return ShippedPolicy(self._repo.commit_shipped(), None)
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
