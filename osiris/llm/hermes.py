"""Hermes, the judge: a number from 0 to 10 for each idea, that which it writes when it takes the likeliest tokens.

A judge in this process and one on a server are read alike. What the prompts of one context begin with is read once.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from osiris.llm.chat import format_prompt
from osiris.llm.completion import prefill_cache, stop_token_ids
from osiris.llm.loader import Judge
from osiris.llm.models import AnyJudge
from osiris.llm.prompts import render
from osiris.llm.remote import RemoteJudge
from osiris.llm.scores import Completion, Score, parse_score

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

MAX_SCORE_TOKENS = 8
"""What a judge may write: space, a number, and enough to see that the number has ended."""


@dataclass(frozen=True)
class JudgedIdea:
    """What is judged: the proposal (a reply's JSON, or any text) and its context (the snapshot; may be empty)."""

    proposal: str
    context: str = ""


def score_ideas(judge: AnyJudge, ideas: list[JudgedIdea], batch_size: int) -> list[Score]:
    """Score ideas in order; an empty list gives an empty list. An idea that is too long for the judge gets no score."""
    prompts = [format_judge_prompt(judge.tokenizer, idea) for idea in ideas]
    tokens = [_token_ids(judge.tokenizer, prompt) for prompt in prompts]
    room = judge.tokenizer.model_max_length - MAX_SCORE_TOKENS
    short = [place for place, prompt in enumerate(tokens) if len(prompt) <= room]
    scores = dict.fromkeys(range(len(ideas)), Score(None, None, f"longer than the {room} tokens that the judge reads"))
    for start in range(0, len(short), batch_size):
        batch = short[start : start + batch_size]
        if isinstance(judge, RemoteJudge):
            written = judge.complete([prompts[i] for i in batch], MAX_SCORE_TOKENS)
        else:
            written = _complete_tokens(judge, [tokens[i] for i in batch], [ideas[i].context for i in batch])
        scores |= dict(zip(batch, map(parse_score, written), strict=True))
    return list(scores.values())


def format_judge_prompt(tokenizer: "PreTrainedTokenizerBase", idea: JudgedIdea) -> str:
    """Return the whole text after which the judge writes its number."""
    return format_prompt(tokenizer, render("hermes", proposal=idea.proposal, context=idea.context))


def _complete_tokens(judge: Judge, rows: list[list[int]], contexts: list[str]) -> list[Completion]:
    """What the judge writes after each row of tokens; what rows of one context begin with is read before, once."""
    import torch

    prefixes, places = _common_prefixes(rows, contexts, 1)
    stops = stop_token_ids(judge.model, judge.tokenizer)
    with torch.inference_mode():
        ids = mask = torch.zeros((len(rows), 0), dtype=torch.long, device=judge.model.device)
        cache = None
        if len(prefixes) < len(rows) and all(prefixes):
            read, seen = _pad(judge, prefixes)
            ids, mask, cache = read[places], seen[places], prefill_cache(judge.model, read, seen, places)
            rows = [row[len(prefixes[place]) :] for row, place in zip(rows, places, strict=True)]
        rest, more = _pad(judge, rows)
        ids, mask = torch.cat([ids, rest], dim=1), torch.cat([mask, more], dim=1)
        generated = judge.model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            do_sample=False,
            max_new_tokens=MAX_SCORE_TOKENS,
            pad_token_id=judge.tokenizer.pad_token_id,
            eos_token_id=stops,
        )[:, ids.shape[1] :].tolist()
    texts = judge.tokenizer.batch_decode(generated, skip_special_tokens=True)
    return [Completion(text, not {*stops} & {*tokens}) for text, tokens in zip(texts, generated, strict=True)]


def _common_prefixes(rows: list[list[int]], contexts: list[str], excluded: int) -> tuple[list[list[int]], list[int]]:
    """What the rows of each context begin with, less the last `kept` tokens, and which of them each row begins with."""
    groups: dict[str, list[list[int]]] = {}
    for row, context in zip(rows, contexts, strict=True):
        groups.setdefault(context, []).append(row)
    common = [_common_prefix([*group, min(group, key=len)[:-excluded]]) for group in groups.values()]
    place = {context: number for number, context in enumerate(groups)}
    return common, [place[context] for context in contexts]


def _common_prefix(rows: list[list[int]]) -> list[int]:
    return [tokens[0] for tokens in takewhile(lambda tokens: len({*tokens}) == 1, zip(*rows, strict=False))]


def _pad(judge: Judge, rows: list[list[int]]) -> "tuple[Tensor, Tensor]":
    padded = judge.tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt").to(judge.model.device)
    return padded["input_ids"], padded["attention_mask"]


def _token_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
