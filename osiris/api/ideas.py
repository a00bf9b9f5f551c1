"""The routes about ideas: list them, show one and its details, decide, undo a decision, close a trade."""

from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel, BeforeValidator, Field

from osiris.api.errors import CHANGE_RESPONSES, NOT_FOUND_RESPONSES
from osiris.api.schemas import CLOSE_EXAMPLES, FEEDBACK_EXAMPLES, UNDO_EXAMPLES, DetailsResponse, Idea, RowResponse
from osiris.core.commands import CloseRequest, Feedback, Moment, UndoRequest
from osiris.core.errors import Conflict
from osiris.core.ideas import Outcome, Status, stable_hash
from osiris.review.decide import decide, request_close, to_stored_time, undo
from osiris.review.queries import CLIENT_COLUMNS, IdeaQuery, SortKey, get_idea_details, list_ideas
from osiris.workspace import Workspace


def _require_digits(value: str | int) -> str | int:
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("expected digits alone")
    return value


IdeaId = Annotated[str, PathParameter(max_length=64)]
IdeaIds = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=200)]
IdempotencyKey = Annotated[str | None, Header(max_length=128, description="the same for every attempt at one decision")]
DIGITS_ONLY = BeforeValidator(_require_digits)


class ListParameters(BaseModel):
    """The query parameters of `GET /advice`."""

    status: Status | None = None
    outcome: Outcome | None = None
    ticker: Annotated[str, Field(max_length=15)] = ""
    since: Moment | None = None
    id: IdeaIds = []
    sort: SortKey = SortKey.AS_OF
    descending: bool = True
    offset: Annotated[int, DIGITS_ONLY, Field(ge=0, le=10_000_000)] = 0
    limit: Annotated[int, DIGITS_ONLY, Field(ge=1, le=10_000)] = 100
    after: IdeaIds = []

    @property
    def query(self) -> IdeaQuery:
        """The filter and the order; raises `BadInput` for a `since` outside of the years 1 to 9999 in UTC."""
        return IdeaQuery(
            self.status,
            self.outcome,
            self.ticker.strip().upper(),
            since=to_stored_time(self.since) if self.since else None,
            ids=self.id,
            sort=self.sort,
            descending=self.descending,
        )


LIST_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": list[Idea],
        "headers": {
            "X-Total-Count": {"description": "matching ideas on all pages", "schema": {"type": "integer"}},
            "X-Offset": {"description": "matching ideas before this page", "schema": {"type": "integer"}},
            "ETag": {"description": "changes with every stored fact", "schema": {"type": "string"}},
        },
    },
    304: {"description": "Nothing was stored since the answer with this ETag."},
}


def add_idea_routes(app: FastAPI, workspace: Workspace) -> None:
    """Add the routes."""
    advice, settings = workspace.advice, workspace.settings

    @app.post("/feedback/phi3/", responses={200: {"model": Idea}, **CHANGE_RESPONSES})
    def feedback(
        body: Annotated[Feedback, Body(openapi_examples=FEEDBACK_EXAMPLES)], idempotency_key: IdempotencyKey = None
    ) -> Response:
        """Approve, reject or edit an idea.

        A repeat with the same `Idempotency-Key`, or without a key with the same body, is the same decision.
        """
        key = idempotency_key or stable_hash("feedback", body.model_dump_json())
        row = decide(advice, body, key, settings, workspace.now)
        return _idea_response(_require_status(row, body.action, idempotency_key))

    @app.get("/advice", responses=LIST_RESPONSES)
    def get_page(request: Request, parameters: Annotated[ListParameters, Query()]) -> Response:
        """Ideas, filtered and sorted, by default newest first. Prices are in the basis of each idea's `as_of`.

        To get the next page while ideas are drafted and decided, pass the ids of the page before as `after`.
        """
        tag = f'W/"{advice.version}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        page = list_ideas(advice, parameters.query, parameters.offset, parameters.limit, parameters.after)
        counts = {"X-Total-Count": str(page.total), "X-Offset": str(page.offset)}
        return RowResponse(page.ideas, headers={"ETag": tag, **counts})

    @app.get("/advice/{idea}", responses={200: {"model": Idea}, **NOT_FOUND_RESPONSES})
    def get_idea(idea: IdeaId) -> Response:
        """One idea in its current state."""
        return _idea_response(advice.get(idea))

    @app.get("/advice/{idea}/details", responses={200: {"model": DetailsResponse}, **NOT_FOUND_RESPONSES})
    def get_details(idea: IdeaId) -> Response:
        """The other ideas of its prompt, earlier ideas on its ticker, similar past ideas, and the daily prices."""
        return RowResponse(get_idea_details(advice, workspace.bars, idea, workspace.now))

    @app.post("/advice/{idea}/undo", responses={200: {"model": Idea}, **CHANGE_RESPONSES})
    def undo_decision(
        idea: IdeaId,
        body: Annotated[UndoRequest, Body(openapi_examples=UNDO_EXAMPLES)],
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Take back the current decision, by its own reviewer, while the outcome is open. The idea is pending again."""
        key = idempotency_key or stable_hash("undo", idea, body.model_dump_json())
        row = undo(advice, idea, body, key, workspace.now)
        return _idea_response(_require_status(row, Status.PENDING, idempotency_key))

    @app.post("/advice/{idea}/close", responses={200: {"model": Idea}, **CHANGE_RESPONSES})
    def close(idea: IdeaId, body: Annotated[CloseRequest, Body(openapi_examples=CLOSE_EXAMPLES)]) -> Response:
        """Ask the outcome logger to close a trade at a price, or at the next price. A repeat changes nothing."""
        return _idea_response(request_close(advice, idea, body.price, body.reviewer, workspace.now))


def _require_status(row: dict[str, Any], wanted: Status, key: str | None) -> dict[str, Any]:
    """Return `row`; raise `Conflict` if a request without a key repeats a decision that was changed since.

    Such a repeat changes nothing, and a status of 200 would say that the decision is in effect.
    """
    if key is None and row["status"] != wanted:
        actual = f"one that is {row['status']}: the same request was answered before, and changed since"
        raise Conflict(f"an idea that is {wanted} after this", actual, "send an Idempotency-Key of its own")
    return row


def _idea_response(row: dict[str, Any]) -> Response:
    return RowResponse({name: row[name] for name in CLIENT_COLUMNS})
