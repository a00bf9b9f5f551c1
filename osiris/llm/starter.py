"""The starter models: a drafter and a judge, small enough to be trained on two CPU cores in about two minutes.

They are stand-ins, so that the whole loop runs on any machine. They write the format of a trade idea and of a score,
and know nothing about markets. `model.base = "microsoft/Phi-3-mini-4k-instruct"` uses a full model with the same code.
"""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from osiris.config.settings import Settings
from osiris.core.files import make_once, publish_folder
from osiris.llm.starter_recipe import MODEL_KINDS, ModelKind, StarterRecipe, recipe_key, starter_recipe
from osiris.llm.starter_train import build_tokenizer, train_starter
from osiris.llm.suppress_output import suppress_output

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

RECIPE_FILE = "recipe.json"


def ensure_starter(
    kind: ModelKind, settings: Settings, seed: int = 0, steps: int | None = None, progress: bool = True
) -> Path:
    """Return the folder of a starter model, building it first when the cache does not have it.

    The folder holds safetensors weights, the tokenizer and `recipe.json`. It appears complete or not at all. If several
    processes want it, one builds it and the rest wait. The build shows a progress bar on stderr, unless `progress` is
    false.
    """
    recipe = starter_recipe(kind, seed) if steps is None else starter_recipe(kind, seed, steps=steps)
    return ensure_starter_folder(recipe, settings.model.cache, progress)


def ensure_starters(settings: Settings, seed: int = 0, progress: bool = True) -> dict[ModelKind, Path]:
    """Return the folders of both starters by kind. Missing ones are built at the same time, each on its own core.

    Raises `CalledProcessError` when the build in the other process failed.
    """
    from rich.console import Console

    recipe = starter_recipe("judge", seed)
    cache = settings.model.cache
    if all(starter_folder(starter_recipe(kind, seed), cache).is_dir() for kind in MODEL_KINDS):
        return {kind: starter_folder(starter_recipe(kind, seed), cache) for kind in MODEL_KINDS}
    command = [sys.executable, "-m", __name__, json.dumps(asdict(recipe)), str(cache.expanduser())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as judge_build:
        drafter = ensure_starter("drafter", settings, seed, progress=progress)
        with Console(stderr=True, quiet=not progress).status("waiting for the starter judge"):
            status = judge_build.wait()
    if status:
        raise subprocess.CalledProcessError(status, command)
    return {"drafter": drafter, "judge": starter_folder(recipe, cache)}


def ensure_starter_folder(recipe: StarterRecipe, cache: Path, progress: bool = True) -> Path:
    """Return `cache/starter-<kind>-<key>`, building it first when it is not there."""
    folder = starter_folder(recipe, cache)
    return make_once(folder, lambda: _build(recipe, folder, progress))


def starter_folder(recipe: StarterRecipe, cache: Path) -> Path:
    """Return the folder of the starter of this recipe, whether or not it is built yet."""
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
    publish_folder(unfinished, folder)


def _train_with_progress(
    recipe: StarterRecipe, tokenizer: "PreTrainedTokenizerFast", progress: bool
) -> "PreTrainedModel":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("loss {task.fields[loss]:.3f}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task(f"building the starter {recipe.kind}", total=recipe.steps, loss=math.nan)
        return train_starter(recipe, tokenizer, lambda step, loss: bar.update(task, completed=step + 1, loss=loss))


if __name__ == "__main__":
    ensure_starter_folder(StarterRecipe(**json.loads(sys.argv[1])), Path(sys.argv[2]), progress=False)
