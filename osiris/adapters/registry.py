"""The registry of adapters: names, atomic publishing, and the choice of the adapter to serve.

A published folder never changes, and its name is never used again. Later decisions about it are kept in other files of
the same parent folder (`osiris/adapters/verdicts.py`).
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
    CARD_FILE,
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
"""Values of the setting `gate.serve`: serve what was promoted, or the newest adapter whatever the gate decided."""


@dataclass(frozen=True)
class ServedAdapter:
    """The adapter in use (`None` for the plain base), and (name, reason) of each adapter passed over, newest first."""

    name: str | None
    path: Path | None
    skipped: tuple[tuple[str, str], ...]


class AdapterRegistry:
    """The adapters of one folder, for one base model.

    `base_hash` returns the hash of the base weights. It is called only when an adapter is published or validated, since
    it reads all weights.
    """

    def __init__(self, folder: Path, base_hash: Callable[[], str]) -> None:
        """Open the registry in `folder`, which need not exist yet."""
        self.folder = folder
        self.base_hash = base_hash
        self._verdicts = VerdictStore(folder)

    def names(self, as_of: datetime | None = None) -> list[str]:
        """Names of published adapters (dated no later than `as_of`), newest first, `-dpo` before plain."""
        if not self.folder.is_dir():
            return []
        last_date = as_utc(as_of).date() if as_of else date.max
        found = [
            entry.name
            for entry in self.folder.iterdir()
            if ADAPTER_NAME.match(entry.name) and (dated := _parse_date(entry.name)) and dated <= last_date
        ]
        return sorted(found, reverse=True)

    def newest(self, as_of: datetime | None = None) -> str | None:
        """The first of `names`, whether it is sound or not."""
        return next(iter(self.names(as_of)), None)

    def path(self, name: str) -> Path:
        """Folder of a published adapter; raises `BadInput` for a malformed name, `NotFound` for an unknown one.

        It may be damaged, or a file or a link: `validate` checks that.
        """
        if not ADAPTER_NAME.match(name) or not _parse_date(name):
            raise BadInput("an adapter name YYYYMMDD or YYYYMMDD-dpo", repr(name), "use the date of the nightly run")
        if not os.path.lexists(self.folder / name):
            raise NotFound(f"an adapter in {self.folder}", name, "see: osiris adapters")
        return self.folder / name

    def publish(self, name: str, trained: Path, card: dict[str, Any]) -> Path:
        """Copy the weights and config of `trained` into the registry as `name`, and return the new folder.

        The folder appears complete or not at all. `card` needs parent, data_hash, recipe, recipe_hash, as_of (aware);
        base_hash is added. Raises `Conflict` if the name was used before, `AdapterRejected` if the adapter is not
        sound, `BadInput` for a bad name or card.
        """
        if not ADAPTER_NAME.match(name) or not _parse_date(name):
            raise BadInput("an adapter name YYYYMMDD or YYYYMMDD-dpo", repr(name), "use the date of the nightly run")
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
        """The card of a sound adapter; raises `AdapterRejected` with the reason, or the errors of `path`."""
        return validate_adapter(self.path(name), name, self.base_hash())

    def read_card(self, name: str) -> Card:
        """The card of an adapter as its file says, without a check of the weights; raises as `path` does."""
        card: Card = read_adapter_json(Card, self.path(name) / CARD_FILE)
        return card

    def weights_hash(self, name: str) -> str:
        """The sha256 of an adapter's weights according to its manifest; raises `NotFound`."""
        return read_adapter_json(Manifest, self.path(name) / MANIFEST_FILE).files[WEIGHTS_FILE]

    def require_usable(self, name: str) -> Card:
        """Like `validate`, but raises `AdapterRejected` for an adapter whose training failed, too."""
        card = self.validate(name)
        if card.failed:
            raise adapter_rejection(self.path(name), "a training that did not fail", card.failed)
        return card

    def find_served(
        self, rule: ServeRule, as_of: datetime, probe: Callable[[Path], None] | None = None, before: str = "99999999"
    ) -> ServedAdapter:
        """Find the newest adapter that is eligible, sound and known at `as_of`.

        A pinned adapter is tried first, whatever the gate decided. `probe(path)` raises `AdapterRejected` for an
        adapter that computes nonsense. It runs once for each adapter, and its result is kept. Adapters of the date
        `before` (YYYYMMDD) or later are left out.
        """
        pinned = self.pinned()
        known = [name for name in self.names(as_of) if name[:8] < before]
        is_lost = pinned is not None and pinned not in self.names()
        skipped = [(str(pinned), f"pinned, and not in {self.folder}")] if is_lost else []
        for name in ([pinned] if pinned in known else []) + [name for name in known if name != pinned]:
            try:
                if name != pinned and (reason := self._ineligible_reason(name, rule)):
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

    def eligible_names(self, rule: ServeRule, as_of: datetime | None = None) -> list[str]:
        """Names that the rule allows to be served, newest first, whether they are sound or not."""
        return [name for name in self.names(as_of) if not self._ineligible_reason(name, rule)]

    def verdict(self, name: str) -> dict[str, Any] | None:
        """The last decision about `name`, or `None`."""
        return self._verdicts.get(name)

    def record_verdict(self, name: str, verdict: dict[str, Any]) -> None:
        """Keep the gate's verdict (a boolean `promoted`, and numbers); a person's decision on `name` stays in force."""
        self.path(name)
        self._verdicts.record(name, verdict)

    def promote(self, name: str, by: str, reason: str, as_of: datetime) -> None:
        """Let `name` be served by a person's decision; raises `AdapterRejected` if it is not usable."""
        self.require_usable(name)
        self._verdicts.override(name, by, reason, as_of, promoted=True)

    def demote(self, name: str, by: str, reason: str, as_of: datetime) -> None:
        """Take `name` out of service by a person's decision, under every serve rule."""
        self.path(name)
        self._verdicts.override(name, by, reason, as_of, promoted=False)

    def pinned(self) -> str | None:
        """The pinned name, or `None`."""
        return self._verdicts.pinned()

    def pin(self, name: str) -> None:
        """Serve `name` before all other adapters until `unpin`; raises `AdapterRejected` if it is not usable."""
        self.require_usable(name)
        self._verdicts.pin(name)

    def unpin(self) -> None:
        """Serve by the rule again."""
        self._verdicts.unpin()

    def _ineligible_reason(self, name: str, rule: ServeRule) -> str | None:
        try:
            verdict = self.verdict(name)
        except BadInput as error:  # the unreadable file may be a person's demotion, so the adapter is not served
            return str(error)
        if verdict and verdict.get("by") and not verdict["promoted"]:
            return f"demoted by {verdict['by']}: {verdict.get('why', '')}"
        if rule == "newest" or (verdict and verdict["promoted"]):
            return None
        return "the gate did not promote it" if verdict else "the gate has not decided yet"

    def _probe_once(self, name: str, probe: Callable[[Path], None]) -> None:
        # one process at a time loads a model for the probe: the second one then reads the kept result
        with FileLock(self.folder / ".probe.lock"):
            self._probe_locked(name, probe)

    def _probe_locked(self, name: str, probe: Callable[[Path], None]) -> None:
        manifest_text = (self.folder / name / MANIFEST_FILE).read_text(encoding="utf-8")
        result = self._verdicts.probe_result(name, manifest_text)
        if result is None:
            result = ProbeResult(manifest=manifest_text, reason=None)
            try:
                probe(self.folder / name)
            except AdapterRejected as error:
                result.reason = error.actual
            self._verdicts.save_probe_result(name, result)
        if result.reason:
            raise adapter_rejection(
                self.folder / name, "a forward pass that is finite and changes the base", result.reason
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
        # renamed only after the files are on disk: a reader sees the complete folder or none, even after a power cut
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
