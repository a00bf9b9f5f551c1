"""Hermes, the judge: a number from 0 to 10 for each idea, read from the logits instead of being written out.

One forward pass a batch gives the number that greedy decoding would write, `10` of two tokens included: the first token
of `10` is appended to the prompt, so that the pass also holds what would follow it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from osiris.errors import BadInput
from osiris.llm.loader import Judge
from osiris.llm.models import AnyJudge
from osiris.llm.prompts import render
from osiris.llm.remote import RemoteJudge

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

MOST = 10
"""The largest number; scores are numbers divided by it."""


@dataclass(frozen=True)
class Idea:
    """What is judged: the proposal (a reply's JSON, or any text) and its context (the snapshot; may be empty)."""

    proposal: str
    context: str = ""


@dataclass(frozen=True)
class Score:
    """`raw` 0-10 and `normalized` = raw / 10; both `None` when the judge would write no number, as `note` then says."""

    raw: int | None
    normalized: float | None
    note: str = ""


@dataclass(frozen=True)
class Numbers:
    """How a tokenizer writes 0-10 after a prompt.

    `lead` is what all of them begin with (some tokenizers put a space piece first; mostly empty), `first` maps the
    token after it to the number, and `second` makes 10 of the token `one`; it is `None` where 10 is one token.
    """

    lead: tuple[int, ...]
    first: dict[int, int]
    one: int
    second: int | None


def score(judge: AnyJudge, ideas: list[Idea], batch_size: int) -> list[Score]:
    """Score ideas in order; an empty list gives an empty list. A judge on a server writes its numbers out.

    Raises `BadInput` for a tokenizer in which 0-9 are not one token each, or 10 more than two.
    """
    if not ideas:
        return []
    prompts = [judge_text(judge.tokenizer, idea) for idea in ideas]
    numbers = spell_numbers(judge.tokenizer, prompts[0])
    if isinstance(judge, RemoteJudge):
        return [_written(text) for text in judge.write(prompts, len(numbers.lead) + 2)]
    return [result for batch in _batches(prompts, batch_size) for result in _score_batch(judge, batch, numbers)]


def judge_text(tokenizer: "PreTrainedTokenizerBase", idea: Idea) -> str:
    """Return the whole text after which the judge writes its number."""
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": render("hermes", proposal=idea.proposal, context=idea.context)}],
        tokenize=False,
        add_generation_prompt=True,
    )


def spell_numbers(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> Numbers:
    """Find the tokens of 0-10 in their place after `prompt`, where they may differ from those of the bare digits."""
    start = len(_ids(tokenizer, prompt))
    spelled = [tuple(_ids(tokenizer, f"{prompt}{number}")[start:]) for number in range(MOST + 1)]
    lead = spelled[0][:-1]
    bare = [ids[len(lead) :] for ids in spelled]
    digits, ten = bare[:MOST], bare[MOST]
    single = all(len(ids) == 1 for ids in digits) and all(ids[: len(lead)] == lead for ids in spelled)
    if not single or len({*digits}) < MOST or not (len(ten) == 1 or (len(ten) == 2 and ten[:1] == digits[1])):
        raise BadInput(
            "a tokenizer that writes 0-9 as one token each and 10 as one or as 1 and another",
            f"{spelled}",
            "use another model.judge",
        )
    first = {ids[0]: number for number, ids in enumerate(digits)}
    if len(ten) == 1:
        return Numbers(lead, first | {ten[0]: MOST}, digits[1][0], None)
    return Numbers(lead, first, digits[1][0], ten[1])


def _score_batch(judge: Judge, prompts: list[str], numbers: Numbers) -> list[Score]:
    """Score one batch in one pass over prompt + lead + the token of 1."""
    import torch

    tail = (*numbers.lead, numbers.one)
    inputs = judge.tokenizer(
        prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
    ).to(judge.model.device)
    ids = _append(inputs["input_ids"], torch.tensor(tail))
    mask = _append(inputs["attention_mask"], torch.ones(len(tail), dtype=torch.long))
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        logits = judge.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=len(tail) + 1, use_cache=False
        ).logits
    return [_read(row, numbers, judge.tokenizer) for row in logits.argmax(-1).tolist()]


def _append(rows: "Tensor", tail: "Tensor") -> "Tensor":
    import torch

    return torch.cat([rows, tail.to(rows).expand(len(rows), -1)], dim=1)


def _read(likeliest: list[int], numbers: Numbers, tokenizer: "PreTrainedTokenizerBase") -> Score:
    """Read the number from the likeliest token after the prompt, after each token of the lead, and after that of 1."""
    *lead, first, second = likeliest
    for wanted, came in zip(numbers.lead, lead, strict=True):
        if came != wanted:
            return _unreadable(came, tokenizer)
    if first not in numbers.first:
        return _unreadable(first, tokenizer)
    raw = numbers.first[first]
    if first == numbers.one and second == numbers.second:
        raw = MOST
    return Score(raw, raw / MOST)


def _written(text: str) -> Score:
    found = re.match(r"\s*(10|[0-9])(?![0-9])", text)
    if found is None:
        return Score(None, None, f"the judge wrote {text!r}, which is no number 0-10")
    return Score(int(found[1]), int(found[1]) / MOST)


def _unreadable(token: int, tokenizer: "PreTrainedTokenizerBase") -> Score:
    return Score(None, None, f"the judge would have begun with {tokenizer.decode([token])!r}, which is no number 0-10")


def _ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _batches(prompts: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(prompts), size):
        yield prompts[start : start + size]
