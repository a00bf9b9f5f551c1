"""Drafts at several batch sizes, and Hermes by logits against Hermes by generation: `python benchmarks/generation.py`.

The starters, unquantized, best of three. A draft's tokens are those that the model wrote, its prefilled beginning left
out; by generation Hermes writes greedily until its number is complete.
"""

import random
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from osiris.llm.generate import DraftRequest, draft, prefill
from osiris.llm.hermes import Idea, judge_text, score
from osiris.llm.loader import Judge, load_drafter, load_judge
from osiris.llm.starter_data import draft_prompt, random_features, random_reply, random_symbol, snapshot_text
from osiris.settings import Model, Settings

DRAFTS, IDEAS = (1, 32, 128), (1, 32, 128)
ROUNDS = 3


def best(work: Callable[[], object]) -> float:
    """The least seconds of some rounds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def drafting() -> Table:
    """Tokens a second by batch size."""
    rng, drafter = random.Random(1), load_drafter(Settings())
    table = Table("drafts at once", "tokens a second", "drafts a second")
    for size in DRAFTS:
        settings = Settings(model=Model(batch_size=size, retries=0))
        count = max(size, 8)
        symbols = [random_symbol(rng) for _ in range(count)]
        requests = [DraftRequest(draft_prompt(symbol, random_features(rng)), symbol) for symbol in symbols]
        texts = [group[0].text for group in draft(drafter, requests, 1, settings, 0)]
        tokens = sum(
            len(drafter.tokenizer(text.removeprefix(prefill(symbol)))["input_ids"])
            for text, symbol in zip(texts, symbols, strict=True)
        )
        took = best(lambda requests=requests, settings=settings: draft(drafter, requests, 1, settings, 0))
        table.add_row(str(size), f"{tokens / took:,.0f}", f"{count / took:.1f}")
    return table


def by_generation(judge: Judge, ideas: list[Idea], size: int) -> list[int | None]:
    """The numbers that greedy decoding writes."""
    found = []
    for start in range(0, len(ideas), size):
        texts = [judge_text(judge.tokenizer, idea) for idea in ideas[start : start + size]]
        inputs = judge.tokenizer(
            texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )
        with torch.inference_mode():
            written = judge.model.generate(**inputs, max_new_tokens=3, do_sample=False)
        answers = judge.tokenizer.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        found += [int(answer.strip()) if answer.strip().isdigit() else None for answer in answers]
    return found


def scoring() -> Table:
    """Seconds an idea by logits and by generation, and how often both say the same."""
    rng, judge = random.Random(2), load_judge(Settings())
    table = Table("ideas at once", "ms by logits", "ms by generation", "times as fast", "same number")
    for size in IDEAS:
        ideas = []
        for _ in range(max(size, 64)):
            features = random_features(rng)
            ideas.append(Idea(random_reply(rng, random_symbol(rng), features).to_json(), snapshot_text(features)))
        logits = best(lambda ideas=ideas, size=size: score(judge, ideas, size))
        written = best(lambda ideas=ideas, size=size: by_generation(judge, ideas, size))
        same = [a.raw == b for a, b in zip(score(judge, ideas, size), by_generation(judge, ideas, size), strict=True)]
        milliseconds = (1000 * took / len(ideas) for took in (logits, written))
        table.add_row(
            str(size), *(f"{one:.2f}" for one in milliseconds), f"{written / logits:.2f}", f"{sum(same)}/{len(same)}"
        )
    return table


if __name__ == "__main__":
    for made in (drafting(), scoring()):
        Console().print(made)
