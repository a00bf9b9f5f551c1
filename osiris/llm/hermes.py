"""Hermes, the judge: it writes a number from 0 to 10 for each idea, always taking the likeliest tokens.

The answers of a judge in this process and of one on a server are parsed alike. The probability of each number is read
too, if the server tells it, so that a judge that likes to begin with "The" still says which number it would give.
Prompts about one context share their beginning, which a judge in this process reads only once.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from osiris.config.settings import Settings
from osiris.llm.chat import format_prompt
from osiris.llm.completion import as_generator, prefill_cache, stop_token_ids
from osiris.llm.loader import Judge
from osiris.llm.models import AnyJudge
from osiris.llm.number_odds import CachedPrompts, number_spellings, read_number_odds
from osiris.llm.prompts import SHIPPED_PROMPTS, Prompts
from osiris.llm.remote import RemoteJudge
from osiris.llm.scores import MIN_NUMBER_PROBABILITY, Completion, NumberOdds, Score, choose_score, parse_score

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

MAX_SCORE_TOKENS = 8
"""Tokens that a judge may write: a space, a number, and enough to see that the number has ended."""


@dataclass(frozen=True)
class JudgedIdea:
    """An idea to judge: the proposal (a reply's JSON, or any text) and its context (the snapshot; may be empty)."""

    proposal: str
    context: str = ""


def score_ideas(
    judge: AnyJudge,
    ideas: list[JudgedIdea],
    batch_size: int,
    min_probability: float = MIN_NUMBER_PROBABILITY,
    templates: Prompts = SHIPPED_PROMPTS,
) -> list[Score]:
    """Score ideas in order; an empty list gives an empty list. An idea that is too long for the judge gets no score.

    A judge that would write prose gets the number that it finds likeliest, if it would write a number
    with a probability of at least `min_probability` (`model.min_number_probability`).
    """
    prompts = [format_judge_prompt(judge.tokenizer, idea, templates) for idea in ideas]
    tokens = [_token_ids(judge.tokenizer, prompt) for prompt in prompts]
    room = judge.tokenizer.model_max_length - MAX_SCORE_TOKENS
    short = [number for number, prompt in enumerate(tokens) if len(prompt) <= room]
    scores = dict.fromkeys(range(len(ideas)), Score(None, None, f"longer than the {room} tokens that the judge reads"))
    for start in range(0, len(short), batch_size):
        batch = short[start : start + batch_size]
        if isinstance(judge, RemoteJudge):
            judged = judge.judge([prompts[i] for i in batch], MAX_SCORE_TOKENS)
        else:
            judged = _judge_tokens(judge, [tokens[i] for i in batch], [ideas[i].context for i in batch])
        for i, (completion, odds) in zip(batch, judged, strict=True):
            scores[i] = choose_score(completion, odds, min_probability) if odds else parse_score(completion)
    return list(scores.values())


def score_as_configured(judge: AnyJudge, ideas: list[JudgedIdea], settings: Settings) -> list[Score]:
    """Score ideas with the batches, the threshold and the templates of a workspace."""
    model = settings.model
    return score_ideas(judge, ideas, model.batch_size, model.min_number_probability, Prompts(settings.prompts))


def format_judge_prompt(
    tokenizer: "PreTrainedTokenizerBase", idea: JudgedIdea, templates: Prompts = SHIPPED_PROMPTS
) -> str:
    """Return the whole text after which the judge writes its number."""
    return format_prompt(tokenizer, templates.render("hermes", proposal=idea.proposal, context=idea.context))


def _judge_tokens(
    judge: Judge, rows: list[list[int]], contexts: list[str]
) -> list[tuple[Completion, NumberOdds | None]]:
    """What the judge writes after each row of tokens, and how likely each number is there.

    The shared beginning of the rows of a context is read once.
    """
    import torch

    prefixes, places = _common_prefixes(rows, contexts, 1)
    stops = stop_token_ids(judge.model, judge.tokenizer)
    with torch.inference_mode():
        ids = mask = torch.zeros((len(rows), 0), dtype=torch.long, device=judge.model.device)
        cache = None
        # Reading prefixes first pays off only if rows share them; an empty prefix cannot be read on its own.
        if len(prefixes) < len(rows) and all(prefixes):
            prefix_ids, prefix_mask = _pad(judge, prefixes)
            ids, mask = prefix_ids[places], prefix_mask[places]
            cache = prefill_cache(judge.model, prefix_ids, prefix_mask, places)
            rows = [row[len(prefixes[place]) :] for row, place in zip(rows, places, strict=True)]
        # Shapes are (rows, tokens): padded prefix, then padded rest. The mask hides the padding between the two.
        rest_ids, rest_mask = _pad(judge, rows)
        ids, mask = torch.cat([ids, rest_ids], dim=1), torch.cat([mask, rest_mask], dim=1)
        output = as_generator(judge.model).generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            do_sample=False,
            max_new_tokens=MAX_SCORE_TOKENS,
            pad_token_id=judge.tokenizer.pad_token_id,
            eos_token_id=stops,
            return_dict_in_generate=True,
            output_logits=True,
        )
        read = CachedPrompts(judge.model, ids, mask, output.past_key_values, output.logits[0])
        odds = read_number_odds(read, number_spellings(judge.tokenizer))
    generated = output.sequences[:, ids.shape[1] :].tolist()
    texts = judge.tokenizer.batch_decode(generated, skip_special_tokens=True)
    written = [Completion(text, not {*stops} & {*tokens}) for text, tokens in zip(texts, generated, strict=True)]
    return list(zip(written, odds, strict=True))


def _common_prefixes(rows: list[list[int]], contexts: list[str], excluded: int) -> tuple[list[list[int]], list[int]]:
    """The common beginning of the rows of each context, and the index of the one that each row begins with.

    It leaves out at least the last `excluded` tokens of every row: `generate` needs a token to go on from.
    """
    groups: dict[str, list[list[int]]] = {}
    for row, context in zip(rows, contexts, strict=True):
        groups.setdefault(context, []).append(row)
    common = [_common_prefix([*group, min(group, key=len)[:-excluded]]) for group in groups.values()]
    index = {context: number for number, context in enumerate(groups)}
    return common, [index[context] for context in contexts]


def _common_prefix(rows: list[list[int]]) -> list[int]:
    return [tokens[0] for tokens in takewhile(lambda tokens: len({*tokens}) == 1, zip(*rows, strict=False))]


def _pad(judge: Judge, rows: list[list[int]]) -> "tuple[Tensor, Tensor]":
    padded = judge.tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt").to(judge.model.device)
    return padded["input_ids"], padded["attention_mask"]


def _token_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
