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
from osiris.core.files import one_at_a_time
from osiris.core.ideas import ENDING, FINAL, Outcome, Status, event_id
from osiris.labeling.label import judge
from osiris.market.provider import PriceDesk
from osiris.market.timeline import LOOK_BACK
from osiris.storage.advice import AdviceStore
from osiris.storage.events import Events
from osiris.storage.tables import ACCEPTED_SQL, PENDING, UNSETTLED, sql_time

if TYPE_CHECKING:
    import pyarrow as pa

SHADOW_SQL = "status IN ('rejected', 'expired', 'gated')"
COLUMNS = [
    "id", "ticker", "side", "entry", "target", "stop", "as_of", "basis_at", "status", "status_at", "close_asked_at",
    "close_asked_price", "outcome", "open_reason",
]  # fmt: skip
EVENT_COLUMNS = [
    "id", "ticker", "side", "outcome", "exit_reason", "close_price", "closed_at", "r_multiple", "size", "adapter",
    "policy", "patch_id", "event_id",
]  # fmt: skip
UNASKED = "a bar touched both levels, and Yahoo could not be asked for its minutes"
BATCH = 100_000
"""Ideas judged and written at a time, which bounds the memory of a run."""
RELAYED = 5_000
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
    prices: PriceDesk,
    events: Events,
    settings: Settings,
    as_of: datetime,
    *,
    progress: bool = False,
) -> OutcomeReport:
    """Expire, settle and publish, in that order, then compact; again at the same `as_of` it changes no row.

    Raises `Busy` while another run is under way on this workspace.
    """
    with one_at_a_time(settings.data / "outcomes.lock", "outcome run"):
        report = OutcomeReport(as_of, expired=expire_overdue(advice, settings, as_of))
        with prices.noting() as about_prices:
            for ideas in batches(eligible(advice, settings, as_of)):
                verdicts = judge_all(ideas, prices, settings, as_of, progress=progress)
                report.written += advice.settle(_as_table(_changed(verdicts)))
                _count(report, verdicts)
        report.published = publish(advice, events, as_of, report.notes)
        report.notes += about_prices
        advice.optimize()
    return report


def expire_overdue(advice: AdviceStore, settings: Settings, as_of: datetime) -> int:
    """Expire the pending ideas whose review deadline has passed; returns how many."""
    deadline = as_of - timedelta(hours=settings.review.deadline_hours)
    overdue = advice.rows(f"{PENDING} AND as_of <= {sql_time(deadline)}", ["id"])
    return advice.expire([row["id"] for row in overdue], as_of)


def eligible(advice: AdviceStore, settings: Settings, as_of: datetime) -> pd.DataFrame:
    """Ideas without a final outcome that are old enough at `as_of`, with `since`: when each came into force."""
    latest = sql_time(as_of - timedelta(hours=settings.outcomes.min_age_hours))
    where = (
        f"{UNSETTLED} AND exit_reason IS NULL AND "
        f"(({ACCEPTED_SQL} AND status_at <= {latest}) OR ({SHADOW_SQL} AND as_of <= {latest}))"
    )
    ideas = advice.frame(where, COLUMNS)
    accepted = ideas["status"].isin([Status.APPROVED, Status.EDITED])
    return ideas.assign(shadow=~accepted, since=ideas["status_at"].where(accepted, ideas["as_of"]))


def batches(ideas: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The ideas in parts of about `BATCH`, those of one ticker together, so that its bars are fetched once."""
    ideas = ideas.sort_values("ticker", kind="stable", ignore_index=True)
    last_of_ticker = np.flatnonzero(ideas["ticker"] != ideas["ticker"].shift(-1)) + 1
    start = 0
    while start < len(ideas):
        fits = last_of_ticker[last_of_ticker <= start + BATCH]
        end = fits[-1] if len(fits) and fits[-1] > start else last_of_ticker[last_of_ticker > start][0]
        yield ideas.iloc[start:end]
        start = end


def judge_all(
    ideas: pd.DataFrame, prices: PriceDesk, settings: Settings, as_of: datetime, *, progress: bool = False
) -> pd.DataFrame:
    """The verdicts of `loop.judge` with what the ideas had before; ambiguous ones are judged on finer bars first."""
    start = ideas["as_of"].min() - LOOK_BACK
    before = ideas[["id", "ticker", "shadow", "outcome", "open_reason", "status", "status_at"]].rename(
        columns={"outcome": "was", "open_reason": "was_open_for"}
    )

    def judged(chosen: pd.DataFrame) -> pd.DataFrame:
        lines = prices.timelines(sorted(chosen["ticker"].unique()), start, as_of, progress=progress)
        verdicts = judge(chosen, lines, settings.outcomes, as_of)
        return verdicts.merge(before, on="id", validate="one_to_one")

    verdicts = judged(ideas)
    while True:
        doubtful = verdicts[verdicts["doubt_at"].notna()]
        refined, unasked = prices.refine(doubtful.groupby("ticker")["doubt_at"].unique().to_dict(), as_of)
        if not refined:
            return _held_back(verdicts, unasked)
        anew = judged(ideas[ideas["ticker"].isin(refined)])
        verdicts = pd.concat([verdicts[~verdicts["ticker"].isin(refined)], anew], ignore_index=True)


def publish(advice: AdviceStore, events: Events, as_of: datetime, notes: list[str]) -> int:
    """Deliver the outcome events that are still pending; a Redis that is away leaves them pending, with a note."""
    pending = advice.table("event_id IS NOT NULL AND published_at IS NULL", EVENT_COLUMNS)
    new = done = 0
    try:
        for part in pending.select(EVENT_COLUMNS).to_batches(max_chunksize=RELAYED):
            new += events.publish_outcomes(part.to_pylist())
            done += len(part)
    except SourceUnavailable as error:
        notes.append(f"{len(pending) - done} outcome events wait for Redis: {error}")
    advice.mark_published(pending["id"].slice(0, done), as_of)
    return new


def _held_back(verdicts: pd.DataFrame, unasked: set[tuple[str, datetime]]) -> pd.DataFrame:
    """Leave open what hangs on finer bars that Yahoo may have but could not be asked for."""
    hangs = [pair in unasked for pair in zip(verdicts["ticker"], verdicts["doubt_at"], strict=True)]
    held = verdicts["outcome"].isin(FINAL) & pd.Series(hangs, verdicts.index, dtype=bool)
    if held.any():
        verdicts.loc[held, [*ENDING]] = None
        verdicts.loc[held, "outcome"], verdicts.loc[held, "open_reason"] = Outcome.OPEN, UNASKED
    return verdicts


def _changed(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Leave out the ideas that stay open for the reason already noted."""
    same = verdicts["outcome"].eq(Outcome.OPEN) & verdicts["exit_reason"].isna()
    same &= verdicts["was"].eq(Outcome.OPEN) & verdicts["was_open_for"].eq(verdicts["open_reason"])
    return verdicts[~same]


def _as_table(verdicts: pd.DataFrame) -> "pa.Table":
    """The outcome columns to write; only what an accepted idea came to is an event."""
    import pyarrow as pa

    final = verdicts["outcome"].isin(FINAL) & ~verdicts["shadow"].astype(bool)
    named = zip(verdicts["id"], verdicts["outcome"], final, strict=True)
    written = verdicts.drop(columns=["ticker", "was", "was_open_for", "doubt_at"])
    written = written.assign(event_id=[event_id(i, o) if publish else None for i, o, publish in named])
    return pa.Table.from_pandas(written, preserve_index=False)


def _count(report: OutcomeReport, verdicts: pd.DataFrame) -> None:
    report.looked_at += len(verdicts)
    shadow, outcome = verdicts["shadow"].astype(bool), verdicts["outcome"]
    report.shadow += int((shadow & outcome.isin(FINAL)).sum())
    for name, count in outcome[~shadow].value_counts().items():
        setattr(report, name, getattr(report, name) + int(count))
    reasons = Counter(verdicts["open_reason"][outcome.eq(Outcome.OPEN)])
    report.reasons = dict(Counter(report.reasons) + reasons)
