"""Decide on ideas: check a person's decision, undo or request to close, and store it once."""

import json
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from osiris.config.settings import Settings
from osiris.core.clock import as_utc
from osiris.core.commands import Feedback, UndoRequest
from osiris.core.errors import BadInput, Conflict
from osiris.core.ideas import ACCEPTED_STATUSES, MAX_LEVEL_ATR, SCHEMA_VERSION, Levels, Status
from osiris.core.types import Row
from osiris.storage.advice import AdviceStore

MIN_DISTANCE_ATR = 0.05
MAX_DISTANCE_ATR = MAX_LEVEL_ATR
LEVEL_TOLERANCE = 1e-6
"""Stored prices are rounded. Levels drafted at the largest distance must not count as beyond it by this share."""


def decide(advice: AdviceStore, feedback: Feedback, key: str, settings: Settings, now: datetime) -> Row:
    """Apply `feedback` under the idempotency `key` and return the changed idea.

    A repeat under the same key changes nothing. Raises `NotFound` for an unknown idea, `BadInput` for levels that make
    no trade, and `Conflict` if another person decided before or the review deadline has passed.
    """

    def change(idea: Row) -> Row:
        levels = adjust_levels(idea, feedback)
        check_deadline(idea, settings, now)
        return _idea_changes(feedback, levels, now)

    content = feedback.feedback_content
    record = _FeedbackRecord(
        idea=feedback.transaction_id,
        kind=str(feedback.feedback_type),
        action=feedback.action,
        content=content.model_dump(mode="json", exclude_none=True),
        reviewer=content.reviewer,
        sent_at=to_stored_time(feedback.timestamp),
    )
    return advice.decide(_feedback_row(record, key, now), change)


def undo(advice: AdviceStore, idea: str, request: UndoRequest, key: str, now: datetime) -> Row:
    """Take back a decision under the idempotency `key` and return the idea, which is pending again as it was drafted.

    The feedback keeps the decision and adds the undo after it. Raises `NotFound` for an unknown idea. Raises `Conflict`
    unless the request names the current decision and its reviewer, and the outcome is open.
    """
    status = str(request.status)
    status_at = to_stored_time(request.status_at)
    undone = {"status": status, "status_at": status_at, "reviewer": request.reviewer}
    record = _FeedbackRecord(
        idea=idea,
        kind="undo",
        action=Status.PENDING,
        content={"status": status, "status_at": status_at.isoformat()},
        reviewer=request.reviewer,
        sent_at=now,
    )
    return advice.undo(_feedback_row(record, key, now), undone)


def adjust_levels(idea: Row, feedback: Feedback) -> Levels:
    """Return the idea's levels with the reviewer's adjustments; raises `BadInput` unless they make a sane trade."""
    content = feedback.feedback_content
    names = ("entry", "target", "stop")
    adjusted = {name: getattr(content, name) for name in names if getattr(content, name) is not None}
    if feedback.action is not Status.EDITED:
        _check_confidence_stays(idea, content.confidence)
    elif content.confidence in (None, idea["confidence"]):
        _check_changed(idea, adjusted)
    try:
        levels = Levels(side=idea["side"], **{name: idea[name] for name in names} | adjusted)
    except ValidationError as error:
        raise BadInput(f"levels of a {idea['side']} idea", _message(error), "correct the levels") from error
    if adjusted:
        _check_atr(idea)
    for name, level in adjusted.items():
        if abs(level - idea["price"]) > MAX_DISTANCE_ATR * idea["atr"]:
            raise BadInput(
                f"{name} within {MAX_DISTANCE_ATR} ATR of the last price {idea['price']:g}",
                f"{level:g}, {abs(level - idea['price']) / idea['atr']:.1f} ATR away",
                "correct the level",
            )
    if adjusted:
        _check_distances(levels, idea["atr"])
    return levels


def _check_changed(idea: Row, adjusted: dict[str, float]) -> None:
    """Refuse an edit that changes nothing: as a training pair it would prefer an idea to itself."""
    if all(level == idea[name] for name, level in adjusted.items()):
        raise BadInput("an edit that changes something", "the idea as it is", "change a number, or approve it")


def _check_atr(idea: Row) -> None:
    """Refuse to edit an idea without price or ATR, because distances of levels are measured in ATR."""
    for name in ("price", "atr"):
        if not (isinstance(idea[name], int | float) and math.isfinite(idea[name]) and idea[name] > 0):
            raise BadInput(f"an idea with {name} above 0", repr(idea[name]), "approve or reject it as it is")


def _check_confidence_stays(idea: Row, confidence: float | None) -> None:
    """Refuse a changed confidence outside of an edit: it would be dropped, and the stored number would be wrong."""
    if confidence not in (None, idea["confidence"]):
        wanted = f"the confidence of an idea that is not edited to stay at {idea['confidence']:g}"
        raise BadInput(wanted, f"{confidence:g}", 'send it as an edit: feedback_type "human_edit", action "edit"')


def _check_distances(levels: Levels, atr: float) -> None:
    """Refuse target or stop too near to the entry or too far from it.

    R divides by the distance to the stop: with a tiny distance, one trade would outweigh all other trades. A level
    beyond the largest distance of a reply cannot be written as a reply, so the model could never learn from it.
    """
    for name in ("target", "stop"):
        distance = abs(getattr(levels, name) - levels.entry) / atr
        if distance > MAX_DISTANCE_ATR * (1 + LEVEL_TOLERANCE):
            wanted = f"{name} within {MAX_DISTANCE_ATR} ATR of the entry {levels.entry:g}"
            raise BadInput(wanted, f"{distance:.1f} ATR", "correct the levels")
        if distance < MIN_DISTANCE_ATR:
            wanted = f"{name} at least {MIN_DISTANCE_ATR} ATR from the entry {levels.entry:g}"
            raise BadInput(wanted, f"{distance:.2g} ATR", "correct the level")


def check_deadline(idea: Row, settings: Settings, now: datetime) -> None:
    """Raise `Conflict` if the review deadline has passed, and `BadInput` if `now` is before the idea existed."""
    if now < idea["as_of"]:
        raise BadInput(f"a decision after {idea['as_of'].isoformat()}", now.isoformat(), "check the clock")
    deadline = idea["as_of"] + timedelta(hours=settings.review.deadline_hours)
    if now >= deadline:
        raise Conflict(
            f"a decision before {deadline.isoformat()}", f"one at {now.isoformat()}", "the idea has expired; draft anew"
        )


def request_close(advice: AdviceStore, idea: str, price: float | None, by: str, now: datetime) -> Row:
    """Ask the outcome logger to close the trade of an accepted idea.

    The trade is closed at `price` (raw, in currency), or without one at the next price that trades. If target or stop
    was reached before, that exit counts. Raises `NotFound` for an unknown idea, `BadInput` for a price that is not
    above 0, and `Conflict` as `AdviceStore.request_close` does.
    """
    if price is not None and not (math.isfinite(price) and price > 0):
        raise BadInput("a price above 0", repr(price), "give where the trade was closed")
    return advice.request_close(idea, now, price, by)


def to_stored_time(moment: datetime) -> datetime:
    """Return `moment` (aware) in UTC; raises `BadInput` if it lies outside of the years 1 to 9999 there."""
    try:
        return as_utc(moment)
    except OverflowError as error:
        raise BadInput("a moment of the years 1 to 9999 in UTC", moment.isoformat(), "correct it") from error


def _message(error: ValidationError) -> str:
    """Return the message of the first problem."""
    return error.errors()[0]["msg"].removeprefix("Value error, ")


@dataclass(frozen=True)
class _FeedbackRecord:
    """A decision or undo by a person, as a row of `feedback` stores it. `content` becomes JSON."""

    idea: str
    kind: str
    action: Status
    content: Row
    reviewer: str
    sent_at: datetime


def _feedback_row(record: _FeedbackRecord, key: str, now: datetime) -> Row:
    """The row of `feedback` for `record`, stored at `now` under the idempotency `key`."""
    return {
        "idempotency_key": key,
        "transaction_id": record.idea,
        "feedback_type": record.kind,
        "feedback_content": json.dumps(record.content, sort_keys=True),
        "action": str(record.action),
        "reviewer": record.reviewer,
        "schema_version": SCHEMA_VERSION,
        "timestamp": record.sent_at,
        "ts": now,
    }


def _idea_changes(feedback: Feedback, levels: Levels, now: datetime) -> Row:
    """Return the columns of the idea that the decision changes."""
    changes: Row = {
        "status": str(feedback.action),
        "status_at": now,
        "reviewer": feedback.feedback_content.reviewer,
        "shadow": feedback.action not in ACCEPTED_STATUSES,
    }
    if feedback.action is Status.EDITED:
        changes |= {"entry": levels.entry, "target": levels.target, "stop": levels.stop}
        if feedback.feedback_content.confidence is not None:
            changes["confidence"] = feedback.feedback_content.confidence
    return changes
