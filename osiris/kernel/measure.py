"""Measuring: what would the candidate have earned where the incumbent was, on the same bars and ideas?

Both describe the same closes. Where their prompts are the same, the same replies are gated and sized by both; else
each is drafted anew, by the same model from the same seed. What passes is settled on paper by the outcome kernel, as
the gate of adapters does it. The candidate, in its sandbox, knows nothing of this. The days are those before the patch,
which is a necessary first look, and then those after it, which its author could not see (`kernel.shadow`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from osiris.config.settings import Settings
from osiris.core.errors import TooLittleData
from osiris.drafting.draft_ideas import idea_vector, take_snapshots, to_policy_input
from osiris.drafting.snapshot import Snapshot
from osiris.evaluation.heldout import simulate_paper_trades, to_paper_row
from osiris.evaluation.looks import alpha_for_look
from osiris.kernel.compare import Measurement, OfferedIdeas, compare_policies, empty_trades, week_starts
from osiris.llm import hermes
from osiris.llm.generate import Draft, draft_replies
from osiris.llm.models import AnyDrafter, AnyJudge
from osiris.market.calendars import closes_between
from osiris.market.provider import BarProvider
from osiris.sandbox.policies import SandboxedPolicy
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import sql_time


class Look(NamedTuple):
    """One measurement: of the closes after `start` up to `end`, the `number`-th (from 1) there, which has `level`."""

    start: datetime
    end: datetime
    number: int
    alpha: float


@dataclass(frozen=True)
class MeasurementContext:
    """What both are measured with; models are opened when they are asked, since a rollback must not wait for one."""

    advice: AdviceStore
    prices: BarProvider
    open_drafter: Callable[[], AnyDrafter]
    open_judge: Callable[[], AnyJudge]
    settings: Settings
    as_of: datetime

    @cached_property
    def drafter(self) -> AnyDrafter:
        """The model that drafts."""
        return self.open_drafter()

    @cached_property
    def judge(self) -> AnyJudge:
        """The model that scores."""
        return self.open_judge()


class ScoredDrafts(NamedTuple):
    """Replies to the prompts of snapshots, the judge's score of each (0-1 or none), and seconds a moment.

    A moment's tickers are drafted in one run, which is over before any of its ideas can be decided.
    """

    groups: list[list[Draft]]
    scores: list[list[float | None]]
    seconds_per_moment: float


def first_look(settings: Settings, as_of: datetime, number: int) -> Look:
    """The look at the days before a patch: the k-th has level / 2 / (k (k + 1)), as the gate of adapters does it."""
    start = as_of - timedelta(days=settings.kernel.measure_days)
    return Look(start, as_of, number, alpha_for_look(number, settings.kernel.level / 2))


def measure_candidate(
    candidate: SandboxedPolicy, incumbent: SandboxedPolicy, context: MeasurementContext, look: Look
) -> Measurement:
    """Compare two policies on the closes of `look`, settled at the moment of `past`.

    Raises `TooLittleData` when there is too little to judge any patch by, `CandidateFailed` when the candidate fails.
    """
    moments = session_closes(context.settings, look)
    policies = (candidate, incumbent)
    snapshots = [take_snapshots(context.prices, one, context.settings.advise.tickers, moments, []) for one in policies]
    if not snapshots[0]:
        raise TooLittleData(f"bars from {look.start.date()} to {look.end.date()}", "none", "import prices")
    candidate_drafts = draft_and_score(snapshots[0], context)
    same = [shot.prompt for shot in snapshots[0]] == [shot.prompt for shot in snapshots[1]]
    drafts = [candidate_drafts, candidate_drafts if same else draft_and_score(snapshots[1], context)]
    trades = [
        trade_on_paper(policy, taken, snapshots[1], written, context)
        for policy, taken, written in zip(policies, snapshots, drafts, strict=True)
    ]
    valid_count = sum(reply.reply is not None for group in drafts[0].groups for reply in group)
    offered = OfferedIdeas(week_starts([shot.as_of for shot in snapshots[0]]), valid_count)
    return compare_policies(*trades, offered, context.settings, look)


def session_closes(settings: Settings, look: Look) -> list[datetime]:
    """The session closes of a look."""
    found = closes_between(settings.prices.calendar, look.start, look.end)
    return [moment for close in found if look.start < (moment := close.to_pydatetime()) <= look.end]


def draft_and_score(snapshots: Sequence[Snapshot], context: MeasurementContext) -> ScoredDrafts:
    """Draft on every snapshot, and have the valid replies scored."""
    settings, drafter, judge = context.settings, context.drafter, context.judge  # opened before the clock is started
    started = time.perf_counter()
    groups = draft_replies(
        drafter, [shot.request for shot in snapshots], settings.gate.candidates, settings, settings.model.seed
    )
    places = [(i, j) for i, group in enumerate(groups) for j, reply in enumerate(group) if reply.reply is not None]
    scores: list[list[float | None]] = [[None] * len(group) for group in groups]
    ideas = [hermes.JudgedIdea(groups[i][j].text, snapshots[i].text) for i, j in places]
    for (i, j), score in zip(places, hermes.score_ideas(judge, ideas, settings.model.batch_size), strict=True):
        scores[i][j] = score.normalized
    return ScoredDrafts(groups, scores, (time.perf_counter() - started) / len({shot.as_of for shot in snapshots}))


def trade_on_paper(
    policy: SandboxedPolicy,
    snapshots: Sequence[Snapshot],
    novelty_snapshots: Sequence[Snapshot],
    drafts: ScoredDrafts,
    context: MeasurementContext,
) -> pd.DataFrame:
    """What `policy` lets through, settled on paper: as `loop.rewards.reward_of` takes it, dated by the draft.

    Novelty is that of the snapshots `by`, the same for both: it is the idea that is new, not how its market is put.
    """
    policy.close()  # what answers about an idea has not seen the closes after it
    rows, vectors = [], []
    for number, (snapshot, novelty_snapshot, group, scores) in enumerate(
        zip(snapshots, novelty_snapshots, drafts.groups, drafts.scores, strict=True)
    ):
        for reply, score in zip(group, scores, strict=True):
            if reply.reply is None:
                continue
            idea = to_policy_input(snapshot, reply.reply, score)
            passes, size = policy.passes(idea), policy.size(idea)
            if passes and size > 0:
                rows.append(
                    to_paper_row(number, snapshot, reply.reply)
                    | {"size": size, "latency_ms": 1000 * drafts.seconds_per_moment}
                )
                vectors.append(idea_vector(novelty_snapshot.vector, reply.reply).tolist())
    if not rows:
        return empty_trades()
    ideas = pd.DataFrame(rows)
    ideas = ideas.assign(novelty=_novelty(ideas["as_of"], vectors, context))
    settled = simulate_paper_trades(ideas, context.prices, context.settings, context.as_of)
    filled = settled[settled["filled"]]
    return filled.assign(at=pd.to_datetime(filled["as_of"], utc=True), pnl=filled["size"] * filled["r"])


def _novelty(moments: pd.Series, vectors: list[list[float]], context: MeasurementContext) -> pd.Series:
    """Distance of each idea to the nearest stored one of another moment, of all that are known at `as_of`."""
    novelty = pd.Series(np.nan, moments.index)
    for moment, group in moments.groupby(moments):
        where = f"as_of <= {sql_time(context.as_of)} AND as_of <> {sql_time(moment)}"
        found = context.advice.nearest_distances([vectors[place] for place in group.index], where)
        if None in found:
            raise TooLittleData("earlier ideas to measure novelty by", "none in the store", "draft some: osiris advise")
        novelty[group.index] = found
    return novelty
