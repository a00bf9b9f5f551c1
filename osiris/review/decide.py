"""A person's decision on one idea: checked, stored once, and final."""

import json
import math
from datetime import datetime, timedelta

from pydantic import ValidationError

from osiris.config.settings import Settings
from osiris.core.clock import as_utc
from osiris.core.commands import Feedback, UndoRequest
from osiris.core.errors import BadInput, Conflict
from osiris.core.ideas import ACCEPTED_STATUSES, MAX_LEVEL_ATR, SCHEMA_VERSION, Levels, Status
from osiris.core.types import Row
from osiris.storage.advice import AdviceStore

MIN_DISTANCE_ATR, MAX_DISTANCE_ATR = 0.05, MAX_LEVEL_ATR
LEVEL_TOLERANCE = 1e-6
"""Of stored prices, as a share of a distance: levels drafted at the farthest are not beyond it."""


def decide(advice: AdviceStore, feedback: Feedback, key: str, settings: Settings, now: datetime) -> Row:
    """Apply `feedback` under the idempotency `key` and return the idea as it then stands.

    A repeat under the same key changes nothing. Raises `NotFound` for an unknown idea, `BadInput` for levels that make
    no trade, `Conflict` when somebody decided before or the review deadline has passed.
    """

    def change(idea: Row) -> Row:
        levels = adjust_levels(idea, feedback)
        check_deadline(idea, settings, now)
        return _changes(feedback, levels, now)

    content = feedback.feedback_content
    payload = content.model_dump(mode="json", exclude_none=True)
    kind, action, sent_at = str(feedback.feedback_type), str(feedback.action), to_stored_time(feedback.timestamp)
    return advice.decide(
        _feedback_row(feedback.transaction_id, key, kind, action, payload, content.reviewer, sent_at, now), change
    )


def undo(advice: AdviceStore, idea: str, request: UndoRequest, key: str, now: datetime) -> Row:
    """Take back the decision `made` under the idempotency `key` and return the idea, pending again as it was drafted.

    The decision stays in the feedback, followed by this one. Raises `NotFound`, and `Conflict` unless it is the
    decision that stands, made by the same reviewer, and its outcome is open.
    """
    undone = {
        "status": str(request.status),
        "status_at": to_stored_time(request.status_at),
        "reviewer": request.reviewer,
    }
    payload = {"status": undone["status"], "status_at": undone["status_at"].isoformat()}
    return advice.undo(
        _feedback_row(idea, key, "undo", str(Status.PENDING), payload, request.reviewer, now, now), undone
    )


def adjust_levels(idea: Row, feedback: Feedback) -> Levels:
    """The idea's levels with the reviewer's adjustments; raises `BadInput` unless they make a sane trade."""
    content = feedback.feedback_content
    names = ("entry", "target", "stop")
    given = {name: getattr(content, name) for name in names if getattr(content, name) is not None}
    if feedback.action is not Status.EDITED:
        _check_confidence_stays(idea, content.confidence)
    elif content.confidence in (None, idea["confidence"]):
        _check_changed(idea, given)
    try:
        levels = Levels(side=idea["side"], **{name: idea[name] for name in names} | given)
    except ValidationError as error:
        raise BadInput(f"levels of a {idea['side']} idea", _message(error), "correct the levels") from error
    if given:
        _check_atr(idea)
    for name, level in given.items():
        if abs(level - idea["price"]) > MAX_DISTANCE_ATR * idea["atr"]:
            raise BadInput(
                f"{name} within {MAX_DISTANCE_ATR} ATR of the last price {idea['price']:g}",
                f"{level:g}, {abs(level - idea['price']) / idea['atr']:.1f} ATR away",
                "correct the level",
            )
    if given:
        _check_room(levels, idea["atr"])
    return levels


def _check_changed(idea: Row, given: dict[str, float]) -> None:
    """An edit that changes nothing would be a preference of an idea over itself."""
    if all(level == idea[name] for name, level in given.items()):
        raise BadInput("an edit that changes something", "the idea as it is", "change a number, or approve it")


def _check_atr(idea: Row) -> None:
    """Levels are measured in ATR: an idea without one is decided on as it is."""
    for name in ("price", "atr"):
        if not (isinstance(idea[name], int | float) and math.isfinite(idea[name]) and idea[name] > 0):
            raise BadInput(f"an idea with {name} above 0", repr(idea[name]), "approve or reject it as it is")


def _check_confidence_stays(idea: Row, confidence: float | None) -> None:
    """An adjustment that is asked for and not made would be a wrong number: it is an edit, or refused."""
    if confidence not in (None, idea["confidence"]):
        wanted = f"the confidence of an idea that is not edited to stay at {idea['confidence']:g}"
        raise BadInput(wanted, f"{confidence:g}", 'send it as an edit: feedback_type "human_edit", action "edit"')


def _check_room(levels: Levels, atr: float) -> None:
    """R divides by the distance to the stop: one that is next to nothing would outweigh all other trades.

    One that is farther than any reply may say could never be learned from.
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
    """Raise `Conflict` after the review deadline, `BadInput` before the idea existed."""
    if now < idea["as_of"]:
        raise BadInput(f"a decision after {idea['as_of'].isoformat()}", now.isoformat(), "check the clock")
    deadline = idea["as_of"] + timedelta(hours=settings.review.deadline_hours)
    if now >= deadline:
        raise Conflict(
            f"a decision before {deadline.isoformat()}", f"one at {now.isoformat()}", "the idea has expired; draft anew"
        )


def request_close(advice: AdviceStore, idea: str, price: float | None, by: str, now: datetime) -> Row:
    """Ask the outcome logger to close the trade of an accepted idea, at `price` (raw, in currency) or what trades next.

    A level that was reached before stands. Raises `NotFound`, `BadInput` for no price, `Conflict` as the store does.
    """
    if price is not None and not (math.isfinite(price) and price > 0):
        raise BadInput("a price above 0", repr(price), "give where the trade was closed")
    return advice.request_close(idea, now, price, by)


def to_stored_time(moment: datetime) -> datetime:
    """`moment` (aware) in UTC; raises `BadInput` for one at the edge of the calendar that UTC has no year for."""
    try:
        return as_utc(moment)
    except OverflowError as error:
        raise BadInput("a moment of the years 1 to 9999 in UTC", moment.isoformat(), "correct it") from error


def _message(error: ValidationError) -> str:
    return error.errors()[0]["msg"].removeprefix("Value error, ")


def _feedback_row(
    idea: str, key: str, kind: str, action: str, content: Row, reviewer: str, sent_at: datetime, now: datetime
) -> Row:
    return {
        "idempotency_key": key,
        "transaction_id": idea,
        "feedback_type": kind,
        "feedback_content": json.dumps(content, sort_keys=True),
        "action": action,
        "reviewer": reviewer,
        "schema_version": SCHEMA_VERSION,
        "timestamp": sent_at,
        "ts": now,
    }


def _changes(feedback: Feedback, levels: Levels, now: datetime) -> Row:
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
