"""The methods by which an adapter is trained, and the one function that trains: from dataset lines to an adapter.

Each method expects its own kind of line, a JSON object of the dataset:

- SFT (supervised fine-tuning) imitates replies: `{prompt, reply}`. The loss counts on the reply alone. With the 4-bit
  base this is QLoRA.
- DPO (direct preference optimization) prefers one reply over another: `{prompt, good_reply, bad_reply}`. Its reference
  model is the parent adapter as it was, else the base.
- KTO (Ethayarajh et al. 2024) learns from single replies that were good or bad: `{prompt, reply, label}`. It needs no
  pairs, and takes the lines in the order of the dataset.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osiris.config.settings import Settings
from osiris.core.errors import TooLittleData
from osiris.training.distributed import train_distributed
from osiris.training.recipe import Method
from osiris.training.run import TrainingOptions, TrainResult, run_training
from osiris.training.tokens import ChatRow, to_assistant_message, to_user_message


@dataclass(frozen=True)
class TrainingMethod:
    """How one method reads a line of the dataset and makes its trainer.

    `requirement` and `remedy` are the words of the error for an empty dataset.
    """

    requirement: str
    remedy: str
    to_row: Callable[[Mapping[str, Any]], ChatRow]
    make_trainer: Callable[..., Any]


def to_sft_row(line: Mapping[str, Any]) -> ChatRow:
    """A line for SFT in the columns of its trainer."""
    return {"prompt": to_user_message(line["prompt"]), "completion": to_assistant_message(line["reply"])}


def to_dpo_row(line: Mapping[str, Any]) -> ChatRow:
    """A line for DPO in the columns of its trainer."""
    return {
        "prompt": to_user_message(line["prompt"]),
        "chosen": to_assistant_message(line["good_reply"]),
        "rejected": to_assistant_message(line["bad_reply"]),
    }


def to_kto_row(line: Mapping[str, Any]) -> ChatRow:
    """A line for KTO in the columns of its trainer."""
    return {
        "prompt": to_user_message(line["prompt"]),
        "completion": to_assistant_message(line["reply"]),
        "label": line["label"],
    }


# TRL is imported only when a trainer is made: the import takes seconds, and most commands train nothing.
def make_sft_trainer(**arguments: Any) -> Any:
    """The SFT trainer of TRL."""
    from trl import SFTTrainer

    return SFTTrainer(**arguments)


def make_dpo_trainer(**arguments: Any) -> Any:
    """The DPO trainer of TRL, which reads each prompt once."""
    from osiris.training.dpo_trainer import SharedPromptDPOTrainer

    return SharedPromptDPOTrainer(**arguments)


def make_kto_trainer(**arguments: Any) -> Any:
    """The KTO trainer of TRL."""
    from trl import KTOTrainer

    return KTOTrainer(**arguments)


TRAINING_METHODS: dict[Method, TrainingMethod] = {
    "sft": TrainingMethod("at least one example", "approve or edit ideas first", to_sft_row, make_sft_trainer),
    "dpo": TrainingMethod("at least one pair", "let more ideas be settled first", to_dpo_row, make_dpo_trainer),
    "kto": TrainingMethod("at least one reply", "let more ideas be settled first", to_kto_row, make_kto_trainer),
}


def train_adapter(settings: Settings, lines: Sequence[Mapping[str, Any]], options: TrainingOptions) -> TrainResult:
    """Train an adapter on `lines`, in the form of the recipe's method, and save it to the folder `options.out`.

    With a parent, that adapter is trained further; without one, a new adapter starts as the base. The same seed gives
    the same tensors. Raises `TooLittleData` for no lines, `BadInput` for a parent, tokenizer or recipe that does not
    fit, `TrainingDiverged` where loss or weights are not finite. Nothing is written after an error. With
    `training.accelerate`, several processes train together.
    """
    method = TRAINING_METHODS[options.recipe.method]
    if not lines:
        raise TooLittleData(method.requirement, "none", method.remedy)
    if settings.training.accelerate:
        return train_distributed(settings, lines, options, settings.workspace / settings.training.accelerate)
    return run_training(method.make_trainer, [method.to_row(line) for line in lines], settings, options)
