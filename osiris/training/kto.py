"""KTO: training on single replies, each good or bad, in the order of the dataset (Ethayarajh et al. 2024)."""

from typing import Any, TypedDict

from osiris.training.tokens import Row, assistant, user

NEEDS = ("at least one reply", "let more ideas be settled first")


class Judged(TypedDict):
    """A prompt, a reply to it, and whether it was good; a line of the unpaired JSONL."""

    prompt: str
    reply: str
    label: bool


def row(line: Judged) -> Row:
    """A line of the dataset as the trainer takes it."""
    return {"prompt": user(line["prompt"]), "completion": assistant(line["reply"]), "label": line["label"]}


def trainer(**given: Any) -> Any:
    """The trainer of TRL."""
    from trl import KTOTrainer

    return KTOTrainer(**given)
