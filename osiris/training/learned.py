"""Which decisions adapters have learned from: what is left waits for a night that has enough of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from osiris.adapters.registry import AdapterShelf
from osiris.config.settings import Settings
from osiris.core.errors import AdapterRejected, BadInput
from osiris.training.datasets import dataset_of, told_of
from osiris.training.night_facts import Night


def learned_before(
    shelf: AdapterShelf, settings: Settings, night: Night, notes: list[str]
) -> Callable[[str, datetime], bool]:
    """Whether an adapter of an earlier night learned from the decision on an idea (its id) made at a moment.

    One whose training failed taught nothing. Where it is lost what an adapter learned from, all decisions until it was
    made count as learned, and `notes` says so: none is taught twice.
    """
    known: dict[str, datetime] = {}
    until = datetime.min.replace(tzinfo=UTC)
    for name in shelf.names(night.as_of):
        made = None if name.endswith("-dpo") or name[:8] >= night.name else _made(shelf, name)
        if made is None:
            continue
        try:
            about = told_of(dataset_of(settings, name))
            came = "not there"
        except BadInput as error:
            about, came = None, str(error)
        if about is None:
            until = max(until, made)
            notes.append(f"what {name} learned from is lost ({came}): decisions until {made} count as learned")
        else:
            known |= {one: max(made, known.get(one, made)) for one in (line.get("id", "") for line in about["lineage"])}
    return lambda idea, decided_at: decided_at <= max(until, known.get(idea, until))


def _made(shelf: AdapterShelf, name: str) -> datetime | None:
    """When an adapter was made; `None` for one whose training failed."""
    try:
        card = shelf.validate(name)
    except AdapterRejected:  # what came of it may be on the shelf
        return datetime.strptime(name, "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1)
    return None if card.failed else card.as_of
