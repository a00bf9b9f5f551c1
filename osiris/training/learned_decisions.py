"""Which decisions adapters have learned from: what is left waits for a night that has enough of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from osiris.adapters.registry import AdapterRegistry
from osiris.config.settings import Settings
from osiris.core.errors import AdapterRejected, BadInput
from osiris.training.datasets import dataset_file, read_metadata
from osiris.training.nightly_run import NightlyRun


def build_learned_filter(
    registry: AdapterRegistry, settings: Settings, nightly_run: NightlyRun, notes: list[str]
) -> Callable[[str, datetime], bool]:
    """Whether an adapter of an earlier night learned from the decision on an idea (its id) made at a moment.

    One whose training failed taught nothing. Where it is lost what an adapter learned from, all decisions until it was
    made count as learned, and `notes` says so: none is taught twice.
    """
    known: dict[str, datetime] = {}
    lost_until = datetime.min.replace(tzinfo=UTC)
    for name in registry.names(nightly_run.as_of):
        created_at = None if name.endswith("-dpo") or name[:8] >= nightly_run.name else _created_at(registry, name)
        if created_at is None:
            continue
        try:
            metadata = read_metadata(dataset_file(settings, name))
            came = "not there"
        except BadInput as error:
            metadata, came = None, str(error)
        if metadata is None:
            lost_until = max(lost_until, created_at)
            notes.append(f"what {name} learned from is lost ({came}): decisions until {created_at} count as learned")
        else:
            known |= {
                one: max(created_at, known.get(one, created_at))
                for one in (line.get("id", "") for line in metadata["lineage"])
            }
    return lambda idea, decided_at: decided_at <= max(lost_until, known.get(idea, lost_until))


def _created_at(registry: AdapterRegistry, name: str) -> datetime | None:
    """When an adapter was made; `None` for one whose training failed."""
    try:
        card = registry.validate(name)
    except AdapterRejected:  # what came of it may be on the shelf
        return datetime.strptime(name, "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1)
    return None if card.failed else card.as_of
