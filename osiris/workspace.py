"""`open_workspace()`: the one place where the parts are wired together."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from osiris.config.settings import Settings, load_settings
from osiris.core.clock import Clock, SystemClock, clock_at, parse_moment
from osiris.core.errors import WorkspaceError
from osiris.market.bar_store import BarStore
from osiris.market.yahoo import YahooClient
from osiris.storage.advice import AdviceStore
from osiris.storage.events import Events
from osiris.storage.journal import Journal

if TYPE_CHECKING:
    from osiris.adapters.mlflow_runs import Tracking
    from osiris.adapters.registry import AdapterRegistry, ServedAdapter
    from osiris.kernel.live import LivePolicies
    from osiris.kernel.patch_log import PatchLog
    from osiris.kernel.repo import PolicyRepo
    from osiris.kernel.state import Kernel
    from osiris.llm.models import AnyDrafter, Models
    from osiris.market.provider import BarProvider
    from osiris.policy.contracts import Policy


@dataclass
class Workspace:
    """The parts of one workspace folder, each made at its first use."""

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)

    @property
    def folder(self) -> Path:
        """The workspace folder."""
        return self.settings.workspace

    @property
    def now(self) -> datetime:
        """The moment the workspace's clock shows."""
        return self.clock.now()

    @cached_property
    def advice(self) -> AdviceStore:
        """Ideas and feedback."""
        data = self.settings.data
        return AdviceStore(data / "advice.lancedb", Journal(data / "journal.jsonl"))

    @cached_property
    def bars(self) -> BarStore:
        """The local OHLC store."""
        return BarStore(self.settings.data / "bars")

    @cached_property
    def prices(self) -> "BarProvider":
        """Yahoo first, else the local store."""
        from osiris.market.provider import BarProvider

        return BarProvider(self.bars, YahooClient(self.settings.prices.yahoo_url), self.settings)

    @cached_property
    def local_prices(self) -> "BarProvider":
        """The local store alone, for what must not wait for a network."""
        from osiris.market.provider import BarProvider

        local = self.settings.prices.model_copy(update={"source": "local"})
        return BarProvider(self.bars, YahooClient(), self.settings.model_copy(update={"prices": local}))

    @cached_property
    def events(self) -> Events:
        """Redis, the user's or embedded."""
        return Events(self.settings.data / "redis", self.settings.redis.url)

    @cached_property
    def registry(self) -> "AdapterRegistry":
        """The adapters."""
        from osiris.adapters.registry import AdapterRegistry
        from osiris.llm.sources import compute_base_hash

        return AdapterRegistry(self.settings.adapters, lambda: compute_base_hash(self.settings))

    @cached_property
    def models(self) -> "Models":
        """The models that answer: those in this process, or those of a server."""
        from osiris.llm.models import open_models

        return open_models(self.settings)

    @cached_property
    def tracking(self) -> "Tracking":
        """MLflow."""
        from osiris.adapters.mlflow_runs import Tracking

        return Tracking(self.settings)

    @cached_property
    def policy_repo(self) -> "PolicyRepo":
        """The policy's history."""
        from osiris.kernel.repo import PolicyRepo

        return PolicyRepo(self.settings.data / "policy.git")

    @cached_property
    def patch_log(self) -> "PatchLog":
        """What became of each patch."""
        from osiris.kernel.patch_log import PatchLog

        return PatchLog(self.settings.data / "patches.jsonl")

    @cached_property
    def policies(self) -> "LivePolicies":
        """Hands out the live policy."""
        from osiris.kernel.live import LivePolicies

        return LivePolicies(self.policy_repo)

    @property
    def policy(self) -> "Policy":
        """The live policy, as its repository has it at this moment."""
        return self.policies.current()

    def kernel(self, as_of: datetime | None = None) -> "Kernel":
        """What turns of the kernel work with at `as_of`; models are loaded when one is asked."""
        from osiris.kernel.measure import MeasurementContext
        from osiris.kernel.state import Kernel
        from osiris.storage.patches import PatchLists

        moment = as_of or self.now
        past = MeasurementContext(
            self.advice,
            self.local_prices,
            lambda: self.load_drafter(moment),
            lambda: self.models.judge,
            self.settings,
            moment,
        )
        return Kernel(self.policy_repo, self.patch_log, PatchLists(self.events), past)

    def find_served(self, as_of: datetime | None = None) -> "ServedAdapter":
        """The newest adapter that is eligible and sound at `as_of`, and those passed over, with reasons."""
        from osiris.training.nightly_run import find_served_adapter

        return find_served_adapter(self.registry, self.settings, as_of or self.now)

    def load_drafter(self, as_of: datetime | None = None) -> "AnyDrafter":
        """The model that drafts at `as_of`, reloaded when a newer adapter is served."""
        return self.models.serve(self.find_served(as_of).path)

    def close(self) -> None:
        """Leave the servers that this process uses, and end the session of a patched policy."""
        if "policies" in self.__dict__:
            self.policies.close()
        if "events" in self.__dict__:
            self.events.close()


def open_workspace(folder: Path | str | None = None, as_of: str | datetime | None = None) -> Workspace:
    """Open a workspace folder (default: `$OSIRIS_WORKSPACE`, else the current folder).

    Its clock stands at `as_of`, else at the setting `clock.as_of`; without either it is the system's.
    Raises `SettingsError` for bad settings, `WorkspaceError` for a folder that is missing or cannot be written.
    """
    settings = load_settings(folder)
    for part in (settings.workspace, settings.data, settings.adapters, settings.mlruns):
        require_writable(part)
    requested = parse_moment(as_of) if isinstance(as_of, str) and as_of else as_of
    moment = requested if isinstance(requested, datetime) else settings.clock.as_of
    return Workspace(settings, clock_at(moment))


@contextmanager
def managed_workspace(folder: Path | str | None = None, as_of: str | datetime | None = None) -> Iterator[Workspace]:
    """`open_workspace`, closed at the end."""
    workspace = open_workspace(folder, as_of)
    try:
        yield workspace
    finally:
        workspace.close()


def require_writable(folder: Path) -> None:
    """Raise `WorkspaceError` unless a file can be made in `folder`, if it exists; permissions alone do not tell."""
    try:
        if folder.exists():
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise WorkspaceError(
            "a folder that can be written", f"{folder} ({error.strerror})", "change its permissions, or name another"
        ) from error
