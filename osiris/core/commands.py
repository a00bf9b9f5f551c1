"""The requests of a client: the bodies of `POST /feedback/phi3/`, and of closing a trade or undoing a decision."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from osiris.core.errors import BadInput
from osiris.core.ideas import MAX_PERSON_NAME_CHARACTERS, SCHEMA_VERSION, Price, Status, parse_person_name


def _reject_number(value: object) -> object:
    numeric = isinstance(value, str) and value.strip().lstrip("+-").replace(".", "").isdigit()
    if numeric or isinstance(value, int | float):
        raise ValueError("expected ISO 8601 with an offset, not seconds or milliseconds since 1970")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_reject_number)]
"""A moment in ISO 8601 with an offset. A number is refused: it could mean seconds or milliseconds."""


def _as_person(value: str) -> str:
    try:
        return parse_person_name(value)
    except BadInput as error:
        raise ValueError(str(error)) from error


PersonName = Annotated[str, Field(min_length=1, max_length=MAX_PERSON_NAME_CHARACTERS), AfterValidator(_as_person)]
"""The name of a person: in Unicode form NFC, without space around it, without control characters."""


Confidence = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), AfterValidator(abs)]
"""A number from 0 to 1. JSON allows -0.0, and `abs` turns it into 0.0."""


class FeedbackType(StrEnum):
    """Kinds of `POST /feedback/phi3/`. The source document uses `human_edit` for all three actions."""

    APPROVAL = "approval"
    REJECTION = "rejection"
    HUMAN_EDIT = "human_edit"


class Feedback(BaseModel):
    """Body of `POST /feedback/phi3/`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transaction_id: Annotated[str, Field(min_length=1, max_length=64)]
    feedback_type: FeedbackType
    feedback_content: "FeedbackContent"
    timestamp: Moment
    schema_version: Literal["1.0"] = SCHEMA_VERSION

    @property
    def action(self) -> Status:
        """The status that this feedback asks for."""
        if self.feedback_type is not FeedbackType.HUMAN_EDIT:
            return Status.APPROVED if self.feedback_type is FeedbackType.APPROVAL else Status.REJECTED
        named = {"approve": Status.APPROVED, "reject": Status.REJECTED, "edit": Status.EDITED}
        return named[self.feedback_content.action or "edit"]

    @model_validator(mode="after")
    def _action_fits(self) -> "Feedback":
        content = self.feedback_content
        expected = {FeedbackType.APPROVAL: "approve", FeedbackType.REJECTION: "reject"}.get(self.feedback_type)
        if expected and content.action not in (None, expected):
            raise ValueError(f"feedback_type {self.feedback_type} does not fit action {content.action}")
        if self.action is not Status.EDITED and content.has_adjustments:
            raise ValueError("entry, target and stop can only be adjusted by an edit")
        if self.action is Status.EDITED and not (content.has_adjustments or content.confidence is not None):
            raise ValueError("an edit must change entry, target, stop or confidence")
        return self


class FeedbackContent(BaseModel):
    """The content of a decision: action, adjusted levels, confidence, comment. Numbers are JSON numbers, not text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    action: Literal["approve", "reject", "edit"] | None = None
    entry: Price | None = None
    target: Price | None = None
    stop: Price | None = None
    confidence: Confidence | None = None
    comment: Annotated[str, Field(max_length=2000)] = ""
    reviewer: PersonName = "anonymous"

    @property
    def has_adjustments(self) -> bool:
        """Whether the reviewer adjusts entry, target or stop."""
        return any(level is not None for level in (self.entry, self.target, self.stop))


class CloseRequest(BaseModel):
    """Body of `POST /advice/{id}/close`: the price at which the trade was closed, and the reviewer.

    Without a price, the trade is closed at the next price that trades.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    price: Price | None = None
    reviewer: PersonName = "anonymous"


class UndoRequest(BaseModel):
    """Body of `POST /advice/{id}/undo`: the decision to take back, with the values that the idea shows for it.

    `reviewer` is the person that made the decision: only that person can take it back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal[Status.APPROVED, Status.REJECTED, Status.EDITED]
    status_at: Moment
    reviewer: PersonName = "anonymous"
