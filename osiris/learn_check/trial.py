"""One trial: a market with a planted edge, and the loop over it night by night, every step the real one."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from osiris.config.settings import Settings, load_settings
from osiris.core.files import write_atomically
from osiris.drafting.draft_ideas import DraftingReport, draft_ideas, take_snapshots
from osiris.drafting.snapshot import Snapshot
from osiris.evaluation import heldout
from osiris.labeling.settle import settle
from osiris.learn_check.no_skill import LONG_SHARES
from osiris.llm.generate import unconstrained
from osiris.llm.starter import ensure_starter
from osiris.market.synthetic import RUN_SESSIONS, Edge, Market
from osiris.training.nightly import collect_pairs, learn_from_outcomes
from osiris.training.promotion import evaluate_adapters
from osiris.workspace import Workspace, open_workspace

DELAY_AFTER_CLOSE = timedelta(hours=10)
TRIAL_SETTINGS = """\
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
class TrialPlan:
    """How much a trial is given: each night follows `moments` draftings on all `tickers`; `fresh` ones come after.

    The moments lie 37 sessions apart, so that each is a day of its own to the gate; a third of a night's are held out.
    """

    nights: int = 4
    tickers: int = 16
    moments: int = 24
    fresh_moments: int = 48
    candidates: int = 6
    drift: float = 0.2
    recipe: str = "dpo"
    coin_periods: int = 100


@dataclass(frozen=True)
class Trial:
    """A market, and a seed for it, for the starter, for sampling and for training."""

    edge: Edge
    seed: int
    plan: TrialPlan = TrialPlan()

    @property
    def name(self) -> str:
        """What tells it from others, also as a folder."""
        return f"{self.edge}-{self.seed}"

    @property
    def step_count(self) -> int:
        """How many steps it reports."""
        return 2 + len(LONG_SHARES) if self.edge == "none" else 4 * self.plan.nights + 2

    @cached_property
    def market(self) -> Market:
        """The bars it runs on."""
        plan = self.plan
        cycles = plan.nights * plan.moments + plan.fresh_moments
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
    workspace = prepare_trial(trial, folder, cache)
    nights = [run_trial_night(workspace, trial, night, step) for night in range(trial.plan.nights)]
    end, snapshots = take_fresh_snapshots(workspace, trial)
    found = {}
    for name in [None, *sorted(workspace.registry.names(end))]:
        step("comparing on fresh prompts")
        drafter = workspace.models.serve(workspace.registry.path(name) if name else None)
        found[drafter.adapter] = heldout.evaluate_drafter(
            drafter, snapshots, workspace.prices, unconstrained(workspace.settings), end
        )
    served = workspace.find_served(end).name or "base"
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
    workspace = prepare_trial(trial, folder, cache)
    many = workspace.settings.model_copy(
        update={"gate": workspace.settings.gate.model_copy(update={"candidates": candidates})}
    )
    step("drafting")
    end, snapshots = take_fresh_snapshots(workspace, trial)
    recorded = heldout.evaluate_drafter(workspace.models.serve(None), snapshots, workspace.prices, many, end)
    workspace.close()
    return recorded, workspace.settings


def take_fresh_snapshots(workspace: Workspace, trial: Trial) -> tuple[datetime, list[Snapshot]]:
    """The end of the market, and the prompts that come after all nights."""
    market = trial.market
    snapshots = take_snapshots(
        workspace.prices, workspace.policy, market.names, market.draft_moments[-trial.plan.fresh_moments :], []
    )
    return market.closes[-1] + DELAY_AFTER_CLOSE, snapshots


def run_trial_night(workspace: Workspace, trial: Trial, night: int, step: Callable[[str], None]) -> dict[str, Any]:
    """Draft at the night's moments, settle what was drafted, make pairs, train, compare."""
    market, plan = trial.market, trial.plan
    moments = market.draft_moments[night * plan.moments :][: plan.moments]
    settings = workspace.settings
    step(f"night {night + 1}: drafting")
    drafted, as_of = draft_and_settle(workspace, trial, moments)
    step(f"night {night + 1}: training")
    pairs = collect_pairs(workspace.advice, workspace.registry, settings, as_of)
    trained = learn_from_outcomes(workspace.registry, workspace.tracking, settings, as_of)
    step(f"night {night + 1}: comparing")
    comparison, _ = evaluate_adapters(
        workspace.registry,
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
        "verdict": comparison.note,
    }


def draft_and_settle(workspace: Workspace, trial: Trial, moments: list[datetime]) -> tuple[DraftingReport, datetime]:
    """Draft at `moments`, settle what was drafted, and return the night after it too; the clock stands there then."""
    settings, as_of = workspace.settings, time_after_run(trial.market, moments[-1])
    workspace.clock.set(moments[-1])
    drafter = workspace.load_drafter(moments[-1])
    drafted = draft_ideas(
        workspace.advice, workspace.prices, workspace.events, drafter, None, workspace.policy, settings, moments
    )
    workspace.clock.set(as_of)
    settle(workspace.advice, workspace.prices, workspace.events, settings, as_of)
    return drafted, as_of


def prepare_trial(trial: Trial, folder: Path, cache: Path) -> Workspace:
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
    write_atomically(
        folder / "osiris.toml", TRIAL_SETTINGS.format(**{key: json.dumps(value) for key, value in values.items()})
    )
    workspace = open_workspace(folder, trial.market.draft_moments[0])
    for ticker, bars in trial.market.generate_bars().items():
        workspace.bars.merge(ticker, bars)
    return workspace


def with_cache(settings: Settings, cache: Path) -> Settings:
    """The settings with the starters kept in `cache`."""
    return settings.model_copy(update={"model": settings.model.model_copy(update={"cache": cache})})


def time_after_run(market: Market, moment: datetime) -> datetime:
    """The night after the run that begins at `moment`."""
    return market.closes[market.closes.index(moment) + RUN_SESSIONS] + DELAY_AFTER_CLOSE
