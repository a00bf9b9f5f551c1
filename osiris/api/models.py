"""The routes that use the models: write text, score a proposal, load the served adapter."""

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
"""The largest number of requests to the models at once. They are answered in turn; other routes do not wait."""


class GenerateRequest(BaseModel):
    """Body of `POST /generate/`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: ModelText
    max_length: Annotated[int, Field(ge=1, le=1024, description="largest number of new tokens")] = 96
    model_id: Literal["phi3", "hermes"] = "phi3"
    seed: Annotated[int | None, Field(ge=0, lt=2**31, description="seed of the sampling; none: a random one")] = None


class GenerateResponse(BaseModel):
    """The text and the model that wrote it. `adapter` is `base` without an adapter, and null for the judge."""

    text: str
    model: str
    adapter: str | None


class ScoreRequest(BaseModel):
    """Body of `POST /score/hermes/`. The proposal is the JSON of a reply or any text; the context is its snapshot."""

    model_config = ConfigDict(extra="forbid", strict=True)

    proposal: ModelText
    context: Annotated[str, Field(max_length=16_000)] = ""


class ScoreResponse(BaseModel):
    """The score (0 to 1) and the likeliest number (0 to 10) of Hermes. Without a number, both are null.

    `expected` is the mean number by the judge's own probabilities, and `number_probability` the probability that it
    would say a number at all. A judge on a server does not tell them.
    """

    score: float | None
    raw: int | None
    note: str
    expected: float | None = None
    number_probability: float | None = None


class SwapResponse(BaseModel):
    """The adapter that is now served (`base` without one), and the skipped adapters, newest first, with reasons."""

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
        """The text that a model writes for a prompt in its chat format.

        Phi-3 samples with the workspace's temperature; Hermes writes the likeliest text. Phi-3 uses the served adapter.
        An adapter that is promoted meanwhile answers the next request.
        """
        with _model_slot(slots):
            return _generate(workspace, body)

    @app.post("/score/hermes/", responses=MODEL_RESPONSES)
    def score(body: Annotated[ScoreRequest, Body(openapi_examples=SCORE_EXAMPLES)]) -> ScoreResponse:
        """The score that Hermes gives a proposal."""
        from osiris.llm import hermes

        with _model_slot(slots):
            ideas = [hermes.JudgedIdea(body.proposal, body.context)]
            (result,) = hermes.score_as_configured(workspace.models.judge, ideas, workspace.settings)
        return ScoreResponse(
            score=result.normalized,
            raw=result.raw,
            note=result.note,
            expected=result.expected,
            number_probability=result.number_probability,
        )

    @app.post("/adapters/swap", responses=MODEL_RESPONSES)
    def swap() -> SwapResponse:
        """Load the adapter that is to be served, so that the next request does not wait for it."""
        with _model_slot(slots):
            served = workspace.find_served()
            return SwapResponse(adapter=workspace.models.serve(served.path).adapter, skipped=dict(served.skipped))


@contextmanager
def _model_slot(slots: BoundedSemaphore) -> Iterator[None]:
    """Count as a request to the models for the block. Raises `Busy` at the limit, to keep threads for other routes."""
    if not slots.acquire(blocking=False):
        raise Busy(f"at most {MAX_MODEL_REQUESTS} requests to the models at once", "one more", "ask again in a second")
    try:
        yield
    finally:
        slots.release()


def _generate(workspace: Workspace, body: GenerateRequest) -> GenerateResponse:
    """Answer with the judge or the drafter; try again if the drafter's adapter was unloaded in between."""
    from osiris.llm.generate import answer_prompt

    judging = body.model_id == "hermes"
    seed = secrets.randbelow(2**31) if body.seed is None else body.seed
    for is_last_attempt in (False, False, True):
        drafter = None if judging else workspace.load_drafter()
        model = workspace.models.judge if drafter is None else drafter
        try:
            text = answer_prompt(model, body.prompt, body.max_length, workspace.settings, seed)
            break
        except NotFound:  # other requests loaded so many adapters that this one was unloaded
            if is_last_attempt:
                raise
    return GenerateResponse(text=text, model=model.name, adapter=None if drafter is None else drafter.adapter)
