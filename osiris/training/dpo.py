"""DPO: preference training of an adapter on pairs of replies to one prompt, over a 4-bit base."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from osiris.errors import TooLittleData
from osiris.llm.loader import load_drafter
from osiris.settings import Settings
from osiris.training.recipe import Recipe
from osiris.training.run import (
    TrainResult,
    adapter_tensors,
    assistant,
    require_same_lora,
    require_same_tokens,
    run,
    user,
    workbench,
)


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
    began = time.perf_counter()
    if not pairs:
        raise TooLittleData("at least one pair", "none", "let more ideas be settled first")
    from datasets import Dataset
    from trl import DPOTrainer

    with workbench() as scratch:
        args = recipe.trainer_args(scratch, seed)
        drafter = load_drafter(settings, parent, trainable=True)
        replies = [(row["prompt"], row[side]) for row in pairs for side in ("good_reply", "bad_reply")]
        require_same_tokens(drafter.tokenizer, replies, args.max_length)
        if parent is not None:
            require_same_lora(drafter.model, recipe, parent)
        data = Dataset.from_list(
            [
                {
                    "prompt": user(row["prompt"]),
                    "chosen": assistant(row["good_reply"]),
                    "rejected": assistant(row["bad_reply"]),
                }
                for row in pairs
            ]
        )
        inherited = adapter_tensors(drafter.model) if parent is not None else None
        trainer = DPOTrainer(
            model=drafter.model,
            args=args,
            train_dataset=data,
            eval_dataset=data,
            processing_class=drafter.tokenizer,
            peft_config=recipe.lora_config() if parent is None else None,
        )
        reference = "parent" if "ref" in trainer.model.peft_config else "base"
        return run(trainer, out, len(pairs), began, inherited, reference, progress)
