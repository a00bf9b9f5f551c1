"""DPO: preference training on pairs of replies to one prompt; the parent as it was, else the base, is the reference."""

from typing import Any, TypedDict

from osiris.training.tokens import Row, assistant, user

NEEDS = ("at least one pair", "let more ideas be settled first")


class Pair(TypedDict):
    """A prompt with a reply to prefer over another one; a line of the preference JSONL."""

    prompt: str
    good_reply: str
    bad_reply: str


def row(line: Pair) -> Row:
    """A line of the dataset as the trainer takes it."""
    return {
        "prompt": user(line["prompt"]),
        "chosen": assistant(line["good_reply"]),
        "rejected": assistant(line["bad_reply"]),
    }


def trainer(**given: Any) -> Any:
    """The trainer of TRL."""
    from trl import DPOTrainer

    return DPOTrainer(**given)
