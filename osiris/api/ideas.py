"""The routes about ideas: list them, look at one, decide, take it back, close it."""

from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import BeforeValidator

from osiris.api.errors import CHANGING, NOT_FOUND
from osiris.api.schemas import CLOSE_EXAMPLES, FEEDBACK_EXAMPLES, UNDO_EXAMPLES, Beside, Idea, Json
from osiris.core.commands import Close, Feedback, Moment, Undo
from osiris.core.errors import Conflict
from osiris.core.ideas import Outcome, Status, stable_hash
from osiris.review.decide import ask_to_close, decide, stored_time, undo
from osiris.review.queries import SHOWN, Sort, Wanted, beside, listed
from osiris.workspace import Workspace


def _digits(said: str | int) -> str | int:
    if isinstance(said, str) and not (said.isascii() and said.isdigit()):
        raise ValueError("expected digits alone")
    return said


IdeaId = Annotated[str, PathParameter(max_length=64)]
Ids = Annotated[list[Annotated[str, Query(max_length=64)]], Query(max_length=200)]
Key = Annotated[str | None, Header(max_length=128, description="the same for every attempt at one decision")]
DIGITS = BeforeValidator(_digits)
LISTED: dict[int | str, dict[str, Any]] = {
    200: {
        "model": list[Idea],
        "headers": {
            "X-Total-Count": {"description": "ideas that fit, on all pages", "schema": {"type": "integer"}},
            "X-Offset": {"description": "ideas that fit, ahead of this page", "schema": {"type": "integer"}},
            "ETag": {"description": "changes with every stored fact", "schema": {"type": "string"}},
        },
    },
    304: {"description": "Nothing was stored since the answer with this ETag."},
}


def add_ideas(app: FastAPI, workspace: Workspace) -> None:
    """Add the routes."""
    advice, settings = workspace.advice, workspace.settings

    @app.post("/feedback/phi3/", responses={200: {"model": Idea}, **CHANGING})
    def feedback(
        body: Annotated[Feedback, Body(openapi_examples=FEEDBACK_EXAMPLES)], idempotency_key: Key = None
    ) -> Response:
        """Approve, reject or edit an idea. A replay, by `Idempotency-Key` or of the same body, is one decision."""
        key = idempotency_key or stable_hash("feedback", body.model_dump_json())
        row = decide(advice, body, key, settings, workspace.now)
        return _one(_as_asked(row, body.action, idempotency_key))

    @app.get("/advice", responses=LISTED)
    def ideas(
        request: Request,
        status: Status | None = None,
        outcome: Outcome | None = None,
        ticker: Annotated[str, Query(max_length=15)] = "",
        since: Moment | None = None,
        id: Ids = [],  # noqa: B006
        sort: Sort = Sort.AS_OF,
        descending: bool = True,
        offset: Annotated[int, DIGITS, Query(ge=0, le=10_000_000)] = 0,
        limit: Annotated[int, DIGITS, Query(ge=1, le=10_000)] = 100,
        after: Ids = [],  # noqa: B006
    ) -> Response:
        """Ideas, filtered and sorted, newest first; prices in the basis of their `as_of`.

        To turn pages while ideas come and are decided on, give as `after` the ids of the page before.
        """
        tag = f'W/"{advice.version}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        wanted = Wanted(
            status,
            outcome,
            ticker.strip().upper(),
            since=stored_time(since) if since else None,
            ids=id,
            sort=sort,
            descending=descending,
        )
        page = listed(advice, wanted, offset, limit, after)
        counts = {"X-Total-Count": str(page.total), "X-Offset": str(page.offset)}
        return Json(page.ideas, headers={"ETag": tag, **counts})

    @app.get("/advice/{idea}", responses={200: {"model": Idea}, **NOT_FOUND})
    def one(idea: IdeaId) -> Response:
        """One idea as it stands."""
        return _one(advice.get(idea))

    @app.get("/advice/{idea}/beside", responses={200: {"model": Beside}, **NOT_FOUND})
    def what_stands_beside(idea: IdeaId) -> Response:
        """The other candidates of its prompt, earlier ideas on its ticker, similar past ones, and the price."""
        return Json(beside(advice, workspace.bars, idea, workspace.now))

    @app.post("/advice/{idea}/undo", responses={200: {"model": Idea}, **CHANGING})
    def take_back(
        idea: IdeaId, body: Annotated[Undo, Body(openapi_examples=UNDO_EXAMPLES)], idempotency_key: Key = None
    ) -> Response:
        """Take back the decision that stands, by who made it, while its outcome is open: the idea is pending again."""
        key = idempotency_key or stable_hash("undo", idea, body.model_dump_json())
        row = undo(advice, idea, body, key, workspace.now)
        return _one(_as_asked(row, Status.PENDING, idempotency_key))

    @app.post("/advice/{idea}/close", responses={200: {"model": Idea}, **CHANGING})
    def close(idea: IdeaId, body: Annotated[Close, Body(openapi_examples=CLOSE_EXAMPLES)]) -> Response:
        """Ask the outcome logger to close a trade, at a price or at what trades next; said again, nothing changes."""
        return _one(ask_to_close(advice, idea, body.price, body.reviewer, workspace.now))


def _as_asked(row: dict[str, Any], asked: Status, key: str | None) -> dict[str, Any]:
    """`row`, unless a request without a key repeats one that was changed since: 200 would say that it stands."""
    if key is None and row["status"] != asked:
        came = f"one that is {row['status']}: the same request was answered before, and changed since"
        raise Conflict(f"an idea that is {asked} after this", came, "send an Idempotency-Key of its own")
    return row


def _one(row: dict[str, Any]) -> Response:
    return Json({name: row[name] for name in SHOWN})
