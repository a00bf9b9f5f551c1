"""How often the gate promotes chance, and how often skill: `python benchmarks/gate.py [--walks 6] [--sessions 80]`.

Challengers are compared with coins that go long on half of the prompts. A night has held-out prompts of `--sessions`
sessions of its own, two candidates each, and is a first look at half of `gate.alpha`. Every comparison goes through
the gate's own functions: `settle_on_paper`, `weigh`, `compare`.

The market is either the sample bars of AAPL, GOOG, IBM and MSFT, or walks without drift that share a part of their
returns. On walks the nights are independent and a rate has Wilson's 95 % interval. The real nights are tossed `--real`
times each, so that the unit is the night: their interval is Student's over the nights' own rates.

Challengers: coins that go long too often or too seldom; coins that are kept for 20 sessions on average; followers of
the last 5 or 20 days, and those who go against them, right or not; and for the power, those who know the better side in
a share of the cases.
"""

import argparse
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from osiris.config.settings import Settings
from osiris.drafting.snapshots import take_snapshots
from osiris.learn_check.no_skill import (
    RandomWalks,
    SettledPrompts,
    count_promotions,
    local_workspace,
    settle_both_sides,
    settled_walks,
)
from osiris.learn_check.report import promoted_share, t_interval
from osiris.market.calendars import closes_between
from osiris.market.sample import SAMPLE_CALENDAR, load_sample

TICKERS, CORRELATIONS, REAL = (4, 20, 60), (0.0, 0.3, 0.6), ("AAPL", "GOOG", "IBM", "MSFT")
LONGEST, KEPT = 9000, 20
FIRST, LAST = datetime(2004, 12, 1, tzinfo=UTC), datetime(2013, 2, 1, tzinfo=UTC)

Chances = list[NDArray[np.float64]]
"""The chance of a long on every prompt, shape (prompts,), a night."""
Challenger = Callable[[Sequence[SettledPrompts], int], Chances]
"""From nights and a seed to its chances."""


def always(share: float) -> Challenger:
    """Coins with one share of longs."""
    return lambda nights, seed: [np.full(night.prompt_count, share) for night in nights]


def kept(nights: Sequence[SettledPrompts], seed: int) -> Chances:
    """A side a ticker that is tossed anew on one session in `KEPT`."""
    rng = np.random.default_rng(seed)

    def one(night: SettledPrompts) -> NDArray[np.float64]:
        shape = night.prompt_count // night.tickers, night.tickers
        anew = rng.random(shape) < 1 / KEPT
        anew[0] = True
        last = np.maximum.accumulate(np.where(anew, np.arange(shape[0])[:, None], 0), axis=0)
        tossed = (rng.random(shape) < 0.5).astype(float)
        return np.take_along_axis(tossed, last, axis=0).ravel()

    return [one(night) for night in nights]


def after(sessions: int, with_it: bool) -> Challenger:
    """Go with or against the change of the price over so many sessions; even coins before there are so many."""

    def one(night: SettledPrompts) -> NDArray[np.float64]:
        prices = night.sides["entry"].to_numpy()[: night.prompt_count].reshape(-1, night.tickers)
        rose = np.full(prices.shape, 0.5)
        rose[sessions:] = (prices[sessions:] > prices[:-sessions]) == with_it
        return rose.ravel()

    return lambda nights, seed: [one(night) for night in nights]


def right(share: float) -> Challenger:
    """Choose the side that will be worth more on this share of the candidates."""
    return lambda nights, seed: [
        np.where(np.nan_to_num(night.r_multiples[:, 0]) > np.nan_to_num(night.r_multiples[:, 1]), share, 1 - share)
        for night in nights
    ]


CHALLENGERS: dict[str, Challenger] = {
    "25 % long": always(0.25),
    "50 % long": always(0.5),
    "75 % long": always(0.75),
    "100 % long": always(1.0),
    "kept coins": kept,
    "with 5 days": after(5, True),
    "against 5 days": after(5, False),
    "with 20 days": after(20, True),
    "against 20 days": after(20, False),
    "right in 55 %": right(0.55),
    "right in 60 %": right(0.6),
    "right in 70 %": right(0.7),
}


def on_one_walk(walks: RandomWalks) -> dict[str, Any]:
    """All challengers on the nights of one market."""
    with settled_walks(walks) as (nights, settings):
        found = {
            name: count_promotions(nights, chances(nights, walks.seed), settings, walks.seed)
            for name, chances in CHALLENGERS.items()
        }
    return {"tickers": walks.tickers, "correlation": walks.correlation, "found": found}


def on_real_bars(times: int, sessions: int) -> dict[str, Any]:
    """All challengers on real bars, each night tossed `times` times: the nights' own rates are what is averaged."""
    nights, settings = real_nights(sessions)
    found = {}
    for name, chances in CHALLENGERS.items():
        rates = [
            float(np.mean([_promoted(night, chances, settings, times * number + toss) for toss in range(times)]))
            for number, night in enumerate(track(nights, name, console=Console(stderr=True)))
        ]
        low, high = _bounds(rates)
        found[name] = {"comparisons": len(nights) * times, "share": float(np.mean(rates)), "low": low, "high": high}
    return {"arm": "real bars", "nights": len(nights), "found": found}


def _bounds(rates: list[float]) -> tuple[float, float]:
    """Student's interval within 0 and 1; where all nights are alike, Wilson's of as many nights."""
    if len(set(rates)) == 1 and rates[0] in (0.0, 1.0):
        alike = promoted_share(int(rates[0]) * len(rates), len(rates))
        return alike["low"], alike["high"]
    low, high = t_interval(rates)
    return max(0.0, low), min(1.0, high)


def _promoted(night: SettledPrompts, chances: Challenger, settings: Settings, seed: int) -> float:
    return count_promotions([night], chances([night], seed), settings, seed)["promoted"]


def real_nights(sessions: int) -> tuple[list[SettledPrompts], Settings]:
    """Nights of so many sessions each, one after the other, of real daily bars."""
    closes = [close.to_pydatetime() for close in closes_between(SAMPLE_CALENDAR, FIRST, LAST)]
    with local_workspace(closes[-1]) as workspace:
        load_sample(workspace.bars, REAL)
        nights = []
        for start in range(0, len(closes) - sessions, sessions):
            held_out = closes[start : start + sessions]
            shots = take_snapshots(workspace.snapshots, workspace.policy, list(REAL), held_out[:-1])
            shots = sorted(shots, key=lambda shot: (shot.as_of, shot.ticker))
            if len(shots) == len(REAL) * (sessions - 1):
                nights.append(settle_both_sides(shots, workspace.prices, workspace.settings, held_out[-1]))
    return nights, workspace.settings


def pooled(parts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The markets of as many tickers together, those as strongly correlated, and all."""
    groups: dict[str, list[dict[str, Any]]] = {f"{n} tickers": [p for p in parts if p["tickers"] == n] for n in TICKERS}
    groups |= {f"correlation {c:g}": [p for p in parts if p["correlation"] == c] for c in CORRELATIONS}
    for arm, members in {**groups, "all walks": list(parts)}.items():
        found = {}
        for name in CHALLENGERS:
            rows = [part["found"][name] for part in members]
            found[name] = promoted_share(*(sum(row[key] for row in rows) for key in ("promoted", "comparisons")))
        yield {"arm": arm, "found": found}


def main() -> None:
    """Run all arms and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walks", type=int, default=6, help="markets of each kind")
    parser.add_argument("--real", type=int, default=20, help="tosses of each night of real bars")
    parser.add_argument("--sessions", type=int, default=80, help="held-out sessions of a night")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    plans = [
        RandomWalks(seed, tickers, correlation, nights=LONGEST // given.sessions, sessions=given.sessions)
        for tickers in TICKERS
        for correlation in CORRELATIONS
        for seed in range(given.walks)
    ]
    arms = [on_real_bars(given.real, given.sessions)] if given.real else []
    with ProcessPoolExecutor(given.jobs, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(on_one_walk, walks) for walks in plans]
        done = track(as_completed(futures), "walks", len(futures), console=Console(stderr=True))
        arms += pooled([future.result() for future in done])
    if given.json:
        print(json.dumps(arms, indent=1))
        return
    names = [arm["arm"] for arm in arms]
    table = Table("challenger", *names, title="promoted of 100 (95 % interval)")
    for name in CHALLENGERS:
        cells = [arm["found"][name] for arm in arms]
        table.add_row(name, *(f"{100 * c['share']:.1f} ({100 * c['low']:.1f}-{100 * c['high']:.1f})" for c in cells))
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
