"""Structured replies: prompts in, parsed trade ideas out, with any chat model.

Code writes the ticker; the model goes on from `"rationale":"`. What it wrote is kept as it wrote it.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osiris.errors import BadInput
from osiris.llm.loader import Drafter
from osiris.records import Reply, Side, parse_reply
from osiris.settings import Settings

if TYPE_CHECKING:
    from transformers import BatchEncoding, Cache, PreTrainedModel, PreTrainedTokenizerBase

END = "<|end|>"


@dataclass(frozen=True)
class DraftRequest:
    """A rendered `advise` prompt and the ticker it is about."""

    prompt: str
    ticker: str


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


def draft(drafter: Drafter, requests: list[DraftRequest], k: int, settings: Settings, seed: int) -> list[list[Draft]]:
    """Draw `k` drafts for each request, in order; a draft that is not valid is drawn again `model.retries` times.

    The same drafter, requests, settings and seed give the same texts, whatever torch's random state; that state is
    left as it was. `model.temperature` 0 always takes the likeliest token.
    """
    import torch

    wanted = [request for request in requests for _ in range(k)]
    _check_prefixes(drafter, requests)
    drafts: list[Draft | None] = [None] * len(wanted)
    with drafter.active() as model, torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        for attempt in range(1, settings.model.retries + 2):
            missing = [i for i, done in enumerate(drafts) if done is None or done.reply is None]
            for batch in _batches(missing, settings.model.batch_size):
                started = time.perf_counter()
                texts = _generate(model, drafter.tokenizer, [wanted[i] for i in batch], settings)
                seconds = time.perf_counter() - started
                for i, text in zip(batch, texts, strict=True):
                    waited = seconds + (drafts[i].seconds if drafts[i] else 0.0)
                    drafts[i] = Draft(text, parse_reply(text, wanted[i].ticker), waited, attempt)
    return [drafts[start : start + k] for start in range(0, len(drafts), k)]


def prefill(ticker: str) -> str:
    """Return the start of every reply about `ticker`, up to where the model goes on."""
    return f'{{"ticker":{json.dumps(ticker)},"rationale":"'


def _batches(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _generate(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", requests: list[DraftRequest], settings: Settings
) -> list[str]:
    asked = list(dict.fromkeys(requests))
    inputs = tokenizer(
        [_asked(tokenizer, request.prompt) + prefill(request.ticker) for request in asked],
        return_tensors="pt",
        padding=True,
        padding_side="left",
        add_special_tokens=False,
    ).to(model.device)
    places = [asked.index(request) for request in requests]
    sampling = {"do_sample": False}
    if settings.model.temperature > 0:
        sampling = {"do_sample": True, "temperature": settings.model.temperature, "top_p": settings.model.top_p}
    written = model.generate(
        input_ids=inputs["input_ids"][places],
        attention_mask=inputs["attention_mask"][places],
        past_key_values=_read_once(model, inputs, places),
        max_new_tokens=settings.model.max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=_stops(model, tokenizer),
        **sampling,
    )[:, inputs["input_ids"].shape[1] :]
    starts = [prefill(request.ticker) for request in requests]
    return [
        start + text
        for start, text in zip(starts, tokenizer.batch_decode(written, skip_special_tokens=True), strict=True)
    ]


def _read_once(model: "PreTrainedModel", inputs: "BatchEncoding", places: list[int]) -> "Cache":
    """The cache of all prompts but for their last token, each read once however many candidates it has.

    `places` are the rows of `inputs` that the candidates belong to.
    """
    import torch

    ids, mask = inputs["input_ids"][:, :-1], inputs["attention_mask"][:, :-1]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1
    ).past_key_values
    cache.batch_select_indices(torch.tensor(places, device=ids.device))
    return cache


def _asked(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> str:
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )


def _stops(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Ids that end an answer: what the model's own configuration says, and the end of a turn of Phi-3's format."""
    configured = model.generation_config.eos_token_id
    configured = configured if isinstance(configured, list) else [configured]
    turn = tokenizer.convert_tokens_to_ids(END)
    unknown = (None, tokenizer.unk_token_id)
    return sorted({stop for stop in [*configured, tokenizer.eos_token_id, turn] if stop not in unknown})


def _check_prefixes(drafter: Drafter, requests: list[DraftRequest]) -> None:
    """Raise `BadInput` where cutting a reply after its ticker would cut through a token of the whole reply."""
    for ticker in sorted({request.ticker for request in requests}):
        reply = Reply(
            ticker=ticker, rationale="momentum up, follow", side=Side.LONG, target_atr=2, stop_atr=1, confidence=0.5
        )
        question = _asked(drafter.tokenizer, ticker)
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
