"""Draft ideas and store them.

An example: for AAPL at one close, a snapshot of its bars becomes a prompt, and the drafter writes k replies to it.
Hermes scores each valid reply. The policy sets its size, and the risk filter keeps some ideas from the reviewers. Each
idea gets its novelty and is stored. Ideas that await a review are published.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from osiris.config.settings import Settings
from osiris.core.errors import SourceUnavailable
from osiris.core.ideas import Status
from osiris.core.run_log import collect_warnings
from osiris.core.types import Row
from osiris.drafting.drafted_idea import DraftedIdea, read_drafts, to_row
from osiris.drafting.snapshot import Snapshot
from osiris.drafting.snapshots import SnapshotSource, take_snapshots
from osiris.drafting.win_probability import ScoredOutcomes, curve_score, load_scored_outcomes
from osiris.llm import hermes
from osiris.llm.generate import draft_replies
from osiris.llm.models import AnyDrafter, AnyJudge
from osiris.market.calendars import closes_between
from osiris.market.provider import BarProvider
from osiris.policy import edit_warning
from osiris.policy.contracts import Policy
from osiris.storage.advice import AdviceStore
from osiris.storage.events import Events
from osiris.storage.tables import sql_time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DraftingContext:
    """The parts of a workspace that drafting reads and writes.

    `policy` says what the prompt shows, which ideas go to the reviewers and how big each is.
    """

    advice: AdviceStore
    prices: BarProvider
    events: Events
    policy: Policy
    settings: Settings

    @property
    def snapshot_source(self) -> SnapshotSource:
        """Where snapshots come from."""
        return SnapshotSource(self.prices, self.advice, self.settings)


@dataclass
class DraftingReport:
    """What one drafting run did."""

    adapter: str
    prompts: int = 0
    replies: int = 0
    invalid: int = 0
    gated: int = 0
    stored: int = 0
    unscored: int = 0
    mean_hermes: float | None = None
    ids: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """The result in a sentence."""
        if not self.prompts:
            return "Nothing was drafted: every prompt has its ideas, or no ticker has prices."
        mean = f"mean Hermes score {self.mean_hermes:.2f}" if self.mean_hermes is not None else "no Hermes score"
        return (
            f"{self.stored} ideas from {self.prompts} prompts: {self.stored - self.gated} wait for a reviewer, "
            f"{self.gated} are gated, {self.invalid} replies were invalid; {mean}."
        )


def draft_ideas(
    context: DraftingContext, drafter: AnyDrafter, judge: AnyJudge | None, moments: Sequence[datetime]
) -> DraftingReport:
    """Draft ideas on every configured ticker at each of `moments`; prompts with drafts are not drafted again.

    Without a `judge` the ideas keep a null score. Ideas that the risk filter keeps from the reviewers are stored too,
    with status `gated`.
    """
    with collect_warnings() as notes:
        report = _draft_and_store(context, drafter, judge, moments)
    report.notes = notes
    log.info("%s ideas stored of %s replies to %s prompts", report.stored, report.replies, report.prompts)
    return report


def _draft_and_store(
    context: DraftingContext, drafter: AnyDrafter, judge: AnyJudge | None, moments: Sequence[datetime]
) -> DraftingReport:
    advice, settings, policy = context.advice, context.settings, context.policy
    report = DraftingReport(adapter=drafter.adapter)
    if note := edit_warning():
        log.warning(note)
    started = time.perf_counter()
    snapshots = take_snapshots(context.snapshot_source, policy, settings.advise.tickers, moments)
    snapshots = [s for s in snapshots if not _has_drafts(advice, s, drafter.adapter)]
    report.prompts = len(snapshots)
    drafts = draft_replies(
        drafter,
        [snapshot.request for snapshot in snapshots],
        settings.advise.candidates,
        settings,
        settings.model.seed,
    )
    ideas = read_drafts(snapshots, drafts)
    report.replies = sum(len(group) for group in drafts)
    report.invalid = report.replies - len(ideas)
    if judge:
        add_scores(ideas, judge, settings)
        add_forecasts(ideas, load_scored_outcomes(advice, judge.name, max(moments)))
    for idea in ideas:
        idea.ask_policy(policy)
    report.gated = sum(not idea.passes for idea in ideas)
    for moment in sorted({idea.as_of for idea in ideas}):
        batch = [idea for idea in ideas if idea.as_of == moment]
        novelties = find_novelties(batch, advice)
        latency_ms = (time.perf_counter() - started) * 1000
        rows = [
            to_row(idea, drafter, policy, novelty, latency_ms) for idea, novelty in zip(batch, novelties, strict=True)
        ]
        report.stored += advice.add(rows)
        report.ids += [row["id"] for row in rows]
        publish_ideas(context.events, [row for row in rows if row["status"] == Status.PENDING], moment)
    scores = [idea.score.normalized for idea in ideas if idea.score and idea.score.normalized is not None]
    report.unscored = len(ideas) - len(scores)
    report.mean_hermes = float(np.mean(scores)) if scores else None
    return report


def add_scores(ideas: Sequence[DraftedIdea], judge: AnyJudge, settings: Settings) -> None:
    """Let Hermes score the ideas; an answer without a number is a score without one, with a note."""
    judged = [idea.judged for idea in ideas]
    for idea, score in zip(ideas, hermes.score_as_configured(judge, judged, settings), strict=True):
        idea.score, idea.judge = score, judge.name


def add_forecasts(ideas: Sequence[DraftedIdea], outcomes: ScoredOutcomes) -> None:
    """Forecast the probability of a win of each scored idea, from the outcomes that were known at its moment."""
    for moment in {idea.as_of for idea in ideas}:
        scored = [idea for idea in ideas if idea.as_of == moment and idea.score and idea.score.raw is not None]
        forecasts = (
            outcomes.forecast(np.array([curve_score(idea.score) for idea in scored]), moment) if scored else None
        )
        if forecasts is not None:
            for idea, forecast in zip(scored, forecasts, strict=True):
                idea.win_probability = float(forecast)


def find_novelties(ideas: Sequence[DraftedIdea], advice: AdviceStore) -> list[float | None]:
    """The novelty of each of the ideas of one moment: the L2 distance of its vector to the nearest earlier one.

    It is `None` if there is no earlier idea. Ideas of the same moment are not compared with each other.
    """
    return list(advice.nearest_distances([idea.vector for idea in ideas], f"as_of < {sql_time(ideas[0].as_of)}"))


def publish_ideas(events: Events, rows: list[Row], moment: datetime) -> None:
    """Publish `advice.generated`. The ideas are stored already, so an unreachable Redis is only a warning."""
    public = ("id", "ticker", "side", "entry", "target", "stop", "size", "confidence", "hermes_score", "adapter")
    try:
        events.publish_generated([{name: row[name] for name in public} for row in rows], moment)
    except SourceUnavailable as error:
        log.warning("advice.generated not announced: %s", error)


def _has_drafts(advice: AdviceStore, snapshot: Snapshot, adapter: str) -> bool:
    return advice.count(f"prompt_id = '{snapshot.prompt_id}' AND adapter = '{adapter}'") > 0


def drafting_moments(settings: Settings, as_of: datetime, sessions: int) -> list[datetime]:
    """The last `sessions` session closes at or before `as_of` (calendar `prices.calendar`); for 0 sessions, `as_of`."""
    if sessions <= 0:
        return [as_of]
    # Two calendar days a session cover weekends, ten more cover holidays.
    closes = closes_between(settings.prices.calendar, as_of - timedelta(days=2 * sessions + 10), as_of)
    return [moment.to_pydatetime() for moment in closes[-sessions:]]
