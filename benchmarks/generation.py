"""Drafts at several batch sizes, and Hermes as shipped against plain generation: `python benchmarks/generation.py`.

The starters, unquantized, best of five. A draft's tokens are those that the model wrote, its prefilled beginning left
out; by generation Hermes writes greedily until its number is complete.
"""

import random
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from osiris.config.settings import ModelSettings, Settings
from osiris.llm.generate import DraftRequest, draft_replies, reply_prefix, unconstrained
from osiris.llm.hermes import JudgedIdea, format_judge_prompt, score_ideas
from osiris.llm.loader import Judge, load_drafter, load_judge
from osiris.llm.starter_data import random_features, random_reply, random_symbol, render_draft_prompt, render_snapshot

DRAFTS = (1, 32, 128)
IDEAS = ((1, 1), (32, 1), (128, 1), (30, 6), (126, 6))
"""At once, and of one prompt: those share its beginning."""
ROUNDS = 5


def best(work: Callable[[], object]) -> float:
    """The least seconds of some rounds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def drafting() -> Table:
    """Tokens a second by batch size, bound to the schema and not."""
    rng, drafter = random.Random(1), load_drafter(Settings())
    table = Table("drafts at once", "tokens a second", "drafts a second", "within the schema, tokens a second", "costs")
    for size in DRAFTS:
        bound = Settings(model=ModelSettings(batch_size=size, retries=0))
        symbols = [random_symbol(rng) for _ in range(max(size, 32))]
        requests = [DraftRequest(render_draft_prompt(symbol, random_features(rng)), symbol) for symbol in symbols]
        speeds = []
        for settings in (unconstrained(bound), bound):
            took = best(lambda requests=requests, settings=settings: draft_replies(drafter, requests, 1, settings, 0))
            texts = [group[0].text for group in draft_replies(drafter, requests, 1, settings, 0)]
            tokens = sum(
                len(drafter.tokenizer(text.removeprefix(reply_prefix(symbol)))["input_ids"])
                for text, symbol in zip(texts, symbols, strict=True)
            )
            speeds.append((tokens / took, len(requests) / took))
        (free, drafts), (within, _) = speeds
        table.add_row(str(size), f"{free:,.0f}", f"{drafts:.1f}", f"{within:,.0f}", f"{free / within - 1:+.0%}")
    return table


def by_generation(judge: Judge, ideas: list[JudgedIdea], size: int) -> list[int | None]:
    """The numbers that greedy decoding writes."""
    found = []
    for start in range(0, len(ideas), size):
        texts = [format_judge_prompt(judge.tokenizer, idea) for idea in ideas[start : start + size]]
        inputs = judge.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )
        with torch.inference_mode():
            written = judge.model.generate(**inputs, max_new_tokens=3, do_sample=False)
        answers = judge.tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        found += [int(answer.strip()) if answer.strip().isdigit() else None for answer in answers]
    return found


def ideas_of(prompts: int, candidates: int) -> list[JudgedIdea]:
    """Random ideas, so many on each of some snapshots."""
    rng, ideas = random.Random(2), []
    for _ in range(prompts):
        features = random_features(rng)
        symbol, context = random_symbol(rng), render_snapshot(features)
        ideas += [JudgedIdea(random_reply(rng, symbol, features).to_json(), context) for _ in range(candidates)]
    return ideas


def scoring() -> Table:
    """Milliseconds an idea as shipped and by plain generation, and how often both say the same."""
    judge = load_judge(Settings())
    table = Table(
        "ideas at once",
        "of one prompt",
        "ms by score",
        "ms by generation",
        "times as fast",
        "same number",
        "tokens read",
    )
    for size, candidates in IDEAS:
        ideas = ideas_of(max(size, 60) // candidates, candidates)
        shipped = best(lambda ideas=ideas, size=size: score_ideas(judge, ideas, size))
        written = best(lambda ideas=ideas, size=size: by_generation(judge, ideas, size))
        same = [
            a.raw == b for a, b in zip(score_ideas(judge, ideas, size), by_generation(judge, ideas, size), strict=True)
        ]
        milliseconds = (1000 * took / len(ideas) for took in (shipped, written))
        table.add_row(
            str(size), str(candidates), *(f"{one:.2f}" for one in milliseconds), f"{written / shipped:.2f}",
            f"{sum(same)}/{len(same)}", f"{read_share(judge, ideas, size):.0%}",
        )  # fmt: skip
    return table


def read_share(judge: Judge, ideas: list[JudgedIdea], size: int) -> float:
    """How many tokens the judge reads for a score, to those of all prompts."""
    read = []
    hook = judge.model.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    score_ideas(judge, ideas, size)
    hook.remove()
    texts = [format_judge_prompt(judge.tokenizer, idea) for idea in ideas]
    return sum(read) / sum(len(ids) for ids in judge.tokenizer(texts, add_special_tokens=False)["input_ids"])


if __name__ == "__main__":
    for made in (drafting(), scoring()):
        Console().print(made)
