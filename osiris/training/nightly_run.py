"""A nightly run: its moment and the adapter that was served when it began, both fixed before its first step.

They are kept in `data/nights/YYYYMMDD.json`, so that all steps use the same ones, also when a nightly run is repeated.
A step that read the clock, or looked up the served adapter anew, could train from another adapter than its run's.
"""

from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from osiris.adapters.probe import load_and_probe
from osiris.adapters.registry import AdapterRegistry, ServedAdapter
from osiris.config.settings import Settings
from osiris.core.clock import as_utc
from osiris.core.errors import BadInput
from osiris.core.files import write_atomically


class NightlyRun(BaseModel):
    """A nightly run: its UTC date as YYYYMMDD, its moment, and the adapter served when it began (`None`: the base)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^\d{8}$")
    as_of: AwareDatetime
    champion: str | None
    ended: bool = False


def begin_nightly_run(registry: AdapterRegistry, settings: Settings, as_of: datetime) -> NightlyRun:
    """The nightly run of the UTC date of `as_of`: the one that was begun, else a new one at `as_of`.

    A date has one nightly run, since it has one name for an adapter. A run that was killed, or that has published an
    adapter, continues with its first facts. A run that ended without an adapter leaves its date to a later try. Raises
    `BadInput` for a record that cannot be read.
    """
    as_of = as_utc(as_of)
    name = nightly_date(as_of)
    begun = _read(_record(settings, name))
    published = any(one[:8] == name for one in registry.names())
    if begun and (published or begun.as_of == as_of or (begun.as_of < as_of and not begun.ended)):
        return begun
    nightly_run = NightlyRun(
        name=name, as_of=as_of, champion=find_served_adapter(registry, settings, as_of, before=name).name
    )
    _write(settings, nightly_run)
    return nightly_run


def end_nightly_run(settings: Settings, nightly_run: NightlyRun) -> None:
    """Record that all steps of the nightly run were done."""
    _write(settings, nightly_run.model_copy(update={"ended": True}))


def nightly_date(as_of: datetime) -> str:
    """The UTC date of a nightly run, YYYYMMDD."""
    return f"{as_utc(as_of):%Y%m%d}"


def find_served_adapter(
    registry: AdapterRegistry, settings: Settings, as_of: datetime, before: str = "99999999"
) -> ServedAdapter:
    """The newest adapter of a date before `before` that is eligible and sound at `as_of`, and those passed over."""

    def probe_local(path: Path) -> None:
        if settings.llm.backend == "local":  # a model on a server may be too large to load here
            load_and_probe(settings, path)

    return registry.find_served(settings.gate.serve, as_of, probe_local, before)


def _record(settings: Settings, name: str) -> Path:
    return settings.data / "nights" / f"{name}.json"


def _write(settings: Settings, nightly_run: NightlyRun) -> None:
    write_atomically(_record(settings, nightly_run.name), nightly_run.model_dump_json(indent=1))


def _read(path: Path) -> NightlyRun | None:
    try:
        return NightlyRun.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        remedy = "restore it; without it the nightly run begins anew from what is served now"
        raise BadInput(f"the record of a nightly run in {path}", error.errors()[0]["msg"], remedy) from error
