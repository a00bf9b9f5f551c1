"""Checks before every route: kind and size of the body, requests per second, and the origin of the page."""

import json
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from osiris.api.errors import problem_response
from osiris.api.token import is_same_token
from osiris.config.settings import ReviewSettings

CallNext = Callable[[Request], Awaitable[Response]]


def add_middleware(app: FastAPI, review: ReviewSettings, hosts: set[str], token: str) -> None:
    """Add the checks before every route of `app`. `hosts` are the names of this machine."""
    _require_plain_json(app)
    _limit_bodies(app, review.max_body_bytes)
    _limit_requests(app, review.max_requests_per_second, token)
    _refuse_foreign_pages(app, hosts, review.origins)


def _require_plain_json(app: FastAPI) -> None:
    """Refuse a body that is not JSON or that has a key twice, because it is unclear which value is meant."""

    @app.middleware("http")
    async def require_json(request: Request, call_next: CallNext) -> Response:
        body = await request.body() if request.method == "POST" else b""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind != "application/json":
            received = ascii(kind[:100]) if kind else "none"
            return problem_response(
                415, "Refused", f"expected Content-Type: application/json; got {received}; send it so"
            )
        duplicate = _find_duplicate_key(body)
        if duplicate is not None:
            return problem_response(
                422, "BadInput", f"expected each key once; got {duplicate[:100]!a} twice; name it once"
            )
        return await call_next(request)


class _DuplicateKey(Exception):
    """A key occurs twice in one JSON object."""


def _find_duplicate_key(body: bytes) -> str | None:
    """Return a key that occurs twice in one object, or `None`. A body that is no JSON is refused by the route."""

    def check_pairs(pairs: list[tuple[str, object]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _DuplicateKey(name)
            seen.add(name)

    try:
        json.loads(body, object_pairs_hook=check_pairs)
    except _DuplicateKey as error:
        return str(error)
    except (ValueError, RecursionError):
        return None
    return None


def _limit_bodies(app: FastAPI, limit: int) -> None:
    """Refuse a body of unknown size, or of more than `limit` bytes."""

    @app.middleware("http")
    async def limit_body(request: Request, call_next: CallNext) -> Response:
        size = request.headers.get("content-length")
        chunked = "transfer-encoding" in request.headers
        if chunked or (request.method == "POST" and size is None):
            return problem_response(411, "Refused", "expected a Content-Length header; got none; send one")
        if size and int(size) > limit:
            return problem_response(413, "Refused", f"expected a body of at most {limit} bytes; got {size}; send less")
        return await call_next(request)


def _limit_requests(app: FastAPI, limit: int, token: str) -> None:
    """Limit the requests per second of each client.

    Requests without the token are counted apart, so that they cannot use up the limit of a reviewer on the same host.
    """
    limiter = MovingWindowRateLimiter(MemoryStorage())
    item = RateLimitItemPerSecond(limit)

    @app.middleware("http")
    async def limit_rate(request: Request, call_next: CallNext) -> Response:
        client = request.client.host if request.client else "unknown"
        has_token = is_same_token(request.headers.get("authorization", ""), f"Bearer {token}")
        if not limiter.hit(item, client, str(has_token)):
            detail = f"expected at most {limit} requests a second; got more; send the rest again in a second"
            return problem_response(429, "Refused", detail, {"Retry-After": "1"})
        return await call_next(request)


def _refuse_foreign_pages(app: FastAPI, hosts: set[str], origins: list[str]) -> None:
    """Refuse requests that a browser sends for a page of a foreign origin; the Origin header names it."""

    @app.middleware("http")
    async def refuse_foreign_origin(request: Request, call_next: CallNext) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and origin not in origins and not _is_local_origin(origin, hosts):
            expected = "a request from a page of this machine, or of review.origins"
            return problem_response(403, "Refused", f"expected {expected}; got Origin {origin[:100]}; add it there")
        return await call_next(request)


def _is_local_origin(origin: str, hosts: set[str]) -> bool:
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    return (f"[{host}]" if ":" in host else host) in hosts
