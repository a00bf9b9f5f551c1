"""How good the starter models are, on several seeds: `python benchmarks/starters.py [SEED ...]`.

Prompts and ideas are drawn from a generator that training does not use. Builds go to a folder of their own unless
`--cached` is given, so that the seconds are those of a build. Exits with 1 when a figure misses its bar.
"""

import argparse
import json
import random
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from osiris.config.settings import AdviseSettings, ModelSettings, PricesSettings, Settings
from osiris.core.ideas import Side
from osiris.drafting.snapshots import SnapshotSource, take_snapshots
from osiris.evaluation.heldout import evaluate_drafter
from osiris.evaluation.paper_trading import simulate_paper_trades
from osiris.llm import starter_data as data
from osiris.llm.generate import DraftRequest, draft_replies
from osiris.llm.hermes import JudgedIdea, score_ideas
from osiris.llm.loader import Drafter, Judge, load_drafter, load_judge
from osiris.llm.starter import ensure_starters
from osiris.llm.starter_train import training_rng
from osiris.market.bar_store import BarStore
from osiris.market.calendars import closes_between
from osiris.market.provider import BarProvider
from osiris.market.sample import load_sample
from osiris.market.yahoo import YahooClient
from osiris.policy import ShippedPolicy
from osiris.storage.advice import AdviceStore
from osiris.storage.journal import Journal

BARS = {
    "valid": (0.98, 1.0), "agreement": (0.98, 1.0), "long": (0.4, 0.6), "win rate less that of the other side":
    (-0.05, 0.05), "correlation": (0.7, 1.0), "numbers used": (8, 11),
}  # fmt: skip
"""Lowest and highest value of the figures whose names begin so."""
EDGE_EVERY = 8
"""Every so many sessions a real snapshot is drafted on, for the win rate."""
EDGE_TICKERS = ["AAPL", "GOOG", "IBM", "MSFT"]
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
    missed = [f"seed {seed}: {name} {row[name]:.4g}" for seed, row in rows.items() for name in row if misses(name, row)]
    if args.json:
        print(json.dumps(rows | {"missed": missed}))
        raise SystemExit(bool(missed))
    table = Table("", *[f"seed {seed}" for seed in rows], title="starter models")
    for name in next(iter(rows.values())):
        table.add_row(name, *[f"{row[name]:.4g}" for row in rows.values()])
    Console().print(table)
    raise SystemExit("; ".join(missed) or None)


def misses(name: str, row: dict[str, float]) -> bool:
    """Whether a figure is outside of its bar."""
    return any(name.startswith(key) and not low <= row[name] <= high for key, (low, high) in BARS.items())


def measure(seed: int, cache: Path) -> dict[str, float]:
    """Return the figures of one seed by name; shares are fractions of 1."""
    started = time.perf_counter()
    folders = ensure_starters(Settings(model=ModelSettings(cache=cache)), seed)
    figures = {"seconds to have both": time.perf_counter() - started}
    models = ModelSettings(base=str(folders["drafter"]), judge=str(folders["judge"]), retries=0)
    settings = Settings(model=models)
    drafter, judge = load_drafter(settings), load_judge(settings)
    rng = random.Random(f"benchmark {seed}")
    usual = [data.random_symbol(rng) for _ in range(PROMPTS)]
    odd = [ODD[i % len(ODD)] for i in range(PROMPTS)]
    for name, tickers in (("taught", taught_symbols(seed)), ("new", usual), ("odd", odd)):
        found = draft_figures(drafter, tickers, settings, rng, seed)
        figures |= {f"{key}, {name} tickers": value for key, value in found.items()}
    return figures | edge_figures(drafter, settings) | judge_figures(judge, rng)


def taught_symbols(seed: int) -> list[str]:
    """Return tickers of the first conversations that the drafter of `seed` was trained on."""
    rng = training_rng("drafter", seed)
    prompts = [data.random_draft_example(rng).prompt for _ in range(PROMPTS)]
    return [prompt.splitlines()[0].removeprefix("Ticker: ") for prompt in prompts]


def draft_figures(
    drafter: Drafter, tickers: list[str], settings: Settings, rng: random.Random, seed: int
) -> dict[str, float]:
    """Draft once for each ticker: validity, agreement of side, reason and snapshot, share of long, drafts a second."""
    markets = [data.random_features(rng) for _ in tickers]
    asked = zip(tickers, markets, strict=True)
    requests = [DraftRequest(data.render_draft_prompt(ticker, features), ticker) for ticker, features in asked]
    started = time.perf_counter()
    replies = [drafts[0].reply for drafts in draft_replies(drafter, requests, 1, settings, seed)]
    seconds = time.perf_counter() - started
    valid = [(reply, features) for reply, features in zip(replies, markets, strict=True) if reply]
    return {
        "valid": len(valid) / len(replies),
        "agreement": float(np.mean([data.is_coherent(reply, features) for reply, features in valid])),
        "long": float(np.mean([reply.side is Side.LONG for reply, _ in valid])),
        "drafts a s": len(replies) / seconds,
    }


def edge_figures(drafter: Drafter, settings: Settings) -> dict[str, float]:
    """Settle one idea a ticker and week on the real sample bars: its win rate against that of the other side."""
    with tempfile.TemporaryDirectory() as folder:
        store = BarStore(Path(folder))
        load_sample(store, EDGE_TICKERS)
        local = settings.model_copy(
            update={"prices": PricesSettings(source="local"), "advise": AdviseSettings(tickers=EDGE_TICKERS)}
        )
        prices = BarProvider(store, YahooClient(), local)
        moments = closes_between("XNYS", datetime(2001, 1, 1, tzinfo=UTC), datetime(2012, 6, 1, tzinfo=UTC))
        advice = AdviceStore(Path(folder) / "advice.lancedb", Journal(Path(folder) / "journal.jsonl"))
        source = SnapshotSource(prices, advice, local)
        shots = take_snapshots(
            source, ShippedPolicy(), EDGE_TICKERS, [m.to_pydatetime() for m in moments[::EDGE_EVERY]]
        )
        end = datetime(2013, 2, 1, tzinfo=UTC)
        trades = evaluate_drafter(drafter, shots, prices, local, end).trades
        price = trades["entry"]
        other = trades.assign(
            side=np.where(trades["side"] == "long", "short", "long"),
            target=2 * price - trades["target"],
            stop=2 * price - trades["stop"],
        )
        swapped = simulate_paper_trades(other[trades.columns.drop(["r", "filled"])], prices, local, end)
        rates = [t["r"][t["filled"]].gt(0).mean() for t in (trades, swapped)]
    return {
        "ideas on real bars": float(len(trades)),
        "win rate": float(rates[0]),
        "win rate less that of the other side": float(rates[0] - rates[1]),
        "mean R": float(trades["r"][trades["filled"]].mean()),
    }


def judge_figures(judge: Judge, rng: random.Random) -> dict[str, float]:
    """Score ideas that training never saw: correlation with the taught score, how many numbers were used."""
    ideas, taught = [], []
    for _ in range(IDEAS):
        features = data.random_features(rng)
        reply = data.random_reply(rng, data.random_symbol(rng), features)
        ideas.append(JudgedIdea(reply.to_json(), data.render_snapshot(features)))
        taught.append(data.reference_score(reply, features))
    started = time.perf_counter()
    scores = score_ideas(judge, ideas, batch_size=64)
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
