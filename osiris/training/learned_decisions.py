"""Which decisions adapters have learned from; the rest wait until a nightly run has enough of them."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from osiris.adapters.registry import AdapterRegistry
from osiris.config.settings import Settings
from osiris.core.errors import AdapterRejected, BadInput
from osiris.training.datasets import dataset_file, read_metadata
from osiris.training.nightly_run import NightlyRun

log = logging.getLogger(__name__)


def build_learned_filter(
    registry: AdapterRegistry, settings: Settings, nightly_run: NightlyRun
) -> Callable[[str, datetime], bool]:
    """A filter: given an idea's id and the moment of its decision, did an adapter of an earlier run learn from it?

    An adapter whose training failed does not count. If the dataset of an adapter is lost, all decisions until the
    adapter was made count as learned, with a warning. Otherwise a decision might be trained on twice.
    """
    known: dict[str, datetime] = {}
    lost_until = datetime.min.replace(tzinfo=UTC)
    for name in registry.names(nightly_run.as_of):
        created_at = None if name.endswith("-dpo") or name[:8] >= nightly_run.name else _created_at(registry, name)
        if created_at is None:
            continue
        try:
            metadata = read_metadata(dataset_file(settings, name))
            reason = "not there"
        except BadInput as error:
            metadata, reason = None, str(error)
        if metadata is None:
            lost_until = max(lost_until, created_at)
            log.warning(
                "what %s learned from is lost (%s): decisions until %s count as learned", name, reason, created_at
            )
        else:
            ids = [line.get("id", "") for line in metadata["lineage"]]
            known |= {idea: max(created_at, known.get(idea, created_at)) for idea in ids}
    return lambda idea, decided_at: decided_at <= max(lost_until, known.get(idea, lost_until))


def _created_at(registry: AdapterRegistry, name: str) -> datetime | None:
    """The moment at which an adapter was made; `None` if its training failed."""
    try:
        card = registry.validate(name)
    except (
        AdapterRejected
    ):  # the card is unreadable, but the adapter may have been a parent: assume the end of its date
        return datetime.strptime(name, "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1)
    return None if card.failed else card.as_of
