"""Structured replies: prompts in, parsed trade ideas out, with any chat model.

Code writes the ticker; the model goes on from `"rationale":"`. What it wrote is kept as it wrote it.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from osiris.config.settings import Settings
from osiris.core.errors import BadInput
from osiris.core.ideas import Reply, Side, has_levels, parse_reply
from osiris.llm.chat import asked
from osiris.llm.models import AnyDrafter, AnyJudge


@dataclass(frozen=True)
class DraftRequest:
    """A rendered `advise` prompt, the ticker it is about, and `market`: the last close and the ATR, where known."""

    prompt: str
    ticker: str
    market: tuple[float, float] | None = None

    def read(self, text: str) -> Reply | None:
        """The reply in an answer; none where it is not valid, or no trade at this market (a target below zero)."""
        reply = parse_reply(text, self.ticker)
        if reply is None or self.market is None:
            return reply
        return reply if has_levels(reply, *self.market) else None


@dataclass(frozen=True)
class Draft:
    """One answer: its text, the reply in it (`None` when it is not valid), seconds waited for it, attempts made."""

    text: str
    reply: Reply | None
    seconds: float
    attempts: int

    @property
    def valid_at_once(self) -> bool:
        """Whether the first attempt was valid."""
        return self.reply is not None and self.attempts == 1


def draft(
    drafter: AnyDrafter, requests: list[DraftRequest], k: int, settings: Settings, seed: int
) -> list[list[Draft]]:
    """Draw `k` drafts for each request, in order; a draft that is not valid is drawn again `model.retries` times.

    The same drafter in this process, requests, settings and seed give the same texts, whatever torch's random state;
    that state is left as it was. `model.temperature` 0 always takes the likeliest token.
    """
    wanted = [request for request in requests for _ in range(k)]
    _check_prefixes(drafter, requests)
    starts = [prefill(request.ticker) for request in wanted]
    texts = {request.prompt: asked(drafter.tokenizer, request.prompt) for request in requests}
    drafts: list[Draft | None] = [None] * len(wanted)
    with drafter.writing(settings, seed) as write:
        for attempt in range(1, settings.model.retries + 2):
            missing = [i for i, done in enumerate(drafts) if done is None or done.reply is None]
            for batch in _batches(missing, settings.model.batch_size):
                started = time.perf_counter()
                written = write([texts[wanted[i].prompt] + starts[i] for i in batch])
                seconds = time.perf_counter() - started
                for i, more in zip(batch, written, strict=True):
                    text = starts[i] + more
                    waited = seconds + (drafts[i].seconds if drafts[i] else 0.0)
                    drafts[i] = Draft(text, wanted[i].read(text), waited, attempt)
    return [drafts[start : start + k] for start in range(0, len(drafts), k)]


def say(model: AnyDrafter | AnyJudge, prompt: str, most: int, settings: Settings, seed: int) -> str:
    """What a model writes for any prompt, at most so many tokens, bound to no schema; a judge always the likeliest.

    Raises `BadInput` for a prompt that leaves no room for them.
    """
    text = asked(model.tokenizer, prompt)
    length, room = len(model.tokenizer(text, add_special_tokens=False)["input_ids"]), model.tokenizer.model_max_length
    if length + most > room:
        raise BadInput(f"prompt and answer of at most {room} tokens", f"{length} and {most}", "ask for less")
    free = unbound(settings).model.model_copy(update={"max_new_tokens": most})
    with model.writing(settings.model_copy(update={"model": free}), seed) as write:
        return write([text])[0]


def unbound(settings: Settings) -> Settings:
    """The settings under which replies are not bound to their schema, so that it shows whether a model keeps it."""
    return settings.model_copy(update={"model": settings.model.model_copy(update={"bound": False})})


def prefill(ticker: str) -> str:
    """Return the start of every reply about `ticker`, up to where the model goes on."""
    return f'{{"ticker":{json.dumps(ticker)},"rationale":"'


def _batches(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _check_prefixes(drafter: AnyDrafter, requests: list[DraftRequest]) -> None:
    """Raise `BadInput` where cutting a reply after its ticker would cut through a token of the whole reply."""
    for ticker in sorted({request.ticker for request in requests}):
        reply = Reply(
            ticker=ticker, rationale="momentum up, follow", side=Side.LONG, target_atr=2, stop_atr=1, confidence=0.5
        )
        question = asked(drafter.tokenizer, ticker)
        cut, whole = (
            drafter.tokenizer(question + text, add_special_tokens=False)["input_ids"]
            for text in (prefill(ticker), reply.to_json())
        )
        if whole[: len(cut)] != cut:
            raise BadInput(
                "a tokenizer that can break a reply after its ticker",
                f"{drafter.name}, which merges across that place for {ticker}",
                "use another model.base",
            )
