"""One trial: a synthetic market with a known edge, and several nightly runs of the loop on it, every step real."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from osiris.config.sections import BlockName
from osiris.config.settings import Settings, load_settings
from osiris.core.clock import FixedClock
from osiris.core.files import write_atomically
from osiris.drafting.draft_ideas import DraftingContext, DraftingReport, draft_ideas
from osiris.drafting.snapshot import Snapshot
from osiris.drafting.snapshots import take_snapshots
from osiris.evaluation import heldout
from osiris.labeling.settle import settle
from osiris.learn_check.no_skill import LONG_SHARES
from osiris.llm.generate import unconstrained
from osiris.llm.sources import STARTER
from osiris.llm.starter import ensure_starter
from osiris.market.synthetic import RUN_SESSIONS, Edge, Market
from osiris.training.nightly import collect_pairs, learn_from_outcomes
from osiris.training.promotion import HeldoutSource, evaluate_adapters
from osiris.workspace import Workspace, open_workspace

DELAY_AFTER_CLOSE = timedelta(hours=10)
"""A nightly run begins this long after a close, when the bar of the session is there."""
TRIAL_SETTINGS = """\
# Written by `osiris learn-check`.
[model]
base = {base}
primed = {primed}
seed = {seed}
cache = {cache}

[context]
blocks = {blocks}

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
holdout_days = 415  # the last third of the moments before a nightly run, on which nothing is trained yet
embargo_days = 10
trial_days = 200  # the held-out days of one nightly run are enough: each adapter is looked at once
candidates = {compared}
"""


@dataclass(frozen=True)
class TrialPlan:
    """The model of a trial, what it sees, and the size of the trial.

    `model` is "starter", of which each trial trains its own, or a pretrained model, which must have been primed.
    `blocks` are those of the prompt; none: what the model sees by default. Before each nightly run, ideas are drafted
    at `moments` moments on all `tickers`. After all runs there are `fresh_moments` more, for the measurement. Moments
    lie 37 sessions apart, so that each is an independent day for the gate. A third of the moments of a run are held
    out. `candidates` are drafted for a prompt, `compared` by the gate and for the measurement.
    """

    model: str = STARTER
    blocks: tuple[BlockName, ...] = ("features",)
    nights: int = 4
    tickers: int = 16
    moments: int = 24
    fresh_moments: int = 48
    candidates: int = 6
    compared: int = 4
    drift: float = 0.2
    recipe: str = "dpo"
    coin_periods: int = 100

    @property
    def is_pretrained(self) -> bool:
        """Whether the model was trained elsewhere, and then primed."""
        return self.model != STARTER


PRETRAINED_RECIPE = "dpo-pretrained"


def plan_for(model: str) -> TrialPlan:
    """The usual plan for a model: a pretrained one is some hundred times as large as a starter, so it does less.

    Its one nightly run may have too few held-out days for a promotion, so its newest adapter is judged.
    """
    if model == STARTER:
        return TrialPlan()
    return TrialPlan(
        model=model, nights=1, tickers=8, moments=28, fresh_moments=12, compared=3, recipe=PRETRAINED_RECIPE
    )


@dataclass(frozen=True)
class Trial:
    """A market of one edge, and the seed of the market, the starter, the sampling and the training."""

    edge: Edge
    seed: int
    plan: TrialPlan = TrialPlan()

    @property
    def name(self) -> str:
        """The unique name of the trial, also of its folder."""
        return f"{self.edge}-{self.seed}"

    @property
    def step_count(self) -> int:
        """The number of steps that the trial reports."""
        return 2 + len(LONG_SHARES) if self.edge == "none" else 4 * self.plan.nights + 2

    @cached_property
    def market(self) -> Market:
        """The synthetic market of the trial."""
        plan = self.plan
        cycles = plan.nights * plan.moments + plan.fresh_moments
        return Market(self.edge, self.seed, plan.tickers, cycles, plan.drift)


def run_trial(
    trial: Trial, folder: Path, cache: Path, step: Callable[[str], None] = lambda what: None
) -> dict[str, Any]:
    """Run the loop in the new folder, and measure each adapter on prompts that come after all nightly runs.

    In the result, `evaluations` has those of the plain base and of each run's adapter, and `adapters` their metrics.
    `served` is the name of the adapter served in the end. `nights` reports each run and its verdict. On the fresh
    prompts decoding is not constrained to the schema, so that invalid replies show.
    """
    step("making the market")
    workspace = prepare_trial(trial, folder, cache)
    nights = [run_trial_night(workspace, trial, number, step) for number in range(trial.plan.nights)]
    end, snapshots = take_fresh_snapshots(workspace, trial)
    evaluations = {}
    for name in [None, *sorted(workspace.registry.names(end))]:
        step("comparing on fresh prompts")
        drafter = workspace.models.serve(workspace.registry.path(name) if name else None)
        evaluations[drafter.adapter] = heldout.evaluate_drafter(
            drafter, snapshots, workspace.prices, unconstrained(workspace.settings), end
        )
    served = workspace.find_served(end).name or "base"
    workspace.close()
    return {
        "edge": trial.edge,
        "seed": trial.seed,
        "served": served,
        "adapters": {name: one.metrics() for name, one in evaluations.items()},
        "nights": nights,
        "evaluations": evaluations,
    }


def record_drafts(
    trial: Trial, folder: Path, cache: Path, candidates: int, step: Callable[[str], None]
) -> tuple[heldout.Evaluation, Settings]:
    """Let the plain base draft `candidates` ideas for each fresh prompt of the market, and settle them on paper."""
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
    """The end of the market, and the prompts that come after all nightly runs."""
    market = trial.market
    snapshots = take_snapshots(
        workspace.snapshots, workspace.policy, market.names, market.draft_moments[-trial.plan.fresh_moments :]
    )
    return market.closes[-1] + DELAY_AFTER_CLOSE, snapshots


def run_trial_night(workspace: Workspace, trial: Trial, number: int, step: Callable[[str], None]) -> dict[str, Any]:
    """Draft at the moments before one nightly run, settle the ideas, make pairs, train and compare."""
    market, plan = trial.market, trial.plan
    moments = market.draft_moments[number * plan.moments :][: plan.moments]
    settings = workspace.settings
    step(f"nightly run {number + 1}: drafting")
    drafted, as_of = draft_and_settle(workspace, trial, moments)
    step(f"nightly run {number + 1}: training")
    pairs = collect_pairs(workspace.advice, workspace.registry, settings, as_of)
    trained = learn_from_outcomes(workspace.registry, workspace.tracking, settings, as_of)
    step(f"nightly run {number + 1}: comparing")
    source = HeldoutSource(workspace.snapshots, workspace.policy, moments)
    comparison, _ = evaluate_adapters(workspace.registry, workspace.tracking, workspace.models, source, as_of)
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
    """Draft at `moments` and settle the ideas; return the report and the moment of the nightly run after them.

    The clock of the workspace is then set to that moment.
    """
    settings, as_of = workspace.settings, time_after_run(trial.market, moments[-1])
    clock = cast(FixedClock, workspace.clock)  # `prepare_trial` opened the workspace at a fixed moment
    clock.set(moments[-1])
    drafter = workspace.load_drafter(moments[-1])
    context = DraftingContext(workspace.advice, workspace.prices, workspace.events, workspace.policy, settings)
    drafted = draft_ideas(context, drafter, None, moments)
    clock.set(as_of)
    settle(workspace.advice, workspace.prices, workspace.events, settings, as_of)
    return drafted, as_of


def prepare_trial(trial: Trial, folder: Path, cache: Path) -> Workspace:
    """A workspace on the trial's market, with its pretrained model or a starter of the trial's seed."""
    plan = trial.plan
    values = {
        "base": plan.model
        if plan.is_pretrained
        else str(ensure_starter("drafter", with_cache(load_settings(folder), cache), trial.seed, progress=False)),
        "primed": plan.is_pretrained,
        "blocks": plan.blocks,
        "seed": trial.seed,
        "cache": str(cache),
        "tickers": trial.market.names,
        "candidates": plan.candidates,
        "compared": plan.compared,
        "recipe": plan.recipe,
    }
    write_atomically(
        folder / "osiris.toml", TRIAL_SETTINGS.format(**{key: json.dumps(value) for key, value in values.items()})
    )
    workspace = open_workspace(folder, trial.market.draft_moments[0])
    for ticker, bars in trial.market.generate_bars().items():
        workspace.bars.merge(ticker, bars)
    return workspace


def with_cache(settings: Settings, cache: Path) -> Settings:
    """The settings, with the folder `cache` for the starters."""
    return settings.with_model(cache=cache)


def time_after_run(market: Market, moment: datetime) -> datetime:
    """The moment of the nightly run after the price run that begins at `moment`."""
    return market.closes[market.closes.index(moment) + RUN_SESSIONS] + DELAY_AFTER_CLOSE
