"""An edit as it is typed, checked at every key stroke by the rules of the server."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from osiris.core.commands import Feedback, FeedbackType
from osiris.core.errors import BadInput
from osiris.review.decide import adjusted_levels

Idea = dict[str, Any]
NUMBERS = ("entry", "target", "stop", "confidence")


@dataclass(frozen=True)
class Checked:
    """What an edit comes to: the content to send where it is `ok`, and a line that says so or what is wrong."""

    ok: bool
    message: str
    content: dict[str, Any] = field(default_factory=dict)


def typed_from(idea: Idea) -> dict[str, str]:
    """The fields of an edit as they begin: the idea's numbers, no comment."""
    return {name: f"{idea[name]:.10g}" for name in NUMBERS} | {"comment": ""}


def check(idea: Idea, typed: dict[str, str]) -> Checked:
    """Check the texts of the fields against `idea`; only what was changed is sent."""
    content: dict[str, Any] = {}
    began = typed_from(idea)
    for name in NUMBERS:
        text = str(typed.get(name, "")).strip()
        if text == began[name]:
            continue
        try:
            content[name] = float(text.replace("−", "-"))
        except ValueError:
            return Checked(False, f"{name}: expected a number such as {began[name]}")
    comment = str(typed.get("comment", ""))
    content |= {"comment": comment} if comment else {}
    return _judged(idea, content)


def _judged(idea: Idea, content: dict[str, Any]) -> Checked:
    body = {
        "transaction_id": idea["id"],
        "feedback_type": FeedbackType.HUMAN_EDIT,
        "feedback_content": content,
        "timestamp": idea["as_of"],
    }
    try:
        levels = adjusted_levels(idea, Feedback.model_validate(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"][-1] if first["loc"] else "edit"
        return Checked(False, f"{where}: {first['msg']}".replace("Value error, ", ""))
    except BadInput as error:
        return Checked(False, str(error))
    moved = [
        f"{name} {abs(getattr(levels, name) - levels.entry) / idea['atr']:.1f} ATR away" for name in ("target", "stop")
    ]
    return Checked(True, f"reward to risk {levels.reward_to_risk:.2f}, {', '.join(moved)}", content)
