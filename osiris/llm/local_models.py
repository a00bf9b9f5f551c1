"""The models that answer in this process, and the adapters attached to them."""

import threading
from dataclasses import replace
from pathlib import Path

from osiris.config.settings import Settings
from osiris.core.files import hash_file
from osiris.core.ideas import stable_hash
from osiris.llm.loader import LOAD_LOCK, Drafter, Judge, attach_adapter, load_drafter, load_judge
from osiris.llm.sources import is_model_ready
from osiris.llm.starter_recipe import ModelKind
from osiris.llm.suppress_output import suppress_output

MAX_ATTACHED_ADAPTERS = 3
"""Adapters that stay attached; one more detaches the one that was attached first."""


class LocalModels:
    """The models that answer in this process: the served drafter and, from its first use, the judge.

    The base stays in memory and adapters are attached to it. So another adapter is served without a restart, and
    earlier drafters keep their own adapter. Threads may share one object.
    """

    def __init__(self, settings: Settings) -> None:
        """Remember the settings; nothing is loaded yet."""
        self._settings = settings
        # Two locks, so that loading the judge does not delay a drafter. Neither is taken while the other is held.
        self._lock, self._judge_lock = threading.RLock(), threading.Lock()
        self._base: Drafter | None = None
        self._judge: Judge | None = None
        self._attached: dict[str, Drafter] = {}

    def is_ready(self, kind: ModelKind) -> bool:
        """Whether a model can be loaded now, without building or downloading it."""
        return is_model_ready(kind, self._settings)

    def serve(self, adapter: Path | None) -> Drafter:
        """Return the drafter with this adapter folder, attached anew only if its name or its files changed.

        A drafter that is attached already is returned at once, even while another adapter is attached or answers.
        """
        slot = _slot(adapter) if adapter is not None else None
        known = self._attached.get(slot) if slot else self._base
        if known is not None:
            return known
        with self._lock:
            if self._base is None:
                self._base = load_drafter(self._settings)
            if adapter is None or slot is None:
                return self._base
            drafter = self._attached.get(slot) or self._attach(self._base, adapter, slot)
            self._attached[slot] = drafter
            while len(self._attached) > MAX_ATTACHED_ADAPTERS:
                self._detach(next(iter(self._attached)))
            return drafter

    @property
    def judge(self) -> Judge:
        """The judge, loaded on first use."""
        with self._judge_lock:
            if self._judge is None:
                self._judge = load_judge(self._settings)
            return self._judge

    @suppress_output()
    def _attach(self, base: Drafter, adapter: Path, slot: str) -> Drafter:
        from peft import PeftModel

        shared = base.shared
        # The model's lock comes first: no drafter answers while its layers change (see LOAD_LOCK for the order).
        with shared.lock, LOAD_LOCK:
            if isinstance(shared.model, PeftModel):
                shared.model.load_adapter(str(adapter), adapter_name=slot)
            else:
                shared.model = attach_adapter(shared.model, adapter, slot)
            shared.model.eval()
        return replace(base, adapter=adapter.name, slot=slot)

    def _detach(self, slot: str) -> None:
        drafter = self._attached.pop(slot)
        with drafter.shared.lock:
            drafter.shared.model.delete_adapter(slot)


def _slot(adapter: Path) -> str:
    """The name of an adapter in memory: with a hash of its files, so that a folder that changed is attached anew."""
    files = sorted(path for path in adapter.iterdir() if path.suffix in (".safetensors", ".json"))
    content = stable_hash(adapter.name, *(hash_file(path) for path in files))
    return f"{adapter.name}-{content[:12]}"
