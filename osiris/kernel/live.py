"""The live policy: the shipped one in this process until a patch changes it, then HEAD's, always in the sandbox."""

import threading
from typing import Any

from osiris.kernel.repo import PolicyRepo, PolicyVersion
from osiris.policy import ShippedPolicy, edited_files, shipped_files
from osiris.policy.contracts import Policy
from osiris.sandbox.policies import SandboxedPolicy
from osiris.sandbox.session import PolicyFailed, check_sandbox


class LivePolicy(SandboxedPolicy):
    """A policy that is live; where it fails, the next turn of the kernel learns of it and rolls it back.

    It is asked twice, in two sessions: a session may be killed, or slow, for reasons that are not the policy's.
    """

    def __init__(self, version: PolicyVersion, repo: PolicyRepo) -> None:
        """Remember what is to be run, and where a failure is noted."""
        super().__init__(version.files, version.commit, version.patch_id)
        self._repo = repo

    def _ask(self, call: str, args: list[Any], checked: Any) -> Any:
        try:
            return super()._ask(call, args, checked)
        except PolicyFailed:
            self.close()
            check_sandbox()
        try:
            return super()._ask(call, args, checked)
        except PolicyFailed as error:
            self._repo.record_failure(self.commit, str(error))
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
