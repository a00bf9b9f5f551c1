"""The starter models: a drafter and a judge, small enough to be trained on two CPU cores in about two minutes.

They are stand-ins: they speak the format of a trade idea and of a score, know nothing about markets, and exist so that
the whole loop runs on any machine. The
real thing is `model.base = "microsoft/Phi-3-mini-4k-instruct"`, by the same code.
"""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from filelock import FileLock

from osiris.config.settings import Settings
from osiris.core.files import fsync_path
from osiris.core.ideas import REPLY_KEYS
from osiris.llm import prompts
from osiris.llm.starter_train import CHAT_TEMPLATE, build_tokenizer, train_starter
from osiris.llm.suppress_output import suppress_output

ModelKind = Literal["drafter", "judge"]
MODEL_KINDS: tuple[ModelKind, ...] = get_args(ModelKind)
HASHED_TEMPLATES = ("advise.jinja", "hermes.jinja", "snapshot.jinja")
PROMPTS_FOLDER = Path(prompts.__file__).parent
RECIPE_FILE = "recipe.json"


@dataclass(frozen=True)
class StarterRecipe:
    """Everything a starter depends on; raise `version` when the way it is taught changes in code."""

    kind: ModelKind
    seed: int = 0
    version: int = 3
    steps: int = 850
    batch: int = 16
    learning_rate: float = 3e-3
    beta2: float = 0.999
    prompt_weight: float = 0.1
    decision_weight: float = 4.0
    vocabulary: int = 640
    hidden: int = 128
    intermediate: int = 320
    layers: int = 2
    heads: int = 4
    positions: int = 1024
    initializer_range: float = 0.08
    threads: int = 1


RECIPE_OVERRIDES: dict[ModelKind, dict[str, float]] = {
    "drafter": {},
    "judge": {"steps": 1200, "batch": 8, "learning_rate": 2e-3, "beta2": 0.98, "prompt_weight": 0.01},
}
"""Where a kind is taught otherwise: a judge answers with one token, which prompts of 0.1 a token would drown."""


def starter_recipe(kind: ModelKind, seed: int = 0, **changes: float) -> StarterRecipe:
    """Return the recipe of a starter, with fields changed by name."""
    return StarterRecipe(kind, seed, **(RECIPE_OVERRIDES[kind] | changes))


def recipe_key(recipe: StarterRecipe, templates: Path = PROMPTS_FOLDER) -> str:
    """Return 16 hex digits over the recipe, the prompt templates, the chat template and the keys of a reply."""
    texts = [(templates / name).read_text(encoding="utf-8") for name in HASHED_TEMPLATES]
    parts = [asdict(recipe), texts, CHAT_TEMPLATE, REPLY_KEYS]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def ensure_starter(
    kind: ModelKind, settings: Settings, seed: int = 0, steps: int | None = None, progress: bool = True
) -> Path:
    """Return the folder of a starter model, building it first when the cache does not have it.

    The folder holds safetensors weights, the tokenizer and `recipe.json`; it appears complete or not at all, and of
    several processes that want it one builds. The build shows a progress bar on stderr unless `progress` is false.
    """
    recipe = starter_recipe(kind, seed) if steps is None else starter_recipe(kind, seed, steps=steps)
    return ensure_starter_folder(recipe, settings.model.cache, progress)


def ensure_starters(settings: Settings, seed: int = 0, progress: bool = True) -> dict[ModelKind, Path]:
    """Return the folders of both starters by kind, built side by side, a core each, where both are missing.

    Raises `CalledProcessError` when the build in the other process failed.
    """
    from rich.console import Console

    recipe = starter_recipe("judge", seed)
    cache = settings.model.cache
    if all(starter_folder(starter_recipe(kind, seed), cache).is_dir() for kind in MODEL_KINDS):
        return {kind: starter_folder(starter_recipe(kind, seed), cache) for kind in MODEL_KINDS}
    command = [sys.executable, "-m", __name__, json.dumps(asdict(recipe)), str(cache.expanduser())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as other:
        drafter = ensure_starter("drafter", settings, seed, progress=progress)
        with Console(stderr=True, quiet=not progress).status("waiting for the starter judge"):
            status = other.wait()
    if status:
        raise subprocess.CalledProcessError(status, command)
    return {"drafter": drafter, "judge": starter_folder(recipe, cache)}


def ensure_starter_folder(recipe: StarterRecipe, cache: Path, progress: bool = True) -> Path:
    """Return `cache/starter-<kind>-<key>`, building it first when it is not there."""
    folder = starter_folder(recipe, cache)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            _build(recipe, folder, progress)
    return folder


def starter_folder(recipe: StarterRecipe, cache: Path) -> Path:
    """Return where the starter of this recipe lies once it is built."""
    return cache.expanduser() / f"starter-{recipe.kind}-{recipe_key(recipe)}"


def _build(recipe: StarterRecipe, folder: Path, progress: bool) -> None:
    unfinished = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    tokenizer = build_tokenizer(recipe)
    model = _train_with_progress(recipe, tokenizer, progress)
    with suppress_output():
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    (unfinished / RECIPE_FILE).write_text(json.dumps(asdict(recipe), indent=2) + "\n", encoding="utf-8")
    _publish(unfinished, folder)


def _train_with_progress(recipe: StarterRecipe, tokenizer, progress: bool):
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("loss {task.fields[loss]:.3f}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task(f"building the starter {recipe.kind}", total=recipe.steps, loss=math.nan)
        return train_starter(recipe, tokenizer, lambda step, loss: bar.update(task, completed=step + 1, loss=loss))


def _publish(unfinished: Path, folder: Path) -> None:
    """Flush every file, then rename, so that a reader never sees half a model, not even after a power cut."""
    for path in sorted(unfinished.iterdir()):
        fsync_path(path)
    fsync_path(unfinished)
    unfinished.rename(folder)
    fsync_path(folder.parent)


if __name__ == "__main__":
    ensure_starter_folder(StarterRecipe(**json.loads(sys.argv[1])), Path(sys.argv[2]), progress=False)
