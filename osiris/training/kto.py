"""KTO: training on single replies, each good or bad, in the order of the dataset (Ethayarajh et al. 2024)."""

from typing import Any, TypedDict

from osiris.training.tokens import ChatRow, to_assistant_message, to_user_message

KTO_REQUIREMENT = ("at least one reply", "let more ideas be settled first")


class KtoExample(TypedDict):
    """A prompt, a reply to it, and whether it was good; a line of the unpaired JSONL."""

    prompt: str
    reply: str
    label: bool


def to_kto_row(line: KtoExample) -> ChatRow:
    """A line of the dataset as the trainer takes it."""
    return {
        "prompt": to_user_message(line["prompt"]),
        "completion": to_assistant_message(line["reply"]),
        "label": line["label"],
    }


def make_kto_trainer(**given: Any) -> Any:
    """The trainer of TRL."""
    from trl import KTOTrainer

    return KTOTrainer(**given)
