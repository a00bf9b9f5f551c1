"""Measuring: what would the candidate have earned in place of the incumbent, on the same bars and ideas?

Both policies describe the same closes. If all their prompts are equal, both filter and size the same replies. Otherwise
each policy's prompts are drafted separately, by the same model from the same seed. Ideas that pass are settled on paper
by the triple-barrier rules, as the promotion gate does it for adapters. The candidate, in its sandbox, sees none of it.

The first look is at the days before the patch and is necessary for the second. The second look is at the days after it,
which the author could not see (`kernel.shadow_trial`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from osiris.config.settings import Settings
from osiris.core.errors import TooLittleData
from osiris.core.run_log import collect_warnings
from osiris.core.types import Row
from osiris.drafting.drafted_idea import idea_vector, to_policy_input
from osiris.drafting.snapshot import Snapshot
from osiris.drafting.snapshots import SnapshotSource, take_snapshots
from osiris.evaluation.paper_trading import simulate_paper_trades, to_paper_row
from osiris.evaluation.stats import alpha_for_look
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
    """One measurement of the closes after `start` up to `end`: the `number`-th (from 1), at level `alpha`."""

    start: datetime
    end: datetime
    number: int
    alpha: float


@dataclass(frozen=True)
class MeasurementContext:
    """What both policies are measured with. Models are opened at first use, since a rollback must not wait for one."""

    advice: AdviceStore
    prices: BarProvider
    open_drafter: Callable[[], AnyDrafter]
    open_judge: Callable[[], AnyJudge]
    settings: Settings
    as_of: datetime

    @property
    def snapshot_source(self) -> SnapshotSource:
        """Where the snapshots of both policies come from."""
        return SnapshotSource(self.prices, self.advice, self.settings)

    @cached_property
    def drafter(self) -> AnyDrafter:
        """The model that drafts."""
        return self.open_drafter()

    @cached_property
    def judge(self) -> AnyJudge:
        """The model that scores."""
        return self.open_judge()


class ScoredDrafts(NamedTuple):
    """Replies to the prompts of snapshots, Hermes's score of each, and the seconds per moment.

    `groups` and `scores` have one list for each snapshot, with one element for each candidate reply. A score lies in
    0-1, or is `None`. The seconds are per moment and not per idea. All tickers of a moment are drafted in one run, and
    only after it can any of its ideas be decided.
    """

    groups: list[list[Draft]]
    scores: list[list[float | None]]
    seconds_per_moment: float


def first_look(settings: Settings, as_of: datetime, number: int) -> Look:
    """The look at the days before a patch.

    The k-th look has level / 2 / (k (k + 1)), as in the promotion gate. These add up to at most `kernel.alpha` / 2.
    """
    start = as_of - timedelta(days=settings.kernel.measure_days)
    return Look(start, as_of, number, alpha_for_look(number, settings.kernel.alpha / 2))


def measure_candidate(
    candidate: SandboxedPolicy, incumbent: SandboxedPolicy, context: MeasurementContext, look: Look
) -> Measurement:
    """Compare two policies on the closes of `look`, settled with what is known at `context.as_of`.

    Raises `TooLittleData` when there is too little data for any verdict, `CandidateFailed` when the candidate fails.
    """
    moments = session_closes(context.settings, look)
    policies = (candidate, incumbent)
    with collect_warnings():  # what lacks prices was said when ideas were drafted at those moments
        tickers = context.settings.advise.tickers
        snapshots = [take_snapshots(context.snapshot_source, one, tickers, moments) for one in policies]
    if not snapshots[0]:
        raise TooLittleData(f"bars from {look.start.date()} to {look.end.date()}", "none", "import prices")
    candidate_drafts = draft_and_score(snapshots[0], context)
    has_same_prompts = [shot.prompt for shot in snapshots[0]] == [shot.prompt for shot in snapshots[1]]
    drafts = [candidate_drafts, candidate_drafts if has_same_prompts else draft_and_score(snapshots[1], context)]
    trades = [
        trade_on_paper(policy, own_snapshots, snapshots[1], own_drafts, context)
        for policy, own_snapshots, own_drafts in zip(policies, snapshots, drafts, strict=True)
    ]
    valid_count = sum(reply.reply is not None for group in drafts[0].groups for reply in group)
    offered = OfferedIdeas(week_starts([shot.as_of for shot in snapshots[0]]), valid_count)
    return compare_policies(trades[0], trades[1], offered, context.settings, look)


def session_closes(settings: Settings, look: Look) -> list[datetime]:
    """The session closes of a look."""
    closes = closes_between(settings.prices.calendar, look.start, look.end)
    return [moment for close in closes if look.start < (moment := close.to_pydatetime()) <= look.end]


def draft_and_score(snapshots: Sequence[Snapshot], context: MeasurementContext) -> ScoredDrafts:
    """Draft on every snapshot, and score the valid replies."""
    settings, drafter, judge = (
        context.settings,
        context.drafter,
        context.judge,
    )  # models are opened before the clock starts
    started = time.perf_counter()
    groups = draft_replies(
        drafter, [shot.request for shot in snapshots], settings.gate.candidates, settings, settings.model.seed
    )
    # (snapshot, candidate) of each valid reply: the judge scores them in one flat list.
    positions = [(i, j) for i, group in enumerate(groups) for j, reply in enumerate(group) if reply.reply is not None]
    scores: list[list[float | None]] = [[None] * len(group) for group in groups]
    ideas = [hermes.JudgedIdea(groups[i][j].text, snapshots[i].text) for i, j in positions]
    for (i, j), score in zip(positions, hermes.score_as_configured(judge, ideas, settings), strict=True):
        scores[i][j] = score.normalized
    return ScoredDrafts(groups, scores, (time.perf_counter() - started) / len({shot.as_of for shot in snapshots}))


def trade_on_paper(
    policy: SandboxedPolicy,
    snapshots: Sequence[Snapshot],
    novelty_snapshots: Sequence[Snapshot],
    drafts: ScoredDrafts,
    context: MeasurementContext,
) -> pd.DataFrame:
    """The ideas that `policy` passes, settled on paper and dated by their draft, with the columns of `compute_reward`.

    Novelty is measured on `novelty_snapshots`, the same for both policies. So an idea is new or not whichever features
    the policy shows of its market.
    """
    # A new session: one that described all snapshots could remember the closes that come after an idea.
    policy.close()
    rows: list[Row] = []
    vectors: list[list[float]] = []
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
    ideas = ideas.assign(novelty=novelty_on_paper(ideas["as_of"], vectors, context.advice, context.as_of))
    settled = simulate_paper_trades(ideas, context.prices, context.settings, context.as_of)
    filled = settled[settled["filled"]]
    return filled.assign(at=pd.to_datetime(filled["as_of"], utc=True), pnl=filled["size"] * filled["r"])


def novelty_on_paper(
    moments: pd.Series, vectors: list[list[float]], advice: AdviceStore, as_of: datetime
) -> NDArray[np.float64]:
    """The L2 distance of each idea to the nearest stored idea of another moment that is known at `as_of`.

    `moments` and `vectors` have one element for each idea. Drafting takes the same distance from a search in LanceDB.
    Here the vectors are read once, since a search for each of a thousand moments takes ten seconds.
    """
    known = advice.frame(f"as_of <= {sql_time(as_of)}", ["vector"])
    known_vectors = np.array(known["vector"].to_list(), np.float32)
    wanted = np.array(vectors, np.float32)  # as stored, so that the same idea at another moment has the distance 0
    distances = np.full(len(wanted), np.inf)
    for moment, places in moments.reset_index(drop=True).groupby(moments.to_numpy()).indices.items():
        others = known_vectors[(known["as_of"] != moment).to_numpy()]
        if len(others):
            distances[places] = cdist(wanted[places], others).min(axis=1)
    if np.isinf(distances).any():
        raise TooLittleData("earlier ideas to measure novelty by", "none in the store", "draft some: osiris advise")
    return distances
