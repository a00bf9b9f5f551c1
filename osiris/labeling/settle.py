"""The outcome logger: it settles ideas against real prices, then publishes `advice.outcome` events.

An accepted idea counts from its acceptance. An idea that nobody accepted counts from its draft; its result is a shadow
outcome. Both are settled only once they are `outcomes.min_age_hours` old.

An idea stays open, with the reason, while evidence is missing or in doubt. The next run labels it again. Only one run
at a time works on a workspace.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from osiris.config.settings import Settings
from osiris.core.errors import SourceUnavailable
from osiris.core.files import exclusive_lock
from osiris.core.ideas import EXIT_COLUMNS, FINAL_OUTCOMES, Outcome, Status, event_id
from osiris.core.run_log import collect_warnings
from osiris.labeling.label import label_frame
from osiris.market.provider import BarProvider
from osiris.market.timeline import BASIS_LOOKBACK
from osiris.storage.advice import AdviceStore
from osiris.storage.events import Events
from osiris.storage.tables import ACCEPTED_SQL, PENDING_SQL, UNSETTLED_SQL, sql_time

log = logging.getLogger(__name__)

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
"""Ideas labelled and written at a time, which bounds the memory of a run."""
EVENTS_PER_RELAY = 5_000
"""Events prepared and sent to Redis at a time, which bounds the memory too."""


@dataclass
class OutcomeReport:
    """The counts and notes of one run.

    `win`, `loss`, `breakeven` and `open` count accepted ideas. `shadow` counts settled ideas that nobody accepted.
    `written` counts the rows that changed, `published` the new events. `reasons` counts open ideas by `open_reason`.
    """

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

    @property
    def headline(self) -> str:
        """The result in a sentence."""
        return (
            f"Of the accepted ideas {self.win} won, {self.loss} lost, {self.breakeven} broke even and {self.open} are "
            f"open. {self.shadow} others have a shadow outcome, and {self.expired} expired."
        )


def settle(
    advice: AdviceStore,
    prices: BarProvider,
    events: Events,
    settings: Settings,
    as_of: datetime,
    *,
    progress: bool = False,
) -> OutcomeReport:
    """Expire overdue ideas, settle, publish, then compact the tables; a second run at the same `as_of` changes no row.

    Raises `Busy` while another run is under way on this workspace.
    """
    # Publishing comes last: an event is sent only for an outcome that is stored, and it stays pending if Redis is away.
    with exclusive_lock(settings.data / "outcomes.lock", "outcome run"), collect_warnings() as notes:
        report = OutcomeReport(as_of, expired=expire_overdue(advice, settings, as_of), notes=notes)
        for ideas in split_batches(find_eligible(advice, settings, as_of)):
            labels = label_all(ideas, prices, settings, as_of, progress=progress)
            report.written += advice.settle(_to_table(_drop_unchanged(labels)))
            _add_to_report(report, labels)
        report.published = publish_pending(advice, events, as_of)
        advice.optimize()
    log.info("settled %s of %s ideas at %s", report.written, report.looked_at, as_of.isoformat())
    return report


def expire_overdue(advice: AdviceStore, settings: Settings, as_of: datetime) -> int:
    """Expire the pending ideas whose review deadline has passed, and return their number."""
    deadline = as_of - timedelta(hours=settings.review.deadline_hours)
    overdue = advice.rows(f"{PENDING_SQL} AND as_of <= {sql_time(deadline)}", ["id"])
    return advice.expire([row["id"] for row in overdue], as_of)


def find_eligible(advice: AdviceStore, settings: Settings, as_of: datetime) -> pd.DataFrame:
    """Ideas without a final outcome that are old enough at `as_of`, with `shadow` and `since`.

    `since` is when an idea came into force: at its acceptance, or at its draft if nobody accepted it (`shadow`).
    """
    latest = sql_time(as_of - timedelta(hours=settings.outcomes.min_age_hours))
    where = (
        f"{UNSETTLED_SQL} AND exit_reason IS NULL AND "
        f"(({ACCEPTED_SQL} AND status_at <= {latest}) OR ({SHADOW_SQL} AND as_of <= {latest}))"
    )
    ideas = advice.frame(where, ELIGIBLE_COLUMNS)
    accepted = ideas["status"].isin([Status.APPROVED, Status.EDITED])
    return ideas.assign(shadow=~accepted, since=ideas["status_at"].where(accepted, ideas["as_of"]))


def split_batches(ideas: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The ideas in batches of at most `IDEAS_PER_BATCH`; the ideas of a ticker stay together, however many they are.

    So the bars of a ticker are fetched once.
    """
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
    """The labels of `label_frame`, with the ticker, status and earlier outcome of each idea.

    Example: a daily bar touched both levels, so the label is ambiguous. The finest bars of that session are fetched and
    the ideas on that ticker labelled again. This repeats until no ticker gets new bars.
    """
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
        times = ambiguous.groupby("ticker")["ambiguous_at"].unique()
        refined, unasked = prices.fetch_finest({str(ticker): list(moments) for ticker, moments in times.items()}, as_of)
        if not refined:
            return _hold_back_unasked(labels, unasked)
        relabelled = label_chosen(ideas[ideas["ticker"].isin(refined)])
        labels = pd.concat([labels[~labels["ticker"].isin(refined)], relabelled], ignore_index=True)


def publish_pending(advice: AdviceStore, events: Events, as_of: datetime) -> int:
    """Publish the pending outcome events and return the number of new ones.

    If Redis is away, the remaining events stay pending, with a warning.
    """
    pending = advice.table("event_id IS NOT NULL AND published_at IS NULL", EVENT_COLUMNS)
    new = 0
    done = 0
    try:
        for part in pending.select(EVENT_COLUMNS).to_batches(max_chunksize=EVENTS_PER_RELAY):
            new += events.publish_outcomes(part.to_pylist())
            done += len(part)
    except SourceUnavailable as error:
        log.warning("%s outcome events wait for Redis: %s", len(pending) - done, error)
    # Marked after publishing: a run that dies in between sends these events again, and Redis drops a known `event_id`.
    advice.mark_published(pending["id"].slice(0, done), as_of)
    return new


def _hold_back_unasked(labels: pd.DataFrame, unasked: set[tuple[str, datetime]]) -> pd.DataFrame:
    """Leave open the ideas that need finer bars for which Yahoo could not be asked, although it may have them."""
    needs_bars = [pair in unasked for pair in zip(labels["ticker"], labels["ambiguous_at"], strict=True)]
    held = labels["outcome"].isin(FINAL_OUTCOMES) & pd.Series(needs_bars, labels.index, dtype=bool)
    if held.any():
        labels.loc[held, [*EXIT_COLUMNS]] = None
        labels.loc[held, "outcome"] = Outcome.OPEN
        labels.loc[held, "open_reason"] = MINUTES_UNAVAILABLE
    return labels


def _drop_unchanged(labels: pd.DataFrame) -> pd.DataFrame:
    """Leave out the ideas that stay open for the reason that is stored already."""
    same = labels["outcome"].eq(Outcome.OPEN) & labels["exit_reason"].isna()
    same &= labels["was"].eq(Outcome.OPEN) & labels["was_open_for"].eq(labels["open_reason"])
    return labels[~same]


def _to_table(labels: pd.DataFrame) -> "pa.Table":
    """The outcome columns to write. Only the final outcome of an accepted idea has an `event_id`, so is an event."""
    import pyarrow as pa

    final = labels["outcome"].isin(FINAL_OUTCOMES) & ~labels["shadow"].astype(bool)
    rows = zip(labels["id"], labels["outcome"], final, strict=True)
    event_ids: list[Any] = [event_id(idea, outcome) if is_final else None for idea, outcome, is_final in rows]
    written = labels.drop(columns=["ticker", "was", "was_open_for", "ambiguous_at"])
    return pa.Table.from_pandas(written.assign(event_id=event_ids), preserve_index=False)


def _add_to_report(report: OutcomeReport, labels: pd.DataFrame) -> None:
    report.looked_at += len(labels)
    shadow, outcome = labels["shadow"].astype(bool), labels["outcome"]
    report.shadow += int((shadow & outcome.isin(FINAL_OUTCOMES)).sum())
    for name, count in outcome[~shadow].value_counts().items():
        # Each outcome is the name of a field of the report.
        setattr(report, str(name), getattr(report, str(name)) + int(count))
    reasons = Counter(labels["open_reason"][outcome.eq(Outcome.OPEN)])
    report.reasons = dict(Counter(report.reasons) + reasons)
