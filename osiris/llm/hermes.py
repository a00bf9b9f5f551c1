"""Hermes, the judge: a number from 0 to 10 for each idea, that which it writes when it takes the likeliest tokens.

A judge in this process and one on a server are read alike. What the prompts of one context begin with is read once.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from osiris.llm.chat import asked
from osiris.llm.loader import Judge
from osiris.llm.models import AnyJudge
from osiris.llm.numbers import Score, Written, read_number
from osiris.llm.prompts import render
from osiris.llm.remote import RemoteJudge
from osiris.llm.write import read_once, stops_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

TOKENS = 8
"""What a judge may write: space, a number, and enough to see that the number has ended."""


@dataclass(frozen=True)
class Idea:
    """What is judged: the proposal (a reply's JSON, or any text) and its context (the snapshot; may be empty)."""

    proposal: str
    context: str = ""


def score(judge: AnyJudge, ideas: list[Idea], batch_size: int) -> list[Score]:
    """Score ideas in order; an empty list gives an empty list. An idea that is too long for the judge gets no score."""
    prompts = [judge_text(judge.tokenizer, idea) for idea in ideas]
    tokens = [_ids(judge.tokenizer, prompt) for prompt in prompts]
    room = judge.tokenizer.model_max_length - TOKENS
    short = [place for place, prompt in enumerate(tokens) if len(prompt) <= room]
    scores = dict.fromkeys(range(len(ideas)), Score(None, None, f"longer than the {room} tokens that the judge reads"))
    for start in range(0, len(short), batch_size):
        batch = short[start : start + batch_size]
        if isinstance(judge, RemoteJudge):
            written = judge.write([prompts[i] for i in batch], TOKENS)
        else:
            written = _written(judge, [tokens[i] for i in batch], [ideas[i].context for i in batch])
        scores |= dict(zip(batch, map(read_number, written), strict=True))
    return list(scores.values())


def judge_text(tokenizer: "PreTrainedTokenizerBase", idea: Idea) -> str:
    """Return the whole text after which the judge writes its number."""
    return asked(tokenizer, render("hermes", proposal=idea.proposal, context=idea.context))


def _written(judge: Judge, rows: list[list[int]], contexts: list[str]) -> list[Written]:
    """What the judge writes after each row of tokens; what rows of one context begin with is read before, once."""
    import torch

    begun, places = _beginnings(rows, contexts, 1)
    stops = stops_of(judge.model, judge.tokenizer)
    with torch.inference_mode():
        ids = mask = torch.zeros((len(rows), 0), dtype=torch.long, device=judge.model.device)
        cache = None
        if len(begun) < len(rows) and all(begun):
            read, seen = _padded(judge, begun)
            ids, mask, cache = read[places], seen[places], read_once(judge.model, read, seen, places)
            rows = [row[len(begun[place]) :] for row, place in zip(rows, places, strict=True)]
        rest, more = _padded(judge, rows)
        ids, mask = torch.cat([ids, rest], dim=1), torch.cat([mask, more], dim=1)
        said = judge.model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            do_sample=False,
            max_new_tokens=TOKENS,
            pad_token_id=judge.tokenizer.pad_token_id,
            eos_token_id=stops,
        )[:, ids.shape[1] :].tolist()
    texts = judge.tokenizer.batch_decode(said, skip_special_tokens=True)
    return [Written(text, not {*stops} & {*tokens}) for text, tokens in zip(texts, said, strict=True)]


def _beginnings(rows: list[list[int]], contexts: list[str], kept: int) -> tuple[list[list[int]], list[int]]:
    """What the rows of each context begin with, less the last `kept` tokens, and which of them each row begins with."""
    groups: dict[str, list[list[int]]] = {}
    for row, context in zip(rows, contexts, strict=True):
        groups.setdefault(context, []).append(row)
    common = [_common([*group, min(group, key=len)[:-kept]]) for group in groups.values()]
    place = {context: number for number, context in enumerate(groups)}
    return common, [place[context] for context in contexts]


def _common(rows: list[list[int]]) -> list[int]:
    return [tokens[0] for tokens in takewhile(lambda tokens: len({*tokens}) == 1, zip(*rows, strict=False))]


def _padded(judge: Judge, rows: list[list[int]]) -> "tuple[Tensor, Tensor]":
    padded = judge.tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt").to(judge.model.device)
    return padded["input_ids"], padded["attention_mask"]


def _ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
