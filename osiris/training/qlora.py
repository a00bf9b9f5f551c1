"""QLoRA: supervised fine-tuning on replies that people approved or edited; the loss counts on replies alone."""

from typing import Any, TypedDict

from osiris.training.tokens import Row, assistant, user

NEEDS = ("at least one example", "approve or edit ideas first")


class Example(TypedDict):
    """A prompt and the reply to learn."""

    prompt: str
    reply: str


def row(line: Example) -> Row:
    """A line of the dataset as the trainer takes it."""
    return {"prompt": user(line["prompt"]), "completion": assistant(line["reply"])}


def trainer(**given: Any) -> Any:
    """The trainer of TRL."""
    from trl import SFTTrainer

    return SFTTrainer(**given)
