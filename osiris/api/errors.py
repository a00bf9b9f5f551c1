"""Errors as problem details (RFC 9457). They never contain the request body, which may not even be JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from osiris.core.errors import BadInput, Busy, Conflict, NotFound, OsirisError, SourceUnavailable

STATUS_BY_ERROR = {BadInput: 422, NotFound: 404, Conflict: 409, SourceUnavailable: 503, Busy: 503}
PROBLEM_MEDIA_TYPE = "application/problem+json"
MAX_PROBLEM_CHARACTERS = 2000


class ProblemDetails(BaseModel):
    """An error: what was expected, what was received, and what to do."""

    type: str = "about:blank"
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(max_length=MAX_PROBLEM_CHARACTERS)


def _response_doc(meaning: str, title: str, status: int, detail: str) -> dict[str, Any]:
    """Return the description of one error response, with an example."""
    example = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": meaning, "content": {PROBLEM_MEDIA_TYPE: {"schema": schema, "example": example}}}


COMMON_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: _response_doc("A foreign Host header.", "Refused", 400, "Invalid host header"),
    401: _response_doc("No token, or a wrong one.", "Refused", 401, "expected the bearer token of this workspace"),
    403: _response_doc("A page of a foreign origin.", "Refused", 403, "expected a request from a page of this machine"),
    422: _response_doc("An invalid request.", "BadInput", 422, "query.limit: Input should be at least 1"),
    429: _response_doc("Too many requests; see Retry-After.", "Refused", 429, "expected at most 100 requests a second"),
}
"""Errors that any route may return."""
NOT_FOUND_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: _response_doc("No such idea.", "NotFound", 404, "expected the id of an idea; got 'x'; list them")
}
CHANGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    **NOT_FOUND_RESPONSES,
    409: _response_doc(
        "Another person decided first.", "Conflict", 409, "expected a pending idea; got one approved by ann at ..."
    ),
    411: _response_doc("A body of unknown length.", "Refused", 411, "expected a Content-Length header; got none"),
    413: _response_doc("A body that is too long.", "Refused", 413, "expected a body of at most 65536 bytes"),
    415: _response_doc("A body that is not JSON.", "Refused", 415, "expected Content-Type: application/json; got ..."),
}
"""Further errors of routes that change an idea."""
MODEL_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: _response_doc("A model that is not available.", "NotFound", 404, "expected a server that has phi3; got ..."),
    411: CHANGE_RESPONSES[411],
    413: CHANGE_RESPONSES[413],
    415: CHANGE_RESPONSES[415],
    503: _response_doc(
        "Too many requests at once; see Retry-After.", "Busy", 503, "expected at most 8 requests to the models"
    ),
}
"""Further errors of routes that use a model."""


def problem_response(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return an error as a response."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail[:MAX_PROBLEM_CHARACTERS]}
    return JSONResponse(body, status, headers, media_type=PROBLEM_MEDIA_TYPE)


def refuse_unknown_parameters(request: Request) -> None:
    """Raise `BadInput` for an unknown query parameter, which would be ignored silently. Every route depends on this."""
    known = {name for field in request.scope["route"].dependant.query_params for name in _parameter_names(field)}
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        names = ", ".join(sorted(known)) or "none"
        received = ", ".join(ascii(name[:100]) for name in unknown[:5])
        raise BadInput(f"the query parameters {names}", received, "correct the name")


def _parameter_names(field: Any) -> Iterable[str]:
    """The query parameters that one parameter of a route function stands for: a model stands for its fields."""
    annotation = field.field_info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_fields
    return (field.alias,)


def add_error_handlers(app: FastAPI) -> None:
    """Turn the errors of `app` into problem details, in its responses and in its OpenAPI description."""

    @app.exception_handler(OsirisError)
    async def handle_osiris_error(_: Request, error: OsirisError) -> Response:
        headers = {"Retry-After": "1"} if isinstance(error, Busy) else None
        return problem_response(STATUS_BY_ERROR.get(type(error), 500), type(error).__name__, str(error), headers)

    @app.exception_handler(RequestValidationError)
    async def handle_invalid_request(_: Request, error: RequestValidationError) -> Response:
        problems = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
        return problem_response(422, "BadInput", "; ".join(problems))

    @app.exception_handler(HTTPException)
    async def handle_http_error(_: Request, error: HTTPException) -> Response:
        return problem_response(error.status_code, "Refused", str(error.detail), error.headers)

    describe = app.openapi

    def describe_with_problem() -> dict[str, Any]:
        description = describe()
        schemas = description["components"]["schemas"]
        schemas["Problem"] = ProblemDetails.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        return description

    # FastAPI documents this assignment as the way to extend the description.
    app.openapi = describe_with_problem  # type: ignore[method-assign]
