"""The routes that ask the models: text for a prompt, a score for a proposal, which adapter answers."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from osiris.api.errors import ASKED
from osiris.core.errors import Busy, NotFound
from osiris.workspace import Workspace

Prompt = Annotated[str, Field(min_length=1, max_length=16_000)]


AT_ONCE = 8
"""Requests that may use the models at once; they answer one after the other, the rest of the API beside them."""


class Generate(BaseModel):
    """Body of `POST /generate/`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Prompt
    max_length: Annotated[int, Field(ge=1, le=1024, description="tokens to write at most")] = 96
    model_id: Literal["phi3", "hermes"] = "phi3"
    seed: Annotated[int | None, Field(ge=0, lt=2**31, description="of what is drawn; none: any")] = None


class Generated(BaseModel):
    """What a model wrote, and which; `adapter` is null for the judge, `base` without one."""

    text: str
    model: str
    adapter: str | None


class Propose(BaseModel):
    """Body of `POST /score/hermes/`; the proposal is a reply's JSON or any text, the context its snapshot."""

    model_config = ConfigDict(extra="forbid", strict=True)

    proposal: Prompt
    context: Annotated[str, Field(max_length=16_000)] = ""


class Scored(BaseModel):
    """0 to 1, and the number 0 to 10 that it comes from; both null where Hermes would write none, with a note."""

    score: float | None
    raw: int | None
    note: str


class Swapped(BaseModel):
    """The adapter that answers from now on (`base` without one), and those that may not, newest first, with reasons."""

    adapter: str
    skipped: dict[str, str]


GENERATE: dict[str, Any] = {
    "an idea": {"value": {"prompt": "Ticker: AAPL\nmomentum up 1.2", "max_length": 64, "model_id": "phi3"}}
}
PROPOSE: dict[str, Any] = {
    "an idea": {"value": {"proposal": '{"ticker":"AAPL","side":"long"}', "context": "momentum up 1.2"}}
}


def add_models(app: FastAPI, workspace: Workspace) -> None:
    """Add the routes."""
    turns = BoundedSemaphore(AT_ONCE)

    @app.post("/generate/", responses=ASKED)
    def generate(body: Annotated[Generate, Body(openapi_examples=GENERATE)]) -> Generated:
        """What a model writes for a prompt in its chat format, by the workspace's temperature (Hermes: the likeliest).

        Phi-3 answers with the adapter that is served; one that is promoted meanwhile answers the next request.
        """
        with _turn(turns):
            return _generated(workspace, body)

    @app.post("/score/hermes/", responses=ASKED)
    def score(body: Annotated[Propose, Body(openapi_examples=PROPOSE)]) -> Scored:
        """Hermes' score of a proposal."""
        from osiris.llm import hermes

        with _turn(turns):
            (found,) = hermes.score(workspace.models.judge, [hermes.Idea(body.proposal, body.context)], 1)
        return Scored(score=found.normalized, raw=found.raw, note=found.note)

    @app.post("/adapters/swap", responses=ASKED)
    def swap() -> Swapped:
        """Load the adapter that is to be served, so that the next request need not wait for it; others go on."""
        with _turn(turns):
            served = workspace.served()
            return Swapped(adapter=workspace.models.serve(served.path).adapter, skipped=dict(served.skipped))


@contextmanager
def _turn(turns: BoundedSemaphore) -> Iterator[None]:
    """Be one of those that use the models; raises `Busy` when there are enough, lest they take all of the API."""
    if not turns.acquire(blocking=False):
        raise Busy(f"at most {AT_ONCE} requests to the models at once", "one more", "ask again in a second")
    try:
        yield
    finally:
        turns.release()


def _generated(workspace: Workspace, body: Generate) -> Generated:
    from osiris.llm.generate import say

    judging, seed = body.model_id == "hermes", secrets.randbelow(2**31) if body.seed is None else body.seed
    for last in (False, False, True):
        model = workspace.models.judge if judging else workspace.drafter()
        try:
            text = say(model, body.prompt, body.max_length, workspace.settings, seed)
            break
        except NotFound:  # so many adapters were swapped in that this one was let go of
            if last:
                raise
    return Generated(text=text, model=model.name, adapter=None if judging else model.adapter)
