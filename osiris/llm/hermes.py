"""Hermes, the judge: a number from 0 to 10 for each idea, read from the logits, by a judge on a server written out.

One forward pass a batch gives the number that greedy decoding would write, `10` of two tokens included: the first token
of `10` is appended to the prompt, so that the pass also holds what would follow it.
"""

import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from osiris.errors import BadInput
from osiris.llm.loader import Judge
from osiris.llm.models import AnyJudge
from osiris.llm.prompts import render
from osiris.llm.remote import RemoteJudge
from osiris.llm.write import positions_of, read_once

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
    """Score ideas in order; an empty list gives an empty list. An idea that is too long for the judge gets no score.

    Raises `BadInput` for a tokenizer in which 0-9 are not one token each, or 10 more than two.
    """
    if not ideas:
        return []
    prompts = [judge_text(judge.tokenizer, idea) for idea in ideas]
    numbers = spell_numbers(judge.tokenizer, prompts[0])
    asked = [(idea.context, _ids(judge.tokenizer, prompt)) for idea, prompt in zip(ideas, prompts, strict=True)]
    room = judge.tokenizer.model_max_length - len(numbers.lead) - 2
    short = [number for number, (_, prompt) in enumerate(asked) if len(prompt) <= room]
    scores = dict.fromkeys(range(len(asked)), Score(None, None, f"longer than the {room} tokens that the judge reads"))
    for start in range(0, len(short), batch_size):
        batch = short[start : start + batch_size]
        if isinstance(judge, RemoteJudge):
            found = [_written(text) for text in judge.write([prompts[i] for i in batch], len(numbers.lead) + 2)]
        else:
            found = _score_batch(judge, [asked[i] for i in batch], numbers)
        scores |= dict(zip(batch, found, strict=True))
    return list(scores.values())


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


def _score_batch(judge: Judge, ideas: list[tuple[str, list[int]]], numbers: Numbers) -> list[Score]:
    """Score contexts and prompts in one pass over prompt + lead + the token of 1.

    What the prompts of one context begin with is read before, once for all of them.
    """
    import torch

    tail = [*numbers.lead, numbers.one]
    rows = [prompt + tail for _, prompt in ideas]
    begun, places = _beginnings(rows, [context for context, _ in ideas], len(tail) + 1)
    mask, cache = torch.zeros((len(rows), 0), dtype=torch.long, device=judge.model.device), None
    with torch.inference_mode():
        if len(begun) < len(rows) and all(begun):
            ids, read = _padded(judge, begun)
            mask, cache = read[places], read_once(judge.model, ids, read, places)
            rows = [row[len(begun[place]) :] for row, place in zip(rows, places, strict=True)]
        ids, rest = _padded(judge, rows)
        whole = torch.cat([mask, rest], dim=1)
        logits = judge.model(
            input_ids=ids,
            attention_mask=whole,
            position_ids=positions_of(whole)[:, mask.shape[1] :],
            past_key_values=cache,
            logits_to_keep=len(tail) + 1,
            use_cache=cache is not None,
        ).logits
    return [_read(row, numbers, judge.tokenizer) for row in logits.argmax(-1).tolist()]


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
    found = re.match(r"\s*(10|[0-9])", text)
    if found is None:
        return Score(None, None, f"the judge wrote {text!r}, which is no number 0-10")
    return Score(int(found[1]), int(found[1]) / MOST)


def _unreadable(token: int, tokenizer: "PreTrainedTokenizerBase") -> Score:
    return Score(None, None, f"the judge would have begun with {tokenizer.decode([token])!r}, which is no number 0-10")


def _ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
