"""The responses about ideas: their fields, for the OpenAPI description, and their encoding as JSON."""

from typing import Any

import orjson
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field, create_model

from osiris.core.schemas import advice_schema
from osiris.review.queries import CLIENT_COLUMNS

EXAMPLE_ID = "3f1c8f2e6f0d4b5a9c7e1d2a3b4c5d6e"
EDIT_EXAMPLE = {
    "transaction_id": EXAMPLE_ID,
    "feedback_type": "human_edit",
    "feedback_content": {"reviewer": "ann", "target": 108.5, "confidence": 0.7, "comment": "room to the last high"},
    "timestamp": "2026-11-25T15:04:05Z",
    "schema_version": "1.0",
}
APPROVAL_EXAMPLE = EDIT_EXAMPLE | {"feedback_type": "approval", "feedback_content": {"reviewer": "ann"}}
REJECTION_EXAMPLE = EDIT_EXAMPLE | {
    "feedback_type": "rejection",
    "feedback_content": {"reviewer": "ann", "comment": "earnings tomorrow"},
}
FEEDBACK_EXAMPLES: dict[str, Any] = {
    "approve": {"summary": "Approve an idea", "value": APPROVAL_EXAMPLE},
    "reject": {"summary": "Reject it, with the reason", "value": REJECTION_EXAMPLE},
    "edit": {"summary": "Accept it with another target", "value": EDIT_EXAMPLE},
}
CLOSE_EXAMPLES: dict[str, Any] = {
    "at a price": {"value": {"price": 101.5, "reviewer": "ann"}},
    "at what trades next": {"value": {"reviewer": "ann"}},
}
UNDO_EXAMPLES: dict[str, Any] = {
    "the approval": {"value": {"status": "approved", "status_at": "2026-11-25T15:04:05.123456Z", "reviewer": "ann"}}
}


def _python_type(kind: Any) -> Any:
    """Return the Python type of an Arrow type as JSON has it; moments are text."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return str
    if pa.types.is_boolean(kind):
        return bool
    return int if pa.types.is_integer(kind) else float if pa.types.is_floating(kind) else str


def _field(name: str) -> Any:
    """Return the field of a pydantic model for a column of the advice table."""
    field = advice_schema().field(name)
    kind = _python_type(field.type)
    return (kind | None, ...) if field.nullable else (kind, ...)


Idea = create_model("Idea", __doc__="An idea in its current state.", **{name: _field(name) for name in CLIENT_COLUMNS})


class SimilarIdea(Idea):
    """An idea and the L2 distance of its vector from the vector of the requested idea."""

    distance: float


class DailyBars(BaseModel):
    """Daily bars as columns of equal length, in the price basis of the idea."""

    end: list[str]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float | None]


class DetailsResponse(BaseModel):
    """The details of an idea: related ideas and daily bars."""

    model_config = ConfigDict(extra="forbid")

    siblings: list[Idea] = Field(description="other ideas of the same prompt")
    earlier: list[Idea] = Field(description="the last ideas on the ticker before it, newest first")
    similar: list[SimilarIdea] = Field(description="the nearest earlier ideas with a final outcome")
    bars: DailyBars | None = Field(description="null without prices")


class RowResponse(Response):
    """JSON of rows of the store. Moments are in ISO 8601; numbers that are not finite are null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return `content` as JSON."""
        return orjson.dumps(content)
