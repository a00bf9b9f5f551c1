"""The loop on real daily bars, walking forward: `python benchmarks/walk_forward.py [--folds 5]`.

On the sample bars (five shares, 2000 to 2013) the plain starter drafts at every tenth session. From 2003 on, in each of
some windows of equal length, three draft on the same prompts: the starter, an adapter trained by the nightly recipe on
all that was known an embargo before the window, and chance (a side and distances drawn as the starter's teacher draws
them). Ideas expire after 14 days, so that those of one share do not overlap. Intervals resample quarters: they hold for
these adapters, of which there is one a window, and say nothing of how another training would have come out.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from osiris.config.settings import load_settings
from osiris.core.errors import TooLittleData
from osiris.drafting.draft_ideas import DraftingContext, draft_ideas
from osiris.drafting.snapshot import Snapshot
from osiris.drafting.snapshots import take_snapshots
from osiris.evaluation import heldout
from osiris.evaluation.stats import Estimate, estimate_mean, estimate_rate
from osiris.labeling.settle import settle
from osiris.llm.generate import Draft
from osiris.llm.loader import load_drafter
from osiris.llm.starter import ensure_starter
from osiris.llm.starter_data import random_features, random_reply
from osiris.market.calendars import closes_between
from osiris.market.sample import SAMPLE_CALENDAR, SAMPLE_TICKERS, load_sample
from osiris.training.datasets import build_dataset
from osiris.training.methods import train_adapter
from osiris.training.recipe import load_recipe
from osiris.training.run import TrainingOptions
from osiris.workspace import Workspace, open_workspace

FIRST, TESTED, LAST = (datetime(*day, tzinfo=UTC) for day in ((2000, 6, 1), (2003, 1, 1), (2013, 2, 1)))
EVERY, EMBARGO = 10, timedelta(days=15)
SETTINGS = f"""
[advise]
tickers = {json.dumps(list(SAMPLE_TICKERS))}
[prices]
source = "local"
[outcomes]
max_holding_days = 14
[gate]
candidates = 4
"""


def drafted_at() -> list[datetime]:
    """Every tenth session's close."""
    return [close.to_pydatetime() for close in closes_between(SAMPLE_CALENDAR, FIRST, LAST)[::EVERY]]


def prepared(folder: Path, seed: int) -> Workspace:
    """A workspace with the ideas of the starter of a seed on all moments, settled."""
    base = ensure_starter("drafter", load_settings(folder), seed)
    (folder / "osiris.toml").write_text(f"[model]\nbase = {json.dumps(str(base))}\nseed = {seed}\n{SETTINGS}")
    workspace = open_workspace(folder, LAST + timedelta(days=20))
    load_sample(workspace.bars)
    ws, drafter = workspace, load_drafter(workspace.settings)
    context = DraftingContext(ws.advice, ws.prices, ws.events, ws.policy, ws.settings)
    draft_ideas(context, drafter, None, drafted_at())
    settle(ws.advice, ws.prices, ws.events, ws.settings, ws.now)
    return workspace


def windows(folds: int) -> Iterator[tuple[datetime, datetime]]:
    """The beginning and the end of each."""
    length = (LAST - TESTED) / folds
    for number in range(folds):
        yield TESTED + number * length, TESTED + (number + 1) * length


def by_chance(snapshots: Sequence[Snapshot], count: int, rng: random.Random) -> list[list[Draft]]:
    """Replies that know nothing of their prompts."""
    found = []
    for shot in snapshots:
        replies = [random_reply(rng, shot.ticker, random_features(rng)) for _ in range(count)]
        found.append([Draft(reply.to_json(), reply, 0.0, 1) for reply in replies])
    return found


def one_window(
    workspace: Workspace, moments: list[datetime], begin: datetime, end: datetime, rng: random.Random, scratch: Path
) -> tuple[dict[str, heldout.Evaluation], int]:
    """The evaluations of all three, and on how many pairs the adapter was trained."""
    settings, prices = workspace.settings, workspace.prices
    try:
        lessons = build_dataset(workspace.advice, settings, begin - EMBARGO, "like")
    except TooLittleData as error:
        raise SystemExit(str(error)) from error
    out = scratch / f"{begin:%Y%m%d}"
    train_adapter(
        settings,
        [one.line for one in lessons],
        TrainingOptions(None, out, load_recipe("dpo", "dpo"), settings.model.seed),
    )
    within = [moment for moment in moments if begin <= moment < end]
    shots = take_snapshots(workspace.snapshots, workspace.policy, settings.advise.tickers, within)
    as_of, drawn = end + timedelta(days=20), by_chance(shots, settings.gate.candidates, rng)
    found = {
        "starter": heldout.evaluate_drafter(load_drafter(settings), shots, prices, settings, as_of),
        "learned": heldout.evaluate_drafter(load_drafter(settings, out), shots, prices, settings, as_of),
        "chance": heldout.evaluate_drafts("chance", shots, drawn, prices, settings, as_of),
    }
    return found, len(lessons)


def quarter(trades: pd.DataFrame) -> Any:
    """Of each trade's moment."""
    return trades["as_of"].dt.tz_localize(None).dt.to_period("Q").dt.start_time.to_numpy()


def estimates(found: list[dict[str, heldout.Evaluation]]) -> dict[str, dict[str, Estimate]]:
    """Win rate and mean R of each, and what each makes more than the starter on the same prompts."""
    result = {}
    for name in found[0]:
        trades = pd.concat([window[name].filled for window in found])
        more = []
        for window in found:
            moment = window["starter"].trades.groupby("prompt")["as_of"].first()
            difference = (window[name].mean_r - window["starter"].mean_r).dropna()
            more.append(pd.DataFrame({"r": difference, "as_of": moment.reindex(difference.index)}))
        pooled = pd.concat(more)
        result[name] = {
            "win rate": estimate_rate((trades["r"] > 0).to_numpy(float), quarter(trades)),
            "mean R": estimate_mean(trades["r"].to_numpy(float), quarter(trades)),
            "R to the starter": estimate_mean(pooled["r"].to_numpy(float), quarter(pooled)),
            "reward to risk": estimate_mean(trades["reward_to_risk"].to_numpy(float), quarter(trades)),
        }
    return result


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    console = Console(stderr=True)
    rng, found = random.Random(asked.seed), []
    with tempfile.TemporaryDirectory() as place, closing(prepared(Path(place), asked.seed)) as workspace:
        moments = drafted_at()
        for begin, end in track(list(windows(asked.folds)), "Windows", console=console):
            window, pairs = one_window(workspace, moments, begin, end, rng, Path(place))
            found.append(window)
            said = ", ".join(f"{name} {one.metrics()['mean_r']:+.3f} R" for name, one in window.items())
            console.print(f"{begin:%Y-%m-%d} to {end:%Y-%m-%d}, {pairs} pairs: {said}", highlight=False)
    table = Table("drafts", "ideas", "win rate", "mean R", "R to the starter", "reward to risk")
    for name, one in estimates(found).items():
        cells = [f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]" for e in one.values()]
        table.add_row(name, str(one["mean R"].count), *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
