"""`open_workspace()` wires the parts of Osiris together; no other module does."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from osiris.config.settings import Settings, find_log_file, load_settings
from osiris.core.clock import Clock, SystemClock, clock_at, parse_moment
from osiris.core.errors import WorkspaceError
from osiris.core.run_log import configure_logging
from osiris.market.bar_store import BarStore
from osiris.market.yahoo import YahooClient
from osiris.storage.advice import AdviceStore
from osiris.storage.events import Events
from osiris.storage.journal import Journal
from osiris.storage.notes import NoteStore

if TYPE_CHECKING:
    from osiris.adapters.mlflow_runs import Tracking
    from osiris.adapters.registry import AdapterRegistry, ServedAdapter
    from osiris.drafting.snapshots import SnapshotSource
    from osiris.kernel.live import LivePolicies
    from osiris.kernel.patch_log import PatchLog
    from osiris.kernel.repo import PolicyRepo
    from osiris.kernel.state import Kernel
    from osiris.llm.models import AnyDrafter, Models
    from osiris.market.provider import BarProvider
    from osiris.policy.contracts import Policy


log = logging.getLogger(__name__)


@dataclass
class Workspace:
    """The parts of one workspace folder. Each part is created at its first use."""

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)

    @property
    def folder(self) -> Path:
        """The workspace folder."""
        return self.settings.workspace

    @property
    def now(self) -> datetime:
        """The current moment of the workspace's clock."""
        return self.clock.now()

    @cached_property
    def advice(self) -> AdviceStore:
        """The store of ideas and feedback."""
        data = self.settings.data
        return AdviceStore(data / "advice.lancedb", Journal(data / "journal.jsonl"))

    @cached_property
    def bars(self) -> BarStore:
        """The local store of OHLC bars."""
        return BarStore(self.settings.data / "bars")

    @cached_property
    def prices(self) -> "BarProvider":
        """Bars from Yahoo, or from the local store when Yahoo does not answer or `prices.source` is local."""
        from osiris.market.provider import BarProvider

        return BarProvider(self.bars, YahooClient(self.settings.prices.yahoo_url), self.settings)

    @cached_property
    def local_prices(self) -> "BarProvider":
        """Bars from the local store only, for work that must not wait for a network."""
        from osiris.market.provider import BarProvider

        local = self.settings.prices.model_copy(update={"source": "local"})
        return BarProvider(self.bars, YahooClient(), self.settings.model_copy(update={"prices": local}))

    @property
    def snapshots(self) -> "SnapshotSource":
        """Where the snapshots come from that the model is shown."""
        from osiris.drafting.snapshots import SnapshotSource

        return SnapshotSource(self.prices, self.advice, self.settings)

    @property
    def notes(self) -> NoteStore:
        """The store of notes on tickers."""
        return NoteStore(self.settings.notes_file)

    @cached_property
    def events(self) -> Events:
        """Events on Redis: the user's server or the embedded one."""
        return Events(self.settings.data / "redis", self.settings.redis.url)

    @cached_property
    def registry(self) -> "AdapterRegistry":
        """The published adapters."""
        from osiris.adapters.registry import AdapterRegistry
        from osiris.llm.sources import compute_base_hash

        return AdapterRegistry(self.settings.adapters, lambda: compute_base_hash(self.settings))

    @cached_property
    def models(self) -> "Models":
        """The language models, in this process or on a server."""
        from osiris.llm.models import open_models

        return open_models(self.settings)

    @cached_property
    def tracking(self) -> "Tracking":
        """The MLflow runs."""
        from osiris.adapters.mlflow_runs import Tracking

        return Tracking(self.settings)

    @cached_property
    def policy_repo(self) -> "PolicyRepo":
        """The Git repository of the policy."""
        from osiris.kernel.repo import PolicyRepo

        return PolicyRepo(self.settings.data / "policy.git")

    @cached_property
    def patch_log(self) -> "PatchLog":
        """The log of patches and of the decisions about them."""
        from osiris.kernel.patch_log import PatchLog

        return PatchLog(self.settings.data / "patches.jsonl")

    @cached_property
    def policies(self) -> "LivePolicies":
        """Loads the live policy."""
        from osiris.kernel.live import LivePolicies

        return LivePolicies(self.policy_repo)

    @property
    def policy(self) -> "Policy":
        """The live policy, as its repository has it now."""
        return self.policies.current()

    def kernel(self, as_of: datetime | None = None) -> "Kernel":
        """Return the patch loop as of `as_of` (default: now). Models are loaded when they are first used."""
        from osiris.kernel.measure import MeasurementContext
        from osiris.kernel.state import Kernel
        from osiris.storage.patches import PatchLists

        moment = as_of or self.now
        context = MeasurementContext(
            self.advice,
            self.local_prices,
            lambda: self.load_drafter(moment),
            lambda: self.models.judge,
            self.settings,
            moment,
        )
        return Kernel(self.policy_repo, self.patch_log, PatchLists(self.events), context)

    def find_served(self, as_of: datetime | None = None) -> "ServedAdapter":
        """Return the newest eligible and valid adapter at `as_of`, and the skipped adapters with reasons."""
        from osiris.training.nightly_run import find_served_adapter

        return find_served_adapter(self.registry, self.settings, as_of or self.now)

    def load_drafter(self, as_of: datetime | None = None) -> "AnyDrafter":
        """Return the model that drafts at `as_of`. It is reloaded when a newer adapter is served.

        An adapter that was trained on other prompts than those of today is served with a warning.
        """
        served = self.find_served(as_of)
        if note := self.describe_other_prompts(served.name):
            log.warning(note)
        return self.models.serve(served.path)

    def describe_other_prompts(self, adapter: str | None) -> str:
        """Say that an adapter was trained on other prompts than those of today; empty where it was not.

        Of an adapter that was trained before prompts had versions, nothing is known and nothing is said.
        """
        trained = self.registry.read_card(adapter).prompt_versions.split(", ") if adapter else []
        today = self.snapshots.prompt_version
        if not set(trained) - {"", "unknown"} or today in trained:
            return ""
        return (
            f"adapter {adapter} was trained on prompts of version {', '.join(trained)}; today's are {today}: "
            "templates or blocks of [context] have changed since"
        )

    def close(self) -> None:
        """Disconnect from the servers that this process uses, and end the session of a patched policy."""
        if "policies" in self.__dict__:
            self.policies.close()
        if "events" in self.__dict__:
            self.events.close()


def open_workspace(folder: Path | str | None = None, as_of: str | datetime | None = None) -> Workspace:
    """Open a workspace folder (default: `$OSIRIS_WORKSPACE`, else the current folder).

    Its clock stands at `as_of`, or else at the setting `clock.as_of`. Without both it is the system's clock.
    Raises `SettingsError` for bad settings; `WorkspaceError` for a folder that is missing or cannot be written.
    """
    if log_file := find_log_file():
        configure_logging(log_file)
    settings = load_settings(folder)
    for part in (settings.workspace, settings.data, settings.adapters, settings.mlruns):
        require_writable(part)
    requested = parse_moment(as_of) if isinstance(as_of, str) and as_of else as_of
    moment = requested if isinstance(requested, datetime) else settings.clock.as_of
    return Workspace(settings, clock_at(moment))


@contextmanager
def managed_workspace(folder: Path | str | None = None, as_of: str | datetime | None = None) -> Iterator[Workspace]:
    """Open a workspace as `open_workspace` does, and close it at the end of the block."""
    workspace = open_workspace(folder, as_of)
    try:
        yield workspace
    finally:
        workspace.close()


def require_writable(folder: Path) -> None:
    """Raise `WorkspaceError` if `folder` exists but no file can be created in it; permissions do not show that."""
    try:
        if folder.exists():
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise WorkspaceError(
            "a folder that can be written", f"{folder} ({error.strerror})", "change its permissions, or name another"
        ) from error
