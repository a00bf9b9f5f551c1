"""What a turn of the kernel works with (`Kernel`), and what it reports (`TurnReport`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from osiris.config.settings import Settings
from osiris.core.files import exclusive_lock
from osiris.kernel.measure import MeasurementContext
from osiris.kernel.patch_log import PatchLog
from osiris.kernel.repo import PolicyRepo
from osiris.storage.patches import PatchLists

MAX_LOCK_SECONDS = 60


class Kernel(NamedTuple):
    """The repository, patch log, queue and data that a turn works with."""

    repo: PolicyRepo
    patch_log: PatchLog
    lists: PatchLists
    context: MeasurementContext

    @property
    def settings(self) -> Settings:
        """The workspace's settings."""
        return self.context.settings

    @property
    def as_of(self) -> datetime:
        """The moment of the turn."""
        return self.context.as_of

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Alone write the patch log and move the live branch. Held briefly; raises `Busy` after `MAX_LOCK_SECONDS`."""
        with exclusive_lock(self.settings.data / "kernel.lock", "step of the kernel", MAX_LOCK_SECONDS):
            yield


@dataclass
class TurnReport:
    """What a turn did; `verdict` is that of `patch`, and empty if there was no patch to evaluate."""

    policy: str
    patch: str | None = None
    verdict: str = ""
    reason: str = ""
    applied: str | None = None
    rolled_back: list[str] = field(default_factory=list)
    waiting: int = 0
    dead_letters: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """The result in a sentence."""
        done = [f"Patch {self.patch}: {self.verdict}."] if self.patch else ["No patch was evaluated."]
        done += [f"{self.reason}."] if self.reason else []
        done += [f"Rolled back: {', '.join(self.rolled_back)}."] if self.rolled_back else []
        return " ".join(done)
