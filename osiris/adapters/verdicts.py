"""Decisions about adapters: the gate's verdicts, a person's overrides, the pin, and the results of the probe.

Each adapter has a file under `.verdicts/`. A person's decision stays in force until a person changes it. A later
verdict of the gate is kept in the same file (`gate_promoted`, and the numbers) but never replaces it.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from filelock import FileLock
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, ValidationError

from osiris.core.clock import as_utc
from osiris.core.errors import BadInput
from osiris.core.files import write_atomically

OVERRIDE_KEYS = ("promoted", "by", "why", "at")
"""The keys of a verdict that a person's decision sets."""


class Verdict(BaseModel):
    """The keys of a verdict's file that have a meaning here; further keys (the gate's numbers) are kept as they are."""

    model_config = ConfigDict(extra="allow")

    promoted: StrictBool
    gate_promoted: StrictBool | None = None
    by: Annotated[str, Field(min_length=1)] | None = None
    why: str | None = None
    held_out: tuple[AwareDatetime, AwareDatetime] | None = None


class Pin(BaseModel):
    """The contents of `.pin.json`."""

    name: str


class ProbeResult(BaseModel):
    """The probe's result for an adapter with this manifest; `reason` says why it must not be served."""

    manifest: str
    reason: str | None


class VerdictStore:
    """The decisions about the adapters of one folder."""

    def __init__(self, folder: Path) -> None:
        """Open the decisions about the adapters in `folder`, which need not exist yet."""
        self.folder = folder / ".verdicts"
        self._pin = folder / ".pin.json"

    def get(self, name: str) -> dict[str, Any] | None:
        """The last decision about `name`, or `None`; raises `BadInput` for a file that is no verdict."""
        found = _read(self._file(name), Verdict, "delete it and decide anew")
        return found and found[1]

    def record(self, name: str, verdict: dict[str, Any]) -> None:
        """Keep the gate's verdict, without replacing a person's decision. A verdict with `by` is such a decision."""
        if not isinstance(verdict.get("promoted"), bool):
            raise BadInput("a verdict with a boolean `promoted`", repr(verdict.get("promoted")), "let the gate decide")
        with self._lock():
            before = self.get(name) or {}
            if before.get("by") and "by" not in verdict:
                override = {key: before[key] for key in OVERRIDE_KEYS if key in before}
                verdict = verdict | {"gate_promoted": verdict["promoted"]} | override
            write_atomically(self._file(name), _json(verdict))

    def override(self, name: str, by: str, reason: str, as_of: datetime, *, promoted: bool) -> None:
        """Keep a person's decision, together with the verdict of the gate."""
        with self._lock():
            before = self.get(name) or {}
            by_gate = {} if before.get("by") or not before else {"gate_promoted": before["promoted"]}
            override = {"promoted": promoted, "by": by, "why": reason, "at": as_utc(as_of).isoformat()}
            write_atomically(self._file(name), _json(before | by_gate | override))

    def exists(self, name: str) -> bool:
        """Whether there ever was a decision about `name`."""
        return self._file(name).exists()

    def pinned(self) -> str | None:
        """The pinned name, or `None`; raises `BadInput` for a pin that cannot be read, rather than guess it."""
        found = _read(self._pin, Pin, "run `osiris adapters pin NAME`, or `osiris adapters unpin`")
        return found and found[0].name

    def pin(self, name: str) -> None:
        """Pin `name`."""
        write_atomically(self._pin, _json({"name": name}))

    def unpin(self) -> None:
        """Remove the pin."""
        self._pin.unlink(missing_ok=True)

    def probe_result(self, name: str, manifest: str) -> ProbeResult | None:
        """The probe's result for `name` with this manifest; `None` if the probe has to run (again)."""
        try:
            found = _read(self._file(f"{name}.probe"), ProbeResult, "it is made anew")
        except BadInput:
            return None
        return found[0] if found and found[0].manifest == manifest else None

    def save_probe_result(self, name: str, result: ProbeResult) -> None:
        """Keep the probe's result for `name`."""
        write_atomically(self._file(f"{name}.probe"), result.model_dump_json(indent=1))

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _lock(self) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock")


def _read(path: Path, model: type[BaseModel], remedy: str) -> tuple[Any, dict[str, Any]] | None:
    """The file as a `model` and as plain JSON; `None` if there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return model.model_validate(content), content
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BadInput(f"a {model.__name__.lower()} in {path}", f"{where}: {first['msg']}", remedy) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"a {model.__name__.lower()} as JSON in {path}", str(error), remedy) from error


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, default=str)
