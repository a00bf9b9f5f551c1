"""DPO: preference training on pairs of replies to one prompt; the parent as it was, else the base, is the reference."""

from typing import Any, TypedDict

from osiris.training.tokens import ChatRow, to_assistant_message, to_user_message

DPO_REQUIREMENT = ("at least one pair", "let more ideas be settled first")


class DpoExample(TypedDict):
    """A prompt with a reply to prefer over another one; a line of the preference JSONL."""

    prompt: str
    good_reply: str
    bad_reply: str


def to_dpo_row(line: DpoExample) -> ChatRow:
    """A line of the dataset as the trainer takes it."""
    return {
        "prompt": to_user_message(line["prompt"]),
        "chosen": to_assistant_message(line["good_reply"]),
        "rejected": to_assistant_message(line["bad_reply"]),
    }


def make_dpo_trainer(**given: Any) -> Any:
    """The trainer of TRL."""
    from trl import DPOTrainer

    return DPOTrainer(**given)
