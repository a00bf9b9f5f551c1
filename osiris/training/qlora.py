"""QLoRA: supervised fine-tuning on replies that people approved or edited; the loss counts on replies alone."""

from typing import Any, TypedDict

from osiris.training.tokens import ChatRow, to_assistant_message, to_user_message

SFT_REQUIREMENT = ("at least one example", "approve or edit ideas first")


class SftExample(TypedDict):
    """A prompt and the reply to learn."""

    prompt: str
    reply: str


def to_sft_row(line: SftExample) -> ChatRow:
    """A line of the dataset as the trainer takes it."""
    return {"prompt": to_user_message(line["prompt"]), "completion": to_assistant_message(line["reply"])}


def make_sft_trainer(**given: Any) -> Any:
    """The trainer of TRL."""
    from trl import SFTTrainer

    return SFTTrainer(**given)
