"""How good the starter models are, on several seeds: `python benchmarks/starters.py [SEED ...]`.

Prompts and ideas are drawn from a generator that training does not use. Builds go to a folder of their own unless
`--cached` is given, so that the seconds are those of a build.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from osiris.llm import starter_data as data
from osiris.llm.generate import DraftRequest, draft
from osiris.llm.hermes import Idea, score
from osiris.llm.loader import Drafter, Judge, load_drafter, load_judge
from osiris.llm.starter import ensure_starters
from osiris.llm.starter_train import training_stream
from osiris.records import Side
from osiris.settings import Model, Settings

PROMPTS = 600
IDEAS = 1000
ODD = [
    "BRK-B",
    "^GSPC",
    "BTC-USD",
    "0700.HK",
    "AAPL",
    "EURUSD=X",
    "GOOG",
    "600519.SS",
    "BF-B",
    "IBM",
    "ES=F",
    "ABCDEFGHIJKLMNO",
]


def main() -> None:
    """Build (or take from the cache), measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--cached", action="store_true", help="use the user's cache instead of building afresh")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as fresh:
        cache = Settings().model.cache.expanduser() if args.cached else Path(fresh)
        rows = {seed: measure(seed, cache) for seed in args.seeds}
    if args.json:
        print(json.dumps(rows))
        return
    table = Table("", *[f"seed {seed}" for seed in rows], title="starter models")
    for name in next(iter(rows.values())):
        table.add_row(name, *[f"{row[name]:.4g}" for row in rows.values()])
    Console().print(table)


def measure(seed: int, cache: Path) -> dict[str, float]:
    """Return the figures of one seed by name; shares are fractions of 1."""
    started = time.perf_counter()
    folders = ensure_starters(Settings(model=Model(cache=cache)), seed)
    figures = {"seconds to have both": time.perf_counter() - started}
    models = Model(base=str(folders["drafter"]), judge=str(folders["judge"]), retries=0)
    settings = Settings(model=models)
    drafter, judge = load_drafter(settings), load_judge(settings)
    rng = random.Random(f"benchmark {seed}")
    usual = [data.random_symbol(rng) for _ in range(PROMPTS)]
    odd = [ODD[i % len(ODD)] for i in range(PROMPTS)]
    for name, tickers in (("taught", taught_symbols(seed)), ("new", usual), ("odd", odd)):
        found = draft_figures(drafter, tickers, settings, rng, seed)
        figures |= {f"{key}, {name} tickers": value for key, value in found.items()}
    return figures | judge_figures(judge, rng)


def taught_symbols(seed: int) -> list[str]:
    """Return tickers of the first conversations that the drafter of `seed` was trained on."""
    rng = training_stream("drafter", seed)
    prompts = [data.draft_example(rng).prompt for _ in range(PROMPTS)]
    return [prompt.splitlines()[0].removeprefix("Ticker: ") for prompt in prompts]


def draft_figures(
    drafter: Drafter, tickers: list[str], settings: Settings, rng: random.Random, seed: int
) -> dict[str, float]:
    """Draft once for each ticker: validity, agreement of side, reason and snapshot, share of long, drafts a second."""
    markets = [data.random_features(rng) for _ in tickers]
    asked = zip(tickers, markets, strict=True)
    requests = [DraftRequest(data.draft_prompt(ticker, features), ticker) for ticker, features in asked]
    started = time.perf_counter()
    replies = [drafts[0].reply for drafts in draft(drafter, requests, 1, settings, seed)]
    seconds = time.perf_counter() - started
    valid = [(reply, features) for reply, features in zip(replies, markets, strict=True) if reply]
    return {
        "valid": len(valid) / len(replies),
        "agreement": float(np.mean([data.is_coherent(reply, features) for reply, features in valid])),
        "long": float(np.mean([reply.side is Side.LONG for reply, _ in valid])),
        "drafts a s": len(replies) / seconds,
    }


def judge_figures(judge: Judge, rng: random.Random) -> dict[str, float]:
    """Score ideas that training never saw: correlation with the taught score, how many numbers were used."""
    ideas, taught = [], []
    for _ in range(IDEAS):
        features = data.random_features(rng)
        reply = data.random_reply(rng, data.random_symbol(rng), features)
        ideas.append(Idea(reply.to_json(), data.snapshot_text(features)))
        taught.append(data.taught_score(reply, features))
    started = time.perf_counter()
    scores = score(judge, ideas, batch_size=64)
    seconds = time.perf_counter() - started
    read = [(result.raw, right) for result, right in zip(scores, taught, strict=True) if result.raw is not None]
    raw, right = np.array(read).T
    return {
        "scored": len(read) / IDEAS,
        "correlation with the taught score": float(np.corrcoef(raw, right)[0, 1]),
        "exactly the taught score": float((raw == right).mean()),
        "numbers used": float(len(set(raw.tolist()))),
        "scores a s": IDEAS / seconds,
    }


if __name__ == "__main__":
    main()
