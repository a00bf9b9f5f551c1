"""One trial: a market with a planted edge, and the loop over it night by night, every step the real one."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from osiris.config.settings import Settings, load_settings
from osiris.core.files import write_whole
from osiris.drafting.draft_ideas import AdviseReport, advise, take_snapshots
from osiris.drafting.snapshot import Snapshot
from osiris.evaluation import heldout
from osiris.labeling.settle import settle
from osiris.learn_check.no_skill import LONG_SHARES
from osiris.llm.generate import unbound
from osiris.llm.starter import ensure_starter
from osiris.market.synthetic import RUN, Edge, Market
from osiris.training.nightly import collect_pairs, learn_from_outcomes
from osiris.training.promotion import judge_adapters
from osiris.workspace import Workspace, open_workspace

AFTER_THE_CLOSE = timedelta(hours=10)
SETTINGS = """\
# Written by `osiris learn-check`.
[model]
base = {base}
seed = {seed}
cache = {cache}

[advise]
tickers = {tickers}
candidates = {candidates}

[prices]
source = "local"  # a market that exists nowhere else

[outcomes]
max_holding_days = 14

[training]
dpo_recipe = {recipe}

[gate]
holdout_days = 415  # the last third of a night's moments, known to no training yet
embargo_days = 10
trial_days = 200  # a night's held-out days are enough: each adapter is looked at once
candidates = 4
"""


@dataclass(frozen=True)
class Plan:
    """How much a trial is given: each night follows `moments` draftings on all `tickers`; `fresh` ones come after.

    The moments lie 37 sessions apart, so that each is a day of its own to the gate; a third of a night's are held out.
    """

    nights: int = 4
    tickers: int = 16
    moments: int = 24
    fresh: int = 48
    candidates: int = 6
    drift: float = 0.2
    recipe: str = "dpo"
    coin_nights: int = 100


@dataclass(frozen=True)
class Trial:
    """A market, and a seed for it, for the starter, for sampling and for training."""

    edge: Edge
    seed: int
    plan: Plan = Plan()

    @property
    def name(self) -> str:
        """What tells it from others, also as a folder."""
        return f"{self.edge}-{self.seed}"

    @property
    def steps(self) -> int:
        """How many steps it reports."""
        return 2 + len(LONG_SHARES) if self.edge == "none" else 4 * self.plan.nights + 2

    @cached_property
    def market(self) -> Market:
        """The bars it runs on."""
        plan = self.plan
        cycles = plan.nights * plan.moments + plan.fresh
        return Market(self.edge, self.seed, plan.tickers, cycles, plan.drift)


def run_trial(
    trial: Trial, folder: Path, cache: Path, step: Callable[[str], None] = lambda what: None
) -> dict[str, Any]:
    """Run the loop in the new folder and return what each adapter is worth on prompts that come after all nights.

    `evaluations` has those of the plain base and of each night's adapter, `adapters` their metrics, `served` the name
    of the one that is served in the end, `nights` what each night did and what the gate said. On the fresh prompts
    replies are not bound to their schema, so that it shows whether they keep it.
    """
    step("making the market")
    workspace = prepare(trial, folder, cache)
    nights = [run_night(workspace, trial, night, step) for night in range(trial.plan.nights)]
    end, shots = fresh_prompts(workspace, trial)
    found = {}
    for name in [None, *sorted(workspace.shelf.names(end))]:
        step("comparing on fresh prompts")
        drafter = workspace.models.serve(workspace.shelf.path(name) if name else None)
        found[drafter.adapter] = heldout.evaluate(drafter, shots, workspace.prices, unbound(workspace.settings), end)
    served = workspace.served(end).name or "base"
    workspace.close()
    return {
        "edge": trial.edge,
        "seed": trial.seed,
        "served": served,
        "adapters": {name: one.metrics() for name, one in found.items()},
        "nights": nights,
        "evaluations": found,
    }


def record_drafts(
    trial: Trial, folder: Path, cache: Path, candidates: int, step: Callable[[str], None]
) -> tuple[heldout.Evaluation, Settings]:
    """What the plain base drafts on the fresh prompts of the market, `candidates` each, settled on paper."""
    step("making the market")
    workspace = prepare(trial, folder, cache)
    many = workspace.settings.model_copy(
        update={"gate": workspace.settings.gate.model_copy(update={"candidates": candidates})}
    )
    step("drafting")
    end, shots = fresh_prompts(workspace, trial)
    recorded = heldout.evaluate(workspace.models.serve(None), shots, workspace.prices, many, end)
    workspace.close()
    return recorded, workspace.settings


def fresh_prompts(workspace: Workspace, trial: Trial) -> tuple[datetime, list[Snapshot]]:
    """The end of the market, and the prompts that come after all nights."""
    market = trial.market
    shots = take_snapshots(workspace.prices, workspace.policy, market.names, market.moments[-trial.plan.fresh :], [])
    return market.closes[-1] + AFTER_THE_CLOSE, shots


def run_night(workspace: Workspace, trial: Trial, night: int, step: Callable[[str], None]) -> dict[str, Any]:
    """Draft at the night's moments, settle what was drafted, make pairs, train, compare."""
    market, plan = trial.market, trial.plan
    moments = market.moments[night * plan.moments :][: plan.moments]
    settings = workspace.settings
    step(f"night {night + 1}: drafting")
    drafted, as_of = gather(workspace, trial, moments)
    step(f"night {night + 1}: training")
    pairs = collect_pairs(workspace.advice, workspace.shelf, settings, as_of)
    trained = learn_from_outcomes(workspace.shelf, workspace.tracking, settings, as_of)
    step(f"night {night + 1}: comparing")
    judged, _ = judge_adapters(
        workspace.shelf,
        workspace.tracking,
        workspace.models,
        workspace.prices,
        workspace.policy,
        settings,
        as_of,
        moments,
    )
    return {
        "as_of": as_of.isoformat(),
        "drafted_by": drafted.adapter,
        "ideas": drafted.stored,
        "invalid": drafted.invalid,
        "pairs": pairs.rows,
        "adapter": trained.adapter,
        "train_seconds": trained.metrics.get("seconds"),
        "verdict": judged.note,
    }


def gather(workspace: Workspace, trial: Trial, moments: list[datetime]) -> tuple[AdviseReport, datetime]:
    """Draft at `moments`, settle what was drafted, and return the night after it too; the clock stands there then."""
    settings, as_of = workspace.settings, closing(trial.market, moments[-1])
    workspace.clock.set(moments[-1])
    drafter = workspace.drafter(moments[-1])
    drafted = advise(
        workspace.advice, workspace.prices, workspace.events, drafter, None, workspace.policy, settings, moments
    )
    workspace.clock.set(as_of)
    settle(workspace.advice, workspace.prices, workspace.events, settings, as_of)
    return drafted, as_of


def prepare(trial: Trial, folder: Path, cache: Path) -> Workspace:
    """A workspace on the trial's market, with a starter of the trial's seed."""
    base = ensure_starter("drafter", with_cache(load_settings(folder), cache), trial.seed, progress=False)
    values = {
        "base": str(base),
        "seed": trial.seed,
        "cache": str(cache),
        "tickers": trial.market.names,
        "candidates": trial.plan.candidates,
        "recipe": trial.plan.recipe,
    }
    write_whole(folder / "osiris.toml", SETTINGS.format(**{key: json.dumps(value) for key, value in values.items()}))
    workspace = open_workspace(folder, trial.market.moments[0])
    for ticker, bars in trial.market.bars().items():
        workspace.bars.merge(ticker, bars)
    return workspace


def with_cache(settings: Settings, cache: Path) -> Settings:
    """The settings with the starters kept in `cache`."""
    return settings.model_copy(update={"model": settings.model.model_copy(update={"cache": cache})})


def closing(market: Market, moment: datetime) -> datetime:
    """The night after the run that begins at `moment`."""
    return market.closes[market.closes.index(moment) + RUN] + AFTER_THE_CLOSE
