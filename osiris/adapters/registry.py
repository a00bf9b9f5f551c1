"""The shelf of adapters: names, preference, atomic publishing, and which one is served.

A published folder never changes and its name is never used again. What was decided about it later lies beside it
(`osiris/adapters/verdicts.py`).
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import ValidationError

from osiris.adapters.manifest import (
    CONFIG_FILE,
    MANIFEST_FILE,
    WEIGHTS_FILE,
    Card,
    Manifest,
    adapter_rejection,
    read_adapter_json,
    validate_adapter,
    write_manifest,
)
from osiris.adapters.verdicts import ProbeResult, VerdictStore
from osiris.core.clock import as_utc
from osiris.core.errors import AdapterRejected, BadInput, Conflict, NotFound
from osiris.core.files import fsync_path

ADAPTER_NAME = re.compile(r"^\d{8}(-dpo)?\Z", re.ASCII)
ServeRule = Literal["better", "newest"]


@dataclass(frozen=True)
class ServedAdapter:
    """The adapter in use (`None` for the plain base), and the (name, reason) of those passed over, newest first."""

    name: str | None
    path: Path | None
    skipped: tuple[tuple[str, str], ...]


class AdapterRegistry:
    """The adapters of one folder, for one base model.

    `base_hash` returns the hash of the base weights; it is asked only when an adapter is published or validated.
    """

    def __init__(self, folder: Path, base_hash: Callable[[], str]) -> None:
        """Open the shelf at `folder`, which need not exist yet."""
        self.folder = folder
        self.base_hash = base_hash
        self._verdicts = VerdictStore(folder)

    def names(self, as_of: datetime | None = None) -> list[str]:
        """Names of published adapters (dated no later than `as_of`), newest first, `-dpo` before plain."""
        if not self.folder.is_dir():
            return []
        found = [
            entry.name for entry in self.folder.iterdir() if ADAPTER_NAME.match(entry.name) and _parse_date(entry.name)
        ]
        manifest_text = [name for name in found if as_of is None or _parse_date(name) <= as_utc(as_of).date()]
        return sorted(manifest_text, reverse=True)

    def newest(self, as_of: datetime | None = None) -> str | None:
        """The first of `names`, sound or not."""
        return next(iter(self.names(as_of)), None)

    def path(self, name: str) -> Path:
        """Folder of a published adapter; raises `BadInput` for a name that is none, `NotFound` for an unknown one.

        Whether it is a sound one, and no file or link, `validate` says.
        """
        if not ADAPTER_NAME.match(name) or not _parse_date(name):
            raise BadInput("an adapter name YYYYMMDD or YYYYMMDD-dpo", repr(name), "use the night's date")
        if not os.path.lexists(self.folder / name):
            raise NotFound(f"an adapter in {self.folder}", name, "see: osiris adapters")
        return self.folder / name

    def publish(self, name: str, trained: Path, card: dict[str, Any]) -> Path:
        """Copy the weights and config of `trained` onto the shelf as `name`, whole or not at all; returns its folder.

        `card` needs parent, data_hash, recipe, recipe_hash, as_of (aware); base_hash is added. Raises `Conflict` if the
        name was used before, `AdapterRejected` if the adapter is not sound, `BadInput` for a bad name or card.
        """
        if not ADAPTER_NAME.match(name) or not _parse_date(name):
            raise BadInput("an adapter name YYYYMMDD or YYYYMMDD-dpo", repr(name), "use the night's date")
        filled = _parse_card({"base_hash": self.base_hash()} | card)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            self._remove_leftovers()
            if os.path.lexists(self.folder / name) or self._verdicts.exists(name):
                raise Conflict(
                    f"an unused adapter name in {self.folder}", f"{name}, published before", "use a later date"
                )
            try:
                self._write_folder(trained, name, filled)
            finally:
                self._remove_leftovers()
        return self.folder / name

    def validate(self, name: str) -> Card:
        """Return the card of a sound adapter; raises `AdapterRejected` with the reason, `BadInput`, `NotFound`."""
        return validate_adapter(self.path(name), name, self.base_hash())

    def weights_hash(self, name: str) -> str:
        """The sha256 of an adapter's weights, as its manifest has it; raises `NotFound`."""
        return read_adapter_json(Manifest, self.path(name) / MANIFEST_FILE).files[WEIGHTS_FILE]

    def require_usable(self, name: str) -> Card:
        """`validate`, and raise `AdapterRejected` also for an adapter whose training failed."""
        card = self.validate(name)
        if card.failed:
            raise adapter_rejection(self.path(name), "a training that did not fail", card.failed)
        return card

    def find_served(
        self, policy: ServeRule, as_of: datetime, probe: Callable[[Path], None] | None = None, before: str = "99999999"
    ) -> ServedAdapter:
        """Walk from newest to oldest and serve the first adapter that is eligible, sound and known at `as_of`.

        A pinned adapter goes first, whatever the gate said. `probe(path)` raises `AdapterRejected` for an adapter that
        computes nonsense; it is asked once for every adapter and its answer is kept. Adapters of the date `before`
        (YYYYMMDD) and later ones are left out.
        """
        pinned, known = self.pinned(), [name for name in self.names(as_of) if name[:8] < before]
        lost = pinned is not None and pinned not in self.names()
        skipped = [(str(pinned), f"pinned, and not in {self.folder}")] if lost else []
        for name in ([pinned] if pinned in known else []) + [name for name in known if name != pinned]:
            try:
                if name != pinned and (reason := self._ineligible_reason(name, policy)):
                    skipped.append((name, reason))
                    continue
                if self.require_usable(name).as_of > as_utc(as_of):
                    continue
                if probe:
                    self._probe_once(name, probe)
            except AdapterRejected as error:
                skipped.append((name, str(error)))
                continue
            return ServedAdapter(name, self.folder / name, tuple(skipped))
        return ServedAdapter(None, None, tuple(skipped))

    def eligible_names(self, policy: ServeRule, as_of: datetime | None = None) -> list[str]:
        """Names that the policy allows to be served, newest first, sound or not."""
        return [name for name in self.names(as_of) if not self._ineligible_reason(name, policy)]

    def verdict(self, name: str) -> dict[str, Any] | None:
        """What was last decided about `name`, or `None`."""
        return self._verdicts.get(name)

    def record_verdict(self, name: str, verdict: dict[str, Any]) -> None:
        """Keep the gate's verdict: a boolean `promoted` and what it rests on; a person's word on `name` stands."""
        self.path(name)
        self._verdicts.record(name, verdict)

    def promote(self, name: str, by: str, reason: str, as_of: datetime) -> None:
        """Let `name` be served by a person's word; raises `AdapterRejected` if it is not usable."""
        self.require_usable(name)
        self._verdicts.override(name, by, reason, as_of, promoted=True)

    def demote(self, name: str, by: str, reason: str, as_of: datetime) -> None:
        """Take `name` out of service by a person's word, under both policies."""
        self.path(name)
        self._verdicts.override(name, by, reason, as_of, promoted=False)

    def pinned(self) -> str | None:
        """The pinned name, or `None`."""
        return self._verdicts.pinned()

    def pin(self, name: str) -> None:
        """Serve `name` before all others until `unpin`; raises `AdapterRejected` if it is not usable."""
        self.require_usable(name)
        self._verdicts.pin(name)

    def unpin(self) -> None:
        """Serve by policy again."""
        self._verdicts.unpin()

    def _ineligible_reason(self, name: str, policy: ServeRule) -> str | None:
        try:
            verdict = self.verdict(name)
        except BadInput as error:  # it may say that a person took the adapter out of service
            return str(error)
        if verdict and verdict.get("by") and not verdict["promoted"]:
            return f"demoted by {verdict['by']}: {verdict.get('why', '')}"
        if policy == "newest" or (verdict and verdict["promoted"]):
            return None
        return "the gate did not promote it" if verdict else "the gate has not decided yet"

    def _probe_once(self, name: str, probe: Callable[[Path], None]) -> None:
        with FileLock(self.folder / ".probe.lock"):
            self._probe_locked(name, probe)

    def _probe_locked(self, name: str, probe: Callable[[Path], None]) -> None:
        seen = (self.folder / name / MANIFEST_FILE).read_text(encoding="utf-8")
        answer = self._verdicts.probe_result(name, seen)
        if answer is None:
            answer = ProbeResult(manifest=seen, reason=None)
            try:
                probe(self.folder / name)
            except AdapterRejected as error:
                answer.reason = error.actual
            self._verdicts.save_probe_result(name, answer)
        if answer.reason:
            raise adapter_rejection(
                self.folder / name, "a forward pass that is finite and changes the base", answer.reason
            )

    def _write_folder(self, trained: Path, name: str, card: Card) -> None:
        draft = self.folder / f".tmp-{name}"
        draft.mkdir()
        for file in (WEIGHTS_FILE, CONFIG_FILE):
            if not (trained / file).is_file():
                raise adapter_rejection(trained, file, "no such file")
            shutil.copyfile(trained / file, draft / file)
        write_manifest(draft, name, card)
        validate_adapter(draft, name, self.base_hash())
        fsync_path(draft)
        draft.rename(self.folder / name)
        fsync_path(self.folder)

    def _remove_leftovers(self) -> None:
        for orphan in self.folder.glob(".tmp-*"):
            shutil.rmtree(orphan)


def _parse_date(name: str) -> date | None:
    with contextlib.suppress(ValueError):
        return datetime.strptime(name[:8], "%Y%m%d").date()  # noqa: DTZ007 - a calendar date has no zone
    return None


def _parse_card(values: dict[str, Any]) -> Card:
    try:
        return Card.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"a card with {'.'.join(map(str, first['loc']))}", first["msg"], "correct the card") from error
