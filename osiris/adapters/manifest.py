"""The contents of a published adapter folder, and the check that they did not change since.

The check finds flipped bytes, missing, extra or renamed tensors and files, NaN, absurd scaling, another base, symlinks,
pickles, and a folder copied under another name. It does not find an adapter that was trained to misbehave. Nor does it
find a changed file whose manifest was changed with it, if the shapes are still sound. The probe and the gate test
behaviour.
"""

import hashlib
import json
import math
import os
import stat
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from osiris.core.errors import AdapterRejected
from osiris.core.files import fsync_path

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
CARD_FILE = "card.json"
MANIFEST_FILE = "manifest.json"
HASHED_FILES = frozenset({WEIGHTS_FILE, CONFIG_FILE, CARD_FILE})
MAX_SCALE = 16.0
"""Largest scaling of an adapter: alpha/r, or alpha/sqrt(r) with rsLoRA. The recipes of this repository use 2."""
Initialization: TypeAlias = Literal[True, "gaussian"]
"""How an adapter's weights may begin (peft's `init_lora_weights`); all other ways rewrite the base, or need data."""
ALLOWED_INITIALIZATIONS = get_args(Initialization)
ALLOWED_CONFIG_KEYS = frozenset(
    {
        "peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "exclude_modules",
        "layers_to_transform", "layers_pattern", "fan_in_fan_out", "inference_mode", "init_lora_weights",
        "auto_mapping", "base_model_name_or_path", "peft_version", "revision", "megatron_core", "qalora_group_size",
    }
)  # fmt: skip
"""Keys of an adapter's config that may have any value; every other part of LoRA has to be off."""
DISABLED_VALUES: tuple[Any, ...] = (None, False, "none", {}, [])
"""Values of a key of the config under which its part of LoRA is off."""
MAX_JSON_BYTES = 1 << 22
"""Largest size of an adapter's JSON file (4 MiB), so that a hostile file cannot fill the memory."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Card(BaseModel):
    """Where an adapter came from; further keys (metrics, history) are kept as they are.

    `trained_until` is the latest moment of any prompt or outcome that the adapter or an ancestor was trained on.
    `failed` is the reason why its training failed, else empty. A failed adapter is never served. `prompt_versions` are
    those of the prompts that it was trained on, with commas, and `weights` how the weights of its base were kept.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    parent: str | None
    data_hash: str
    recipe: str
    recipe_hash: str
    base_hash: str
    as_of: AwareDatetime
    trained_until: AwareDatetime | None = None
    failed: str = ""
    prompt_versions: str = ""
    weights: str = ""

    @property
    def knowledge_cutoff(self) -> datetime:
        """`trained_until`, or the moment of the training where the card has no such entry."""
        return self.trained_until or self.as_of


class Manifest(BaseModel):
    """The contents of `manifest.json`: sha256 of each file, shape of each tensor, hash of the base weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    base_hash: str
    files: dict[str, Sha256]
    tensors: dict[str, list[int]]


def write_manifest(folder: Path, name: str, card: Card) -> None:
    """Write `card.json` and `manifest.json` into a folder that holds weights and config, and fsync all four files."""
    (folder / CARD_FILE).write_text(card.model_dump_json(indent=1), encoding="utf-8")
    manifest = Manifest(
        name=name,
        base_hash=card.base_hash,
        files={file: _sha256(folder / file) for file in sorted(HASHED_FILES)},
        tensors={key: list(value.shape) for key, value in sorted(_load_tensors(folder / WEIGHTS_FILE).items())},
    )
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    for file in (*HASHED_FILES, MANIFEST_FILE):
        fsync_path(folder / file)


def validate_adapter(folder: Path, name: str, base_hash: str) -> Card:
    """Return the card of a sound adapter folder; raises `AdapterRejected` with the first defect found."""
    _require_regular_files(folder)
    manifest = read_adapter_json(Manifest, folder / MANIFEST_FILE)
    if manifest.name != name:
        raise adapter_rejection(folder, f"a manifest for {name}", f"one for {manifest.name}")
    if set(manifest.files) != HASHED_FILES:
        raise adapter_rejection(
            folder, f"hashes of {', '.join(sorted(HASHED_FILES))}", f"hashes of {', '.join(sorted(manifest.files))}"
        )
    for file, digest in sorted(manifest.files.items()):
        if _sha256(folder / file) != digest:
            raise adapter_rejection(folder, f"{file} with sha256 {digest[:12]}", "other bytes")
    card = read_adapter_json(Card, folder / CARD_FILE)
    if {manifest.base_hash, card.base_hash} != {base_hash}:
        raise adapter_rejection(folder, f"base weights {base_hash[:12]}", f"an adapter of {manifest.base_hash[:12]}")
    rank = _checked_rank(folder)
    _check_tensors(folder, manifest.tensors, rank)
    return card


def adapter_rejection(folder: Path, expected: str, actual: str) -> AdapterRejected:
    """The error for an adapter that must not be served."""
    return AdapterRejected(
        f"{expected} in adapter {folder.name}",
        actual,
        "the newest sound adapter before it is served; train this one anew",
    )


def _require_regular_files(folder: Path) -> None:
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise adapter_rejection(folder, "a folder", "something else (a link or a file)")
        kinds = {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in os.scandir(folder)}
    except FileNotFoundError as error:
        raise adapter_rejection(folder, "a folder", "nothing") from error
    if extra := sorted(set(kinds) - HASHED_FILES - {MANIFEST_FILE}):
        raise adapter_rejection(folder, "no other files", f"also {', '.join(extra)}")
    if missing := sorted((HASHED_FILES | {MANIFEST_FILE}) - set(kinds)):
        raise adapter_rejection(folder, "all files", f"none called {', '.join(missing)}")
    if odd := sorted(name for name, mode in kinds.items() if not stat.S_ISREG(mode)):
        raise adapter_rejection(folder, "regular files only", f"{', '.join(odd)}, which is a link or a device")


def read_adapter_json(model: type[Any], path: Path) -> Any:
    """Read a file of an adapter's folder as a `Card` or a `Manifest`; raises `AdapterRejected`."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise adapter_rejection(
            path.parent, f"a {path.name} of at most {MAX_JSON_BYTES} bytes", f"{path.stat().st_size}"
        )
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise adapter_rejection(path.parent, f"a readable {path.name}", error.errors()[0]["msg"]) from error


def scaling(rank: int, alpha: float, rslora: bool) -> float:
    """The factor by which LoRA multiplies the product of its two matrices."""
    return alpha / (math.sqrt(rank) if rslora else rank)


def _checked_rank(folder: Path) -> int:
    try:
        config = json.loads((folder / CONFIG_FILE).read_bytes())
        kind, rank, alpha = config["peft_type"], config["r"], config["lora_alpha"]
        scale = scaling(rank, alpha, bool(config.get("use_rslora")))
        further = sorted(
            key for key, value in config.items() if key not in ALLOWED_CONFIG_KEYS and value not in DISABLED_VALUES
        )
    except (ValueError, KeyError, TypeError, ZeroDivisionError, AttributeError, RecursionError) as error:
        raise adapter_rejection(folder, f"a LoRA config with r and lora_alpha in {CONFIG_FILE}", repr(error)) from error
    start = config.get("init_lora_weights", True)
    if kind != "LORA" or further:
        raise adapter_rejection(folder, "plain LoRA of one rank", f"{kind} with further parts: {', '.join(further)}")
    if start is not False and start not in ALLOWED_INITIALIZATIONS:
        raise adapter_rejection(folder, "an adapter that leaves its base as it is", f"init_lora_weights {start!r}")
    if not (isinstance(rank, int) and rank > 0 and 0 < scale <= MAX_SCALE):
        raise adapter_rejection(folder, f"a scaling alpha/r in (0, {MAX_SCALE:g}]", f"alpha {alpha} and r {rank}")
    return rank


def _check_tensors(folder: Path, listed: dict[str, list[int]], rank: int) -> None:
    import numpy as np

    tensors = _load_tensors(folder / WEIGHTS_FILE)
    shapes = {key: list(value.shape) for key, value in tensors.items()}
    if not shapes or shapes != listed:
        differing = sorted(key for key in shapes.keys() | listed.keys() if shapes.get(key) != listed.get(key))
        raise adapter_rejection(folder, "the tensors of the manifest", f"others, first {differing[:1]}")
    # LoRA adds B @ A to a weight: A has shape (rank, in), B has shape (out, rank), and each needs the other
    for key, shape in shapes.items():
        stem, _, half = key.removesuffix(".weight").rpartition(".")
        ranked = {"lora_A": shape[:1], "lora_B": shape[-1:]}.get(half)
        if len(shape) != 2 or ranked != [rank] or not {f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"} <= set(shapes):
            raise adapter_rejection(
                folder, f"pairs lora_A (r, in), lora_B (out, r) with r {rank}", f"{key} of shape {shape}"
            )
    for key, value in tensors.items():
        if value.dtype.kind != "f" or not np.isfinite(value).all():
            raise adapter_rejection(
                folder, "finite floating point weights", f"{key} with NaN, infinity or {value.dtype}"
            )


def _load_tensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, KeyError) as error:
        raise adapter_rejection(path.parent, "weights in safetensors format", str(error)) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
