"""The routes that ask the models: text for a prompt, a score for a proposal, which adapter answers."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from osiris.api.errors import MODEL_RESPONSES
from osiris.core.errors import Busy, NotFound
from osiris.workspace import Workspace

ModelText = Annotated[str, Field(min_length=1, max_length=16_000)]


MAX_MODEL_REQUESTS = 8
"""Requests that may use the models at once; they answer one after the other, the rest of the API beside them."""


class GenerateRequest(BaseModel):
    """Body of `POST /generate/`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: ModelText
    max_length: Annotated[int, Field(ge=1, le=1024, description="tokens to write at most")] = 96
    model_id: Literal["phi3", "hermes"] = "phi3"
    seed: Annotated[int | None, Field(ge=0, lt=2**31, description="of what is drawn; none: any")] = None


class GenerateResponse(BaseModel):
    """What a model wrote, and which; `adapter` is null for the judge, `base` without one."""

    text: str
    model: str
    adapter: str | None


class ScoreRequest(BaseModel):
    """Body of `POST /score/hermes/`; the proposal is a reply's JSON or any text, the context its snapshot."""

    model_config = ConfigDict(extra="forbid", strict=True)

    proposal: ModelText
    context: Annotated[str, Field(max_length=16_000)] = ""


class ScoreResponse(BaseModel):
    """0 to 1, and the number 0 to 10 that it comes from; both null where Hermes would write none, with a note."""

    score: float | None
    raw: int | None
    note: str


class SwapResponse(BaseModel):
    """The adapter that answers from now on (`base` without one), and those that may not, newest first, with reasons."""

    adapter: str
    skipped: dict[str, str]


GENERATE_EXAMPLES: dict[str, Any] = {
    "an idea": {"value": {"prompt": "Ticker: AAPL\nmomentum up 1.2", "max_length": 64, "model_id": "phi3"}}
}
SCORE_EXAMPLES: dict[str, Any] = {
    "an idea": {"value": {"proposal": '{"ticker":"AAPL","side":"long"}', "context": "momentum up 1.2"}}
}


def add_model_routes(app: FastAPI, workspace: Workspace) -> None:
    """Add the routes."""
    slots = BoundedSemaphore(MAX_MODEL_REQUESTS)

    @app.post("/generate/", responses=MODEL_RESPONSES)
    def generate(body: Annotated[GenerateRequest, Body(openapi_examples=GENERATE_EXAMPLES)]) -> GenerateResponse:
        """What a model writes for a prompt in its chat format, by the workspace's temperature (Hermes: the likeliest).

        Phi-3 answers with the adapter that is served; one that is promoted meanwhile answers the next request.
        """
        with _model_slot(slots):
            return _generate(workspace, body)

    @app.post("/score/hermes/", responses=MODEL_RESPONSES)
    def score(body: Annotated[ScoreRequest, Body(openapi_examples=SCORE_EXAMPLES)]) -> ScoreResponse:
        """Hermes' score of a proposal."""
        from osiris.llm import hermes

        with _model_slot(slots):
            (found,) = hermes.score_ideas(workspace.models.judge, [hermes.JudgedIdea(body.proposal, body.context)], 1)
        return ScoreResponse(score=found.normalized, raw=found.raw, note=found.note)

    @app.post("/adapters/swap", responses=MODEL_RESPONSES)
    def swap() -> SwapResponse:
        """Load the adapter that is to be served, so that the next request need not wait for it; others go on."""
        with _model_slot(slots):
            served = workspace.find_served()
            return SwapResponse(adapter=workspace.models.serve(served.path).adapter, skipped=dict(served.skipped))


@contextmanager
def _model_slot(slots: BoundedSemaphore) -> Iterator[None]:
    """Be one of those that use the models; raises `Busy` when there are enough, lest they take all of the API."""
    if not slots.acquire(blocking=False):
        raise Busy(f"at most {MAX_MODEL_REQUESTS} requests to the models at once", "one more", "ask again in a second")
    try:
        yield
    finally:
        slots.release()


def _generate(workspace: Workspace, body: GenerateRequest) -> GenerateResponse:
    from osiris.llm.generate import answer_prompt

    judging, seed = body.model_id == "hermes", secrets.randbelow(2**31) if body.seed is None else body.seed
    for last in (False, False, True):
        model = workspace.models.judge if judging else workspace.load_drafter()
        try:
            text = answer_prompt(model, body.prompt, body.max_length, workspace.settings, seed)
            break
        except NotFound:  # so many adapters were swapped in that this one was let go of
            if last:
                raise
    return GenerateResponse(text=text, model=model.name, adapter=None if judging else model.adapter)
