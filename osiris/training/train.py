"""Training by whatever method the recipe names: from the lines of a dataset to an adapter over a 4-bit base."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from osiris.config.settings import Settings
from osiris.core.errors import TooLittleData
from osiris.training import dpo, kto, qlora
from osiris.training.recipe import Method, Recipe
from osiris.training.run import TrainResult, run_training

TRAINING_METHODS: dict[Method, ModuleType] = {"sft": qlora, "dpo": dpo, "kto": kto}


def train_adapter(
    settings: Settings,
    lines: Sequence[Mapping[str, Any]],
    parent: Path | None,
    out: Path,
    recipe: Recipe,
    seed: int = 0,
    progress: bool = True,
) -> TrainResult:
    """Train an adapter on `lines`, in the form of the recipe's method, and save it to the folder `out`.

    A `parent` adapter is continued; without one a new adapter starts as the base. The same seed gives the same tensors.
    Raises `TooLittleData` for no lines, `BadInput` for a parent, tokenizer or recipe that does not fit,
    `TrainingDiverged` when it is not finite; nothing is written then.
    """
    method = TRAINING_METHODS[recipe.method]
    if not lines:
        needed, remedy = method.NEEDS
        raise TooLittleData(needed, "none", remedy)
    return run_training(
        method.trainer, [method.row(line) for line in lines], settings, parent, out, recipe, seed, progress
    )
