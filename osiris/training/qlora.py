"""QLoRA: supervised fine-tuning of an adapter on replies that people approved or edited, over a 4-bit base."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from osiris.errors import TooLittleData
from osiris.settings import Settings
from osiris.training.recipe import Recipe
from osiris.training.run import TrainResult, assistant, teach, user


class Example(TypedDict):
    """A prompt and the reply to learn."""

    prompt: str
    reply: str


def train_qlora(
    settings: Settings,
    examples: Sequence[Example],
    parent: Path | None,
    out: Path,
    recipe: Recipe,
    seed: int = 0,
    progress: bool = True,
) -> TrainResult:
    """Train an adapter on `examples` (the loss counts on replies alone) and save it to the folder `out`.

    A `parent` adapter is continued; without one a new adapter starts as the base. The same seed gives the same tensors.
    Raises `TooLittleData` for no examples, `BadInput` for a parent, tokenizer or recipe that does not fit,
    `TrainingDiverged` when it is not finite; nothing is written then.
    """
    if not examples:
        raise TooLittleData("at least one example", "none", "approve or edit ideas first")
    rows = [{"prompt": user(row["prompt"]), "completion": assistant(row["reply"])} for row in examples]
    return teach(_trainer, rows, settings, parent, out, recipe, seed, progress)


def _trainer(**given: Any) -> Any:
    from trl import SFTTrainer

    return SFTTrainer(**given)
