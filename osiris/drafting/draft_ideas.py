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
from osiris.core.errors import BadInput, NoPrices, SourceUnavailable
from osiris.core.ideas import Reply, Status, advice_id, levels_from_reply, parse_reply
from osiris.core.run_log import collect_warnings
from osiris.core.schemas import VECTOR_SIZE
from osiris.core.types import Row
from osiris.drafting.snapshot import Snapshot, take_snapshot
from osiris.llm import hermes
from osiris.llm.generate import Draft, draft_replies
from osiris.llm.models import AnyDrafter, AnyJudge
from osiris.market.bar_frames import to_bar_arrays
from osiris.market.calendars import closes_between
from osiris.market.provider import BarProvider
from osiris.policy import edit_warning
from osiris.policy.contracts import Policy, PolicyInput
from osiris.storage.advice import AdviceStore
from osiris.storage.events import Events
from osiris.storage.tables import sql_time

log = logging.getLogger(__name__)

HISTORY_DAYS = 150
"""Calendar days of bars that a snapshot reads: `WARM_UP_BARS` sessions, with holidays to spare."""
MAX_VECTOR_FEATURES = 8
"""Features of a snapshot in the vector of an idea; the numbers of the reply begin behind them."""


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
    snapshots = take_snapshots(context.prices, policy, settings.advise.tickers, moments)
    snapshots = [s for s in snapshots if not _has_drafts(advice, s, drafter.adapter)]
    report.prompts = len(snapshots)
    drafts = draft_replies(
        drafter,
        [snapshot.request for snapshot in snapshots],
        settings.advise.candidates,
        settings,
        settings.model.seed,
    )
    rows = to_advice_rows(snapshots, drafts, drafter, policy)
    report.replies = sum(len(group) for group in drafts)
    report.invalid = report.replies - len(rows)
    if judge:
        add_scores(rows, snapshots, judge, settings)
    apply_policy(rows, snapshots, policy)
    report.gated = sum(row["status"] == Status.GATED for row in rows)
    for moment in sorted({row["as_of"] for row in rows}):
        batch = [row for row in rows if row["as_of"] == moment]
        add_novelty(batch, advice)
        add_latency(batch, started)
        report.stored += advice.add(batch)
        report.ids += [row["id"] for row in batch]
        publish_ideas(context.events, [row for row in batch if row["status"] == Status.PENDING], moment)
    scores = [row["hermes_score"] for row in rows if row["hermes_score"] is not None]
    report.unscored = len(rows) - len(scores)
    report.mean_hermes = float(np.mean(scores)) if scores else None
    return report


def take_snapshots(
    prices: BarProvider, policy: Policy, tickers: Sequence[str], moments: Sequence[datetime]
) -> list[Snapshot]:
    """Snapshots of every ticker at every moment, by moment; a ticker without prices is left out with a warning."""
    first, last = min(moments), max(moments)
    bars = prices.get_many_bars(list(tickers), first - timedelta(days=HISTORY_DAYS), last, last)
    arrays = {ticker: to_bar_arrays(bars[ticker]) for ticker in tickers if ticker in bars}
    snapshots = []
    for moment in sorted(moments):
        for ticker, ticker_bars in arrays.items():
            try:
                snapshots.append(take_snapshot(ticker, ticker_bars, moment, policy))
            except NoPrices as error:
                log.warning("%s: %s", ticker, error)
    return snapshots


def to_advice_rows(
    snapshots: Sequence[Snapshot], drafts: Sequence[Sequence[Draft]], drafter: AnyDrafter, policy: Policy
) -> list[Row]:
    """Advice rows of the valid replies, status pending, without scores."""
    return [
        _to_advice_row(snapshot, sample, draft.text, draft.reply, drafter)
        | {"policy": policy.commit, "patch_id": policy.patch_id}
        for snapshot, group in zip(snapshots, drafts, strict=True)
        for sample, draft in enumerate(group)
        if draft.reply is not None
    ]


def add_scores(rows: list[Row], snapshots: Sequence[Snapshot], judge: AnyJudge, settings: Settings) -> None:
    """Let Hermes score the rows; an idea without a number in its answer keeps a null score and gets a note."""
    snapshots_by_id = _snapshots_by_id(snapshots)
    ideas = [hermes.JudgedIdea(proposal=row["reply"], context=snapshots_by_id[row["prompt_id"]].text) for row in rows]
    for row, score in zip(rows, hermes.score_ideas(judge, ideas, settings.model.batch_size), strict=True):
        row |= {"hermes_raw": score.raw, "hermes_score": score.normalized, "hermes_note": score.note or None}


def apply_policy(rows: list[Row], snapshots: Sequence[Snapshot], policy: Policy) -> None:
    """Set `size` of each row, and the status of those that the risk filter keeps from the reviewers."""
    snapshots_by_id = _snapshots_by_id(snapshots)
    for row in rows:
        reply = parse_reply(row["reply"], row["ticker"])
        if reply is None:
            raise BadInput(
                f"a stored row with a valid reply about {row['ticker']}", repr(row["reply"]), "draft the idea again"
            )
        idea = to_policy_input(snapshots_by_id[row["prompt_id"]], reply, row["hermes_score"])
        row["size"] = policy.size(idea)
        if not policy.passes(idea):
            row |= {"status": str(Status.GATED), "status_at": row["as_of"]}


def to_policy_input(snapshot: Snapshot, reply: Reply, hermes_score: float | None) -> PolicyInput:
    """A drafted reply as the risk filter and the sizing see it."""
    values = {feature.name: feature.value for feature in snapshot.features}
    return PolicyInput(reply.side.sign, reply.target_atr, reply.stop_atr, reply.confidence, hermes_score, values)


def add_novelty(rows: list[Row], advice: AdviceStore) -> None:
    """Set `novelty` of ideas of one moment: the L2 distance of each vector to the nearest earlier one.

    It is null if there is no earlier idea. Ideas of the same moment are not compared with each other.
    """
    distances = advice.nearest_distances([row["vector"] for row in rows], f"as_of < {sql_time(rows[0]['as_of'])}")
    for row, distance in zip(rows, distances, strict=True):
        row["novelty"] = distance


def add_latency(rows: list[Row], started: float) -> None:
    """Set `decision_latency_ms`, the wall clock from `started` until now, and `created_at`.

    `started` is when the run took its first snapshot, as `time.perf_counter` gives it.
    """
    for row in rows:
        row["decision_latency_ms"] = (time.perf_counter() - started) * 1000
        row["created_at"] = row["as_of"] + timedelta(milliseconds=row["decision_latency_ms"])


def publish_ideas(events: Events, rows: list[Row], moment: datetime) -> None:
    """Publish `advice.generated`. The ideas are stored already, so an unreachable Redis is only a warning."""
    public = ("id", "ticker", "side", "entry", "target", "stop", "size", "confidence", "hermes_score", "adapter")
    try:
        events.publish_generated([{name: row[name] for name in public} for row in rows], moment)
    except SourceUnavailable as error:
        log.warning("advice.generated not announced: %s", error)


def idea_vector(features: np.ndarray, reply: Reply) -> np.ndarray:
    """Vector of an idea, float32 (16,): up to 8 features, then side, target, stop, reward-to-risk, confidence.

    Every number lies in -1..1, so that none dominates the distance between two ideas. The last three are always zero.
    """
    vector = np.zeros(VECTOR_SIZE, np.float32)
    vector[: len(features)] = features[:MAX_VECTOR_FEATURES]
    reward_to_risk = np.tanh(np.log(reply.target_atr / reply.stop_atr))
    distances = np.tanh([reply.target_atr / 4, reply.stop_atr / 4])  # 4 ATR become 0.76, and no distance exceeds 1
    vector[MAX_VECTOR_FEATURES : MAX_VECTOR_FEATURES + 5] = [
        reply.side.sign,
        *distances,
        reward_to_risk,
        reply.confidence,
    ]
    return vector


def _to_advice_row(snapshot: Snapshot, sample: int, text: str, reply: Reply, drafter: AnyDrafter) -> Row:
    levels = levels_from_reply(reply, snapshot.price, snapshot.atr)
    return {
        "id": advice_id(snapshot.prompt, drafter.adapter, sample, snapshot.as_of),
        "prompt_id": snapshot.prompt_id,
        "as_of": snapshot.as_of,
        "ticker": snapshot.ticker,
        "side": str(reply.side),
        "entry": levels.entry,
        "target": levels.target,
        "stop": levels.stop,
        "basis_at": snapshot.basis_at,
        "price": snapshot.price,
        "atr": snapshot.atr,
        "confidence": reply.confidence,
        "rationale": reply.rationale,
        "prompt": snapshot.prompt,
        "reply": text,
        "model": drafter.name,
        "adapter": drafter.adapter,
        "vector": idea_vector(snapshot.vector, reply).tolist(),
        **dict.fromkeys(("hermes_raw", "hermes_score", "hermes_note")),
        "status": str(Status.PENDING),
        "shadow": True,
    }


def _snapshots_by_id(snapshots: Sequence[Snapshot]) -> dict[str, Snapshot]:
    """Snapshots by their prompt id. Their text is no key: two moments may share it, because it is rounded."""
    return {snapshot.prompt_id: snapshot for snapshot in snapshots}


def _has_drafts(advice: AdviceStore, snapshot: Snapshot, adapter: str) -> bool:
    return advice.count(f"prompt_id = '{snapshot.prompt_id}' AND adapter = '{adapter}'") > 0


def drafting_moments(settings: Settings, as_of: datetime, sessions: int) -> list[datetime]:
    """The last `sessions` session closes at or before `as_of` (calendar `prices.calendar`); for 0 sessions, `as_of`."""
    if sessions <= 0:
        return [as_of]
    # Two calendar days a session cover weekends, ten more cover holidays.
    closes = closes_between(settings.prices.calendar, as_of - timedelta(days=2 * sessions + 10), as_of)
    return [moment.to_pydatetime() for moment in closes[-sessions:]]
