"""KTO: training of an adapter on single replies, each good or bad, over a 4-bit base (Ethayarajh et al. 2024)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from osiris.errors import TooLittleData
from osiris.settings import Settings
from osiris.training.recipe import Recipe
from osiris.training.run import TrainResult, assistant, teach, user


class Judged(TypedDict):
    """A prompt, a reply to it, and whether it was good; a line of the unpaired JSONL."""

    prompt: str
    reply: str
    label: bool


def train_kto(
    settings: Settings,
    judged: Sequence[Judged],
    parent: Path | None,
    out: Path,
    recipe: Recipe,
    seed: int = 0,
    progress: bool = True,
) -> TrainResult:
    """Train an adapter towards the good replies and away from the bad ones and save it to the folder `out`.

    As `train_dpo`, on replies that need no partner; their order is that of the training.
    """
    if not judged:
        raise TooLittleData("at least one reply", "none", "let more ideas be settled first")
    rows = [
        {"prompt": user(row["prompt"]), "completion": assistant(row["reply"]), "label": row["label"]} for row in judged
    ]
    return teach(_trainer, rows, settings, parent, out, recipe, seed, progress)


def _trainer(**given: Any) -> Any:
    from trl import KTOTrainer

    return KTOTrainer(**given)
