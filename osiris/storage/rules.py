"""The changes that the state of an idea allows. Each check raises `Conflict`, naming the earlier change."""

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
"""The `open_reason` of an idea whose requested close price may be corrected."""


class DecisionRequest(NamedTuple):
    """A decision (a `feedback` row) and the function that computes the changed columns of its idea."""

    decision: Row
    change: IdeaChange


@dataclass
class DecisionBatch:
    """Decisions that are made one after the other on `ideas` (by id); `known_decisions` are earlier ones, by key."""

    ideas: dict[str, Row]
    known_decisions: dict[str, Row]
    accepted: list[Row] = field(default_factory=list)

    def decide(self, decision: Row, change: IdeaChange) -> Row | OsirisError:
        """Return the changed idea, or the error that refuses the decision. The next decision sees the changed idea."""
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
        stored = decision | {"original": json.dumps({name: idea[name] for name in EDITABLE_COLUMNS})}
        self.accepted.append({"decision": stored, "changes": {"id": idea["id"], **changes}})
        self.known_decisions[decision["idempotency_key"]] = stored
        self.ideas[idea["id"]] = idea | changes
        return self.ideas[idea["id"]]


def check_can_decide(idea: Row) -> None:
    """Raise `Conflict` unless the idea is pending and has no final outcome."""
    if idea["status"] != Status.PENDING:
        raise Conflict("a pending idea", describe_status(idea), "reload the table")
    if idea["outcome"] in FINAL_OUTCOMES:
        raise Conflict("an idea without an outcome", f"one that is a {idea['outcome']}", "it stands")


def check_can_undo(idea: Row, undone: Row) -> None:
    """Raise `Conflict` unless the decision to undo is the current one and has had no effect yet.

    `undone` has the `status`, `status_at` and `reviewer` of the decision to undo; all three have to match, so that only
    its own reviewer can take it back. Effects are a final outcome, an exit, and a request to close the trade.
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
    """Raise `Conflict` unless the trade is open, began before `at`, and has no request to close at another price.

    A requested price that did not trade may be corrected, because it must have been a typing error.
    """
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
    """Raise `Conflict` if an idempotency key is used again for a different decision."""
    if any(earlier[name] != repeat[name] for name in ("transaction_id", "feedback_type", "feedback_content")):
        raise Conflict("a new idempotency key", "one already used for another decision", "send a fresh key")


def describe_status(idea: Row) -> str:
    """Return the status of an idea, its author and its time, as error messages say it."""
    if idea["status"] == Status.PENDING:
        return "a pending one"
    return f"one {idea['status']} by {idea['reviewer'] or 'the review deadline'} at {idea['status_at']}"


def undo_changes(idea: Row, decisions: list[Row]) -> Row:
    """Return the changes that take a decision back; raises `Conflict` if an edit did not keep the drafted levels."""
    levels: Row = {}
    if idea["status"] == Status.EDITED:
        originals = [row["original"] for row in decisions if row["action"] == Status.EDITED and row["original"]]
        if not originals:
            raise Conflict("an edit that kept the drafted levels", "one of an older version", "it stands")
        levels = json.loads(originals[-1])
    unsettled = dict.fromkeys(("outcome", "open_reason", "ambiguous"))
    return {"status": "pending", "status_at": None, "reviewer": None, "shadow": True, **unsettled, **levels}


def idea_not_found(idea: str) -> NotFound:
    """Return the error for an id that no idea has."""
    return NotFound("the id of an idea", repr(idea), "list them with GET /advice")
