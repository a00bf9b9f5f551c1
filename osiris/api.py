"""The HTTP sidecar: `POST /feedback/phi3/`, `GET /advice`, `POST /advice/{id}/close`, `GET /health`.

What it covers: a bearer token, a Host and an Origin allow-list, a body limit, no unknown fields, no NaN, idempotent
replays, one winner of two reviewers. What it does not: TLS and user accounts; it listens on loopback unless told
otherwise.
"""

import contextlib
import hmac
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AwareDatetime
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from osiris.errors import BadInput, Conflict, NotFound, OsirisError
from osiris.loop.review import ask_to_close, decide, stored_time
from osiris.records import Close, Feedback, Outcome, Status, stable_hash
from osiris.schemas import advice_schema
from osiris.store.tables import quoted, sql_time
from osiris.workspace import Workspace

STATUS_OF = {BadInput: 422, NotFound: 404, Conflict: 409}
SHOWN = [name for name in advice_schema().names if name not in ("vector", "prompt", "reply")]
MAX_DETAIL = 2000
Row = dict[str, Any]


def create_app(workspace: Workspace) -> FastAPI:
    """The application over one workspace; its token is in `api_token(workspace)`."""
    token, started = api_token(workspace), time.monotonic()
    bearer = HTTPBearer(auto_error=False)

    def authorized(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> None:
        if given is None or not hmac.compare_digest(given.credentials.encode(), token.encode()):
            detail = f"expected the bearer token of this workspace; it is in {token_path(workspace)}"
            raise HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})

    app = FastAPI(title="Osiris", version="1.0", dependencies=[Depends(authorized)])
    hosts = {"127.0.0.1", "localhost", "[::1]", workspace.settings.review.host}
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=sorted(hosts))
    _answer_with_problems(app)
    _limit_bodies(app, workspace.settings.review.max_body_bytes)
    _refuse_foreign_pages(app, hosts, workspace.settings.review.origins)

    @app.post("/feedback/phi3/")
    def feedback(body: Feedback, idempotency_key: Annotated[str | None, Header(max_length=128)] = None) -> Row:
        """Approve, reject or edit an idea. A replay, by `Idempotency-Key` or of the same body, is one decision."""
        key = idempotency_key or stable_hash("feedback", body.model_dump_json())
        return shown(decide(workspace.advice, body, key, workspace.settings, workspace.now))

    @app.get("/advice")
    def advice(
        status: Status | None = None,
        outcome: Outcome | None = None,
        ticker: Annotated[str | None, Query(max_length=15)] = None,
        since: AwareDatetime | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> list[Row]:
        """The newest ideas, filtered; prices in the basis of their `as_of`."""
        wanted = [
            f"status = '{status}'" if status else "",
            f"outcome = '{outcome}'" if outcome else "",
            f"ticker = '{quoted(ticker)}'" if ticker else "",
            f"as_of >= {sql_time(stored_time(since))}" if since else "",
        ]
        return workspace.advice.rows(" AND ".join(filter(None, wanted)) or None, SHOWN)[-limit:]

    @app.get("/advice/{idea}")
    def one(idea: Annotated[str, PathParameter(max_length=64)]) -> Row:
        """One idea as it stands."""
        return shown(workspace.advice.get(idea))

    @app.post("/advice/{idea}/close")
    def close(idea: Annotated[str, PathParameter(max_length=64)], body: Close) -> Row:
        """Ask the outcome logger to close a trade, at a price or at what trades next; again, it changes nothing."""
        return shown(ask_to_close(workspace.advice, idea, body.price, body.reviewer, workspace.now))

    @app.get("/health")
    def health(adapter_date: bool = False) -> Row:
        """Whether the parts answer; with `adapter_date=true` also the newest adapter's name."""
        return report_health(workspace, time.monotonic() - started, adapter_date)

    return app


def report_health(workspace: Workspace, uptime: float, adapter_date: bool) -> Row:
    """Uptime in seconds, models ready (built or downloaded), mean Hermes score of the last 24 h."""
    from osiris.llm.sources import is_ready

    since = sql_time(workspace.now - timedelta(hours=24))
    scores = workspace.advice.frame(f"as_of > {since} AND hermes_score IS NOT NULL", ["hermes_score"])["hermes_score"]
    health: Row = {
        "uptime": round(uptime, 3),
        "phi_ok": is_ready("drafter", workspace.settings),
        "hermes_ok": is_ready("judge", workspace.settings),
        "mean_hermes_score_last_24h": float(scores.mean()) if len(scores) else None,
    }
    return health | ({"latest_adapter": workspace.shelf.newest(workspace.now)} if adapter_date else {})


def token_path(workspace: Workspace) -> Path:
    """Where the workspace keeps its token, readable by its owner alone."""
    return workspace.settings.data / "api-token"


def api_token(workspace: Workspace) -> str:
    """The workspace's token, made at the first call."""
    path = token_path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        with open(draft, "x", opener=_owner_only) as file:
            file.write(secrets.token_urlsafe(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all, and never over the token of another process
        draft.unlink()
    return path.read_text()


def shown(row: Row) -> Row:
    """An idea as clients see it."""
    return {name: row[name] for name in SHOWN}


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail[:MAX_DETAIL]}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _answer_with_problems(app: FastAPI) -> None:
    """Turn errors into RFC 9457 problem details; what was sent is never echoed, it may not even be JSON."""

    @app.exception_handler(OsirisError)
    async def named(_: Request, error: OsirisError) -> Response:
        return _problem(STATUS_OF.get(type(error), 500), type(error).__name__, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        problems = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
        return _problem(422, "BadInput", "; ".join(problems))

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, "Refused", str(error.detail), error.headers)


def _limit_bodies(app: FastAPI, limit: int) -> None:
    @app.middleware("http")
    async def limited(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        size = request.headers.get("content-length")
        chunked = "transfer-encoding" in request.headers
        if chunked or (request.method == "POST" and size is None):
            return _problem(411, "Refused", "expected a Content-Length header; got none; send one")
        if size and int(size) > limit:
            return _problem(413, "Refused", f"expected a body of at most {limit} bytes; got {size}; send less")
        return await proceed(request)


def _refuse_foreign_pages(app: FastAPI, hosts: set[str], origins: list[str]) -> None:
    """Refuse what a browser sends for a page from elsewhere: it says so in Origin."""

    @app.middleware("http")
    async def homely(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and origin not in origins and not _is_of(origin, hosts):
            expected = "a request from a page of this machine, or of review.origins"
            return _problem(403, "Refused", f"expected {expected}; got Origin {origin[:100]}; add it there")
        return await proceed(request)


def _is_of(origin: str, hosts: set[str]) -> bool:
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    return (f"[{host}]" if ":" in host else host) in hosts
