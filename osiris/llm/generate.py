"""Structured replies: draft trade ideas for prompts with any chat model, and parse them.

Code writes the ticker, so that no reply is about another one; the model continues after `"rationale":"`. Its text is
kept unchanged.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from osiris.config.settings import Settings
from osiris.core.errors import BadInput
from osiris.core.ideas import Reply, Side, has_valid_levels, parse_reply
from osiris.llm.chat import format_prompt
from osiris.llm.models import AnyDrafter, AnyJudge


@dataclass(frozen=True)
class DraftRequest:
    """A rendered `advise` prompt, the ticker it is about, and `market`: the last close and the ATR, where known."""

    prompt: str
    ticker: str
    market: tuple[float, float] | None = None

    def parse(self, text: str) -> Reply | None:
        """The reply in an answer; `None` if it is not valid, or not a trade at this market (a target below zero)."""
        reply = parse_reply(text, self.ticker)
        if reply is None or self.market is None:
            return reply
        return reply if has_valid_levels(reply, *self.market) else None


@dataclass(frozen=True)
class Draft:
    """One answer: its text, the reply in it (`None` if not valid), the seconds it took, and the number of attempts.

    `seconds` is the duration of the batches that it was in, summed over its attempts.
    """

    text: str
    reply: Reply | None
    seconds: float
    attempts: int

    @property
    def is_valid_at_once(self) -> bool:
        """Whether the first attempt was valid."""
        return self.reply is not None and self.attempts == 1


def draft_replies(
    drafter: AnyDrafter, requests: list[DraftRequest], candidates: int, settings: Settings, seed: int
) -> list[list[Draft]]:
    """Draw `candidates` drafts for each request, in order; invalid drafts are drawn again, up to `model.retries` times.

    With a drafter in this process, the same requests, settings and seed give the same texts. Torch's random state does
    not matter and is left as it was. `model.temperature` 0 always takes the likeliest token.
    """
    wanted = [request for request in requests for _ in range(candidates)]
    _check_prefixes(drafter, requests)
    starts = [reply_prefix(request.ticker) for request in wanted]
    texts = {request.prompt: format_prompt(drafter.tokenizer, request.prompt) for request in requests}
    _check_lengths(drafter, requests, texts, settings.model.max_new_tokens)
    drafts: dict[int, Draft] = {}
    with drafter.completer(settings, seed) as complete:
        for attempt in range(1, settings.model.retries + 2):
            missing = [i for i in range(len(wanted)) if i not in drafts or drafts[i].reply is None]
            for batch in _batches(missing, settings.model.batch_size):
                started = time.perf_counter()
                written = complete([texts[wanted[i].prompt] + starts[i] for i in batch])
                seconds = time.perf_counter() - started
                for i, continuation in zip(batch, written, strict=True):
                    text = starts[i] + continuation
                    waited = seconds + (drafts[i].seconds if i in drafts else 0.0)
                    drafts[i] = Draft(text, wanted[i].parse(text), waited, attempt)
    in_order = [drafts[i] for i in range(len(wanted))]
    return [in_order[start : start + candidates] for start in range(0, len(in_order), candidates)]


def answer_prompt(model: AnyDrafter | AnyJudge, prompt: str, max_tokens: int, settings: Settings, seed: int) -> str:
    """What a model writes for any prompt: at most `max_tokens` tokens, without constrained decoding.

    A judge always writes the likeliest tokens. Raises `BadInput` for a prompt that leaves no room for the answer.
    """
    text = format_prompt(model.tokenizer, prompt)
    length = len(model.tokenizer(text, add_special_tokens=False)["input_ids"])
    room = model.tokenizer.model_max_length
    if length + max_tokens > room:
        raise BadInput(f"prompt and answer of at most {room} tokens", f"{length} and {max_tokens}", "ask for less")
    unconstrained_model = unconstrained(settings).model.model_copy(update={"max_new_tokens": max_tokens})
    with model.completer(settings.model_copy(update={"model": unconstrained_model}), seed) as complete:
        return complete([text])[0]


def unconstrained(settings: Settings) -> Settings:
    """The settings without constrained decoding, to see whether a model keeps to the schema by itself."""
    return settings.with_model(constrained=False)


def reply_prefix(ticker: str) -> str:
    """Return the start of every reply about `ticker`, up to where the model continues."""
    return f'{{"ticker":{json.dumps(ticker)},"rationale":"'


def _batches(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _check_lengths(drafter: AnyDrafter, requests: list[DraftRequest], texts: dict[str, str], reply_tokens: int) -> None:
    """Raise `BadInput` for a prompt that leaves no room for its reply; the model would forget its beginning."""
    room = drafter.tokenizer.model_max_length - reply_tokens
    for request in requests:
        text = texts[request.prompt] + reply_prefix(request.ticker)
        length = len(drafter.tokenizer(text, add_special_tokens=False)["input_ids"])
        if length > room:
            raise BadInput(
                f"a prompt of at most {room} tokens, since {drafter.name} reads {room + reply_tokens}",
                f"{length} tokens about {request.ticker}",
                "lower context.max_tokens, shorten prompts/*.jinja, or use another model.base",
            )


def _check_prefixes(drafter: AnyDrafter, requests: list[DraftRequest]) -> None:
    """Raise `BadInput` if a token of the whole reply would span the place where code stops and the model continues.

    A model is trained on whole replies: there it would have to continue after tokens that it never saw in training.
    """
    for ticker in sorted({request.ticker for request in requests}):
        reply = Reply(
            ticker=ticker, rationale="momentum up, follow", side=Side.LONG, target_atr=2, stop_atr=1, confidence=0.5
        )
        question = format_prompt(drafter.tokenizer, ticker)
        cut, whole = (
            drafter.tokenizer(question + text, add_special_tokens=False)["input_ids"]
            for text in (reply_prefix(ticker), reply.to_json())
        )
        if whole[: len(cut)] != cut:
            raise BadInput(
                "a tokenizer that can break a reply after its ticker",
                f"{drafter.name}, which merges across that place for {ticker}",
                "use another model.base",
            )
