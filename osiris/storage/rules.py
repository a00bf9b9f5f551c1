"""What may be done to an idea as it stands: each check raises `Conflict`, naming who did what, and when."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from osiris.core.errors import Conflict, NotFound, OsirisError
from osiris.core.ideas import ACCEPTED_STATUSES, FINAL_OUTCOMES, Status
from osiris.core.types import Row

IdeaChange = Callable[[Row], Row]
DECIDED_STATUSES = (*ACCEPTED_STATUSES, Status.REJECTED)
EDITABLE_COLUMNS = ("entry", "target", "stop", "confidence")
PRICE_NOT_TRADED = "the price given by hand did not trade when the trade was closed"
"""Why an idea stays open whose price to close at may be corrected."""


class DecisionRequest(NamedTuple):
    """A decision (a `feedback` row), and what it changes of the idea it is about."""

    decision: Row
    change: IdeaChange


@dataclass
class DecisionBatch:
    """Decisions taken one after the other on `ideas` (by id); `known` are the decisions of before, by key."""

    ideas: dict[str, Row]
    known_decisions: dict[str, Row]
    accepted: list[Row] = field(default_factory=list)

    def decide(self, decision: Row, change: IdeaChange) -> Row | OsirisError:
        """The idea as it then stands, or why the decision is refused; an accepted one is seen by the next."""
        try:
            return self._decide(decision, change)
        except OsirisError as error:
            return error

    def _decide(self, decision: Row, change: IdeaChange) -> Row:
        idea = self.ideas.get(decision["transaction_id"])
        if idea is None:
            raise idea_not_found(decision["transaction_id"])
        if earlier := self.known_decisions.get(decision["idempotency_key"]):
            check_same_decision(earlier, decision)
            return idea
        check_can_decide(idea)
        changes = change(idea)
        kept = decision | {"original": json.dumps({name: idea[name] for name in EDITABLE_COLUMNS})}
        self.accepted.append({"decision": kept, "changes": {"id": idea["id"], **changes}})
        self.known_decisions[decision["idempotency_key"]] = kept
        self.ideas[idea["id"]] = idea | changes
        return self.ideas[idea["id"]]


def check_can_decide(idea: Row) -> None:
    """Only a pending idea is decided on."""
    if idea["status"] != Status.PENDING:
        raise Conflict("a pending idea", describe_status(idea), "reload the table")
    if idea["outcome"] in FINAL_OUTCOMES:
        raise Conflict("an idea without an outcome", f"one that is a {idea['outcome']}", "it stands")


def check_can_undo(idea: Row, undone: Row) -> None:
    """Only the decision that stands is undone, by who made it, while nothing has come of it.

    `decision` has the `status`, `status_at` and `reviewer` of the decision to undo.
    """
    identity = ("status", "status_at", "reviewer")
    if idea["status"] not in DECIDED_STATUSES or any(idea[name] != undone[name] for name in identity):
        wanted = f"an idea {undone['status']} by {undone['reviewer']} at {undone['status_at']}"
        raise Conflict(wanted, describe_status(idea), "reload the table")
    if idea["outcome"] in FINAL_OUTCOMES or idea["exit_reason"]:
        raise Conflict("an idea whose outcome is open", f"one settled as {idea['outcome']}", "it stands")
    if idea["close_asked_at"] is not None:
        close_asked = f"one that {idea['close_asked_by']} asked to close at {idea['close_asked_at']}"
        raise Conflict("an idea nobody asked to close", close_asked, "the outcome logger will settle it")


def check_can_close(idea: Row, price: float | None, at: datetime) -> None:
    """Only an open trade is closed, after it began, and at one price, unless that did not trade: a slip of the pen."""
    if idea["status"] not in ACCEPTED_STATUSES or idea["outcome"] in FINAL_OUTCOMES or idea["exit_reason"]:
        actual = f"one {idea['status']}" + (f" with the outcome {idea['outcome']}" if idea["outcome"] else "")
        raise Conflict("an accepted idea without a final outcome", actual, "only an open trade can be closed by hand")
    if at < idea["status_at"]:
        raise Conflict(
            f"a moment after {idea['status_at']}, when it was accepted", str(at), "check --as-of or the clock"
        )
    close_asked = idea["close_asked_at"] is not None and idea["close_asked_price"] != price
    if close_asked and idea["open_reason"] != PRICE_NOT_TRADED:
        raise Conflict(
            "an idea that nobody asked to close",
            f"one asked to close by {idea['close_asked_by']} at {idea['close_asked_at']}",
            "the outcome logger will settle it; a price that did not trade can be corrected after it ran",
        )


def check_same_decision(earlier: Row, repeat: Row) -> None:
    """A repeat of an idempotency key says what it said before."""
    if any(earlier[name] != repeat[name] for name in ("transaction_id", "feedback_type", "feedback_content")):
        raise Conflict("a new idempotency key", "one already used for another decision", "send a fresh key")


def describe_status(idea: Row) -> str:
    """An idea's status, by whom and since when, as an error says it."""
    if idea["status"] == Status.PENDING:
        return "a pending one"
    return f"one {idea['status']} by {idea['reviewer'] or 'the review deadline'} at {idea['status_at']}"


def undo_changes(idea: Row, decisions: list[Row]) -> Row:
    """The columns of an idea whose decision is taken back; raises `Conflict` where an edit kept no drafted levels."""
    levels: Row = {}
    if idea["status"] == Status.EDITED:
        kept = [row["original"] for row in decisions if row["action"] == Status.EDITED and row["original"]]
        if not kept:
            raise Conflict("an edit that kept the drafted levels", "one of an older version", "it stands")
        levels = json.loads(kept[-1])
    unsettled = dict.fromkeys(("outcome", "open_reason", "ambiguous"))
    return {"status": "pending", "status_at": None, "reviewer": None, "shadow": True, **unsettled, **levels}


def idea_not_found(idea: str) -> NotFound:
    """The error for an id that no idea has."""
    return NotFound("the id of an idea", repr(idea), "list them with GET /advice")
