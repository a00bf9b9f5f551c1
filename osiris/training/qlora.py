"""QLoRA: supervised fine-tuning of an adapter on replies that people approved or edited, over a 4-bit base."""

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
    began = time.perf_counter()
    if not examples:
        raise TooLittleData("at least one example", "none", "approve or edit ideas first")
    from datasets import Dataset
    from trl import SFTTrainer

    with workbench() as scratch:
        args = recipe.trainer_args(scratch, seed)
        drafter = load_drafter(settings, parent, trainable=True)
        require_same_tokens(drafter.tokenizer, [(row["prompt"], row["reply"]) for row in examples], args.max_length)
        if parent is not None:
            require_same_lora(drafter.model, recipe, parent)
        data = Dataset.from_list(
            [{"prompt": user(row["prompt"]), "completion": assistant(row["reply"])} for row in examples]
        )
        inherited = adapter_tensors(drafter.model) if parent is not None else None
        trainer = SFTTrainer(
            model=drafter.model,
            args=args,
            train_dataset=data,
            eval_dataset=data,
            processing_class=drafter.tokenizer,
            peft_config=recipe.lora_config() if parent is None else None,
        )
        return run(trainer, out, len(examples), began, inherited, "none", progress)
