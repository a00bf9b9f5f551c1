"""The outcome logger: settles ideas against real prices, then publishes `advice.outcome`.

Accepted ideas count from acceptance, ideas nobody accepted (shadow outcomes) from their draft; both only once they are
`outcomes.min_age_hours` old. An idea stays open, with the reason, whenever the evidence is missing or in doubt, and is
judged anew by the next run. One run at a time.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from osiris.config.settings import Settings
from osiris.core.errors import SourceUnavailable
from osiris.core.files import exclusive_lock
from osiris.core.ideas import EXIT_COLUMNS, FINAL_OUTCOMES, Outcome, Status, event_id
from osiris.labeling.label import label_frame
from osiris.market.provider import BarProvider
from osiris.market.timeline import BASIS_LOOKBACK
from osiris.storage.advice import AdviceStore
from osiris.storage.events import Events
from osiris.storage.tables import ACCEPTED_SQL, PENDING_SQL, UNSETTLED_SQL, sql_time

if TYPE_CHECKING:
    import pyarrow as pa

SHADOW_SQL = "status IN ('rejected', 'expired', 'gated')"
ELIGIBLE_COLUMNS = [
    "id", "ticker", "side", "entry", "target", "stop", "as_of", "basis_at", "status", "status_at", "close_asked_at",
    "close_asked_price", "outcome", "open_reason",
]  # fmt: skip
EVENT_COLUMNS = [
    "id", "ticker", "side", "outcome", "exit_reason", "close_price", "closed_at", "r_multiple", "size", "adapter",
    "policy", "patch_id", "event_id",
]  # fmt: skip
MINUTES_UNAVAILABLE = "a bar touched both levels, and Yahoo could not be asked for its minutes"
IDEAS_PER_BATCH = 100_000
"""Ideas judged and written at a time, which bounds the memory of a run."""
EVENTS_PER_RELAY = 5_000
"""Events made ready at a time."""


@dataclass
class OutcomeReport:
    """What one run did. win, loss, breakeven and open count accepted ideas, `shadow` settled ones nobody accepted."""

    as_of: datetime
    expired: int = 0
    looked_at: int = 0
    written: int = 0
    win: int = 0
    loss: int = 0
    breakeven: int = 0
    open: int = 0
    shadow: int = 0
    published: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def settle(
    advice: AdviceStore,
    prices: BarProvider,
    events: Events,
    settings: Settings,
    as_of: datetime,
    *,
    progress: bool = False,
) -> OutcomeReport:
    """Expire, settle and publish, in that order, then compact; again at the same `as_of` it changes no row.

    Raises `Busy` while another run is under way on this workspace.
    """
    with exclusive_lock(settings.data / "outcomes.lock", "outcome run"):
        report = OutcomeReport(as_of, expired=expire_overdue(advice, settings, as_of))
        with prices.collect_notes() as about_prices:
            for ideas in split_batches(find_eligible(advice, settings, as_of)):
                labels = label_all(ideas, prices, settings, as_of, progress=progress)
                report.written += advice.settle(_to_table(_drop_unchanged(labels)))
                _add_to_report(report, labels)
        report.published = publish_pending(advice, events, as_of, report.notes)
        report.notes += about_prices
        advice.optimize()
    return report


def expire_overdue(advice: AdviceStore, settings: Settings, as_of: datetime) -> int:
    """Expire the pending ideas whose review deadline has passed; returns how many."""
    deadline = as_of - timedelta(hours=settings.review.deadline_hours)
    overdue = advice.rows(f"{PENDING_SQL} AND as_of <= {sql_time(deadline)}", ["id"])
    return advice.expire([row["id"] for row in overdue], as_of)


def find_eligible(advice: AdviceStore, settings: Settings, as_of: datetime) -> pd.DataFrame:
    """Ideas without a final outcome that are old enough at `as_of`, with `since`: when each came into force."""
    latest = sql_time(as_of - timedelta(hours=settings.outcomes.min_age_hours))
    where = (
        f"{UNSETTLED_SQL} AND exit_reason IS NULL AND "
        f"(({ACCEPTED_SQL} AND status_at <= {latest}) OR ({SHADOW_SQL} AND as_of <= {latest}))"
    )
    ideas = advice.frame(where, ELIGIBLE_COLUMNS)
    accepted = ideas["status"].isin([Status.APPROVED, Status.EDITED])
    return ideas.assign(shadow=~accepted, since=ideas["status_at"].where(accepted, ideas["as_of"]))


def split_batches(ideas: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The ideas in parts of about `BATCH`, those of one ticker together, so that its bars are fetched once."""
    ideas = ideas.sort_values("ticker", kind="stable", ignore_index=True)
    last_of_ticker = np.flatnonzero(ideas["ticker"] != ideas["ticker"].shift(-1)) + 1
    start = 0
    while start < len(ideas):
        fits = last_of_ticker[last_of_ticker <= start + IDEAS_PER_BATCH]
        end = fits[-1] if len(fits) and fits[-1] > start else last_of_ticker[last_of_ticker > start][0]
        yield ideas.iloc[start:end]
        start = end


def label_all(
    ideas: pd.DataFrame, prices: BarProvider, settings: Settings, as_of: datetime, *, progress: bool = False
) -> pd.DataFrame:
    """The verdicts of `loop.judge` with what the ideas had before; ambiguous ones are judged on finer bars first."""
    start = ideas["as_of"].min() - BASIS_LOOKBACK
    before = ideas[["id", "ticker", "shadow", "outcome", "open_reason", "status", "status_at"]].rename(
        columns={"outcome": "was", "open_reason": "was_open_for"}
    )

    def label_chosen(chosen: pd.DataFrame) -> pd.DataFrame:
        timelines = prices.get_timelines(sorted(chosen["ticker"].unique()), start, as_of, progress=progress)
        labels = label_frame(chosen, timelines, settings.outcomes, as_of)
        return labels.merge(before, on="id", validate="one_to_one")

    labels = label_chosen(ideas)
    while True:
        ambiguous = labels[labels["ambiguous_at"].notna()]
        refined, unasked = prices.fetch_finest(ambiguous.groupby("ticker")["ambiguous_at"].unique().to_dict(), as_of)
        if not refined:
            return _hold_back_unasked(labels, unasked)
        anew = label_chosen(ideas[ideas["ticker"].isin(refined)])
        labels = pd.concat([labels[~labels["ticker"].isin(refined)], anew], ignore_index=True)


def publish_pending(advice: AdviceStore, events: Events, as_of: datetime, notes: list[str]) -> int:
    """Deliver the outcome events that are still pending; a Redis that is away leaves them pending, with a note."""
    pending = advice.table("event_id IS NOT NULL AND published_at IS NULL", EVENT_COLUMNS)
    new = done = 0
    try:
        for part in pending.select(EVENT_COLUMNS).to_batches(max_chunksize=EVENTS_PER_RELAY):
            new += events.publish_outcomes(part.to_pylist())
            done += len(part)
    except SourceUnavailable as error:
        notes.append(f"{len(pending) - done} outcome events wait for Redis: {error}")
    advice.mark_published(pending["id"].slice(0, done), as_of)
    return new


def _hold_back_unasked(labels: pd.DataFrame, unasked: set[tuple[str, datetime]]) -> pd.DataFrame:
    """Leave open what hangs on finer bars that Yahoo may have but could not be asked for."""
    hangs = [pair in unasked for pair in zip(labels["ticker"], labels["ambiguous_at"], strict=True)]
    held = labels["outcome"].isin(FINAL_OUTCOMES) & pd.Series(hangs, labels.index, dtype=bool)
    if held.any():
        labels.loc[held, [*EXIT_COLUMNS]] = None
        labels.loc[held, "outcome"], labels.loc[held, "open_reason"] = Outcome.OPEN, MINUTES_UNAVAILABLE
    return labels


def _drop_unchanged(labels: pd.DataFrame) -> pd.DataFrame:
    """Leave out the ideas that stay open for the reason already noted."""
    same = labels["outcome"].eq(Outcome.OPEN) & labels["exit_reason"].isna()
    same &= labels["was"].eq(Outcome.OPEN) & labels["was_open_for"].eq(labels["open_reason"])
    return labels[~same]


def _to_table(labels: pd.DataFrame) -> "pa.Table":
    """The outcome columns to write; only what an accepted idea came to is an event."""
    import pyarrow as pa

    final = labels["outcome"].isin(FINAL_OUTCOMES) & ~labels["shadow"].astype(bool)
    named = zip(labels["id"], labels["outcome"], final, strict=True)
    written = labels.drop(columns=["ticker", "was", "was_open_for", "ambiguous_at"])
    written = written.assign(event_id=[event_id(i, o) if publish else None for i, o, publish in named])
    return pa.Table.from_pandas(written, preserve_index=False)


def _add_to_report(report: OutcomeReport, labels: pd.DataFrame) -> None:
    report.looked_at += len(labels)
    shadow, outcome = labels["shadow"].astype(bool), labels["outcome"]
    report.shadow += int((shadow & outcome.isin(FINAL_OUTCOMES)).sum())
    for name, count in outcome[~shadow].value_counts().items():
        setattr(report, name, getattr(report, name) + int(count))
    reasons = Counter(labels["open_reason"][outcome.eq(Outcome.OPEN)])
    report.reasons = dict(Counter(report.reasons) + reasons)
