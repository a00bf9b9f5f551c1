"""What a turn of the kernel works with, and what it tells."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from osiris.kernel.book import PatchBook
from osiris.kernel.measure import Past
from osiris.kernel.repo import PolicyRepo
from osiris.settings import Settings
from osiris.store.patches import PatchLists


class Kernel(NamedTuple):
    """What a turn works with."""

    repo: PolicyRepo
    book: PatchBook
    lists: PatchLists
    past: Past

    @property
    def settings(self) -> Settings:
        """The workspace's settings."""
        return self.past.settings

    @property
    def as_of(self) -> datetime:
        """The moment of the turn."""
        return self.past.as_of


@dataclass
class TurnReport:
    """What a turn did; `verdict` is that of `patch`, empty when there was none to judge."""

    policy: str
    patch: str | None = None
    verdict: str = ""
    reason: str = ""
    applied: str | None = None
    rolled_back: list[str] = field(default_factory=list)
    waiting: int = 0
    notes: list[str] = field(default_factory=list)
