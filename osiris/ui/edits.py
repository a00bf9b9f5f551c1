"""An edit of an idea, checked at every key stroke by the rules of the server."""

from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from osiris.core.commands import Feedback, FeedbackType
from osiris.core.errors import BadInput
from osiris.core.types import Row
from osiris.review.decide import adjust_levels

NUMBER_FIELDS = ("entry", "target", "stop", "confidence")


@dataclass(frozen=True)
class EditCheck:
    """The result of checking an edit: the content to send if it is `ok`, and a line for the person.

    The line describes the resulting trade, or it says what is wrong.
    """

    ok: bool
    message: str
    content: dict[str, Any] = field(default_factory=dict)


def initial_fields(idea: Row) -> dict[str, str]:
    """Return the first texts of the form's fields: the idea's numbers, and no comment."""
    return {name: f"{idea[name]:.10g}" for name in NUMBER_FIELDS} | {"comment": ""}


def check_edit(idea: Row, typed: dict[str, str]) -> EditCheck:
    """Check the texts of the fields against `idea`; only changed fields are sent."""
    content: dict[str, Any] = {}
    initial = initial_fields(idea)
    for name in NUMBER_FIELDS:
        text = str(typed.get(name, "")).strip()
        if text == initial[name]:
            continue
        try:
            content[name] = float(text.replace("−", "-"))
        except ValueError:
            return EditCheck(False, f"{name}: expected a number such as {initial[name]}")
    comment = str(typed.get("comment", ""))
    content |= {"comment": comment} if comment else {}
    return _check_levels(idea, content)


def _check_levels(idea: Row, content: dict[str, Any]) -> EditCheck:
    body = {
        "transaction_id": idea["id"],
        "feedback_type": FeedbackType.HUMAN_EDIT,
        "feedback_content": content,
        "timestamp": idea["as_of"],
    }
    try:
        levels = adjust_levels(idea, Feedback.model_validate(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"][-1] if first["loc"] else "edit"
        return EditCheck(False, f"{where}: {first['msg']}".replace("Value error, ", ""))
    except BadInput as error:
        return EditCheck(False, str(error))
    distances = [
        f"{name} {abs(getattr(levels, name) - levels.entry) / idea['atr']:.1f} ATR away" for name in ("target", "stop")
    ]
    return EditCheck(True, f"reward to risk {levels.reward_to_risk:.2f}, {', '.join(distances)}", content)
