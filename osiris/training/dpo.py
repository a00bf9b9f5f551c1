"""DPO: preference training of an adapter on pairs of replies to one prompt, over a 4-bit base."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from osiris.errors import TooLittleData
from osiris.settings import Settings
from osiris.training.recipe import Recipe
from osiris.training.run import TrainResult, assistant, teach, user


class Pair(TypedDict):
    """A prompt with a reply to prefer over another one; a line of the preference JSONL."""

    prompt: str
    good_reply: str
    bad_reply: str


def train_dpo(
    settings: Settings,
    pairs: Sequence[Pair],
    parent: Path | None,
    out: Path,
    recipe: Recipe,
    seed: int = 0,
    progress: bool = True,
) -> TrainResult:
    """Train an adapter to prefer the good replies and save it to the folder `out`.

    A `parent` adapter is continued, and as it was at the start it is the reference; without one the base is both. The
    same seed gives the same tensors. Raises `TooLittleData` for no pairs, `BadInput` for a parent, tokenizer or recipe
    that does not fit, `TrainingDiverged` when it is not finite; nothing is written then.
    """
    if not pairs:
        raise TooLittleData("at least one pair", "none", "let more ideas be settled first")
    rows = [
        {
            "prompt": user(pair["prompt"]),
            "chosen": assistant(pair["good_reply"]),
            "rejected": assistant(pair["bad_reply"]),
        }
        for pair in pairs
    ]
    return teach(_trainer, rows, settings, parent, out, recipe, seed, progress)


def _trainer(**given: Any) -> Any:
    from trl import DPOTrainer

    return DPOTrainer(**given)
