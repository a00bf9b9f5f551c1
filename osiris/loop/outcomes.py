"""The outcome logger: settles ideas against real prices, then publishes `advice.outcome`.

Accepted ideas count from acceptance, ideas nobody accepted (shadow outcomes) from their draft; both only once they are
`outcomes.min_age_hours` old. An idea stays open, with the reason, whenever the evidence is missing or in doubt.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from osiris.errors import SourceUnavailable
from osiris.loop.first_touch import (
    EXPIRY,
    LOSS,
    NEVER,
    STILL_OPEN,
    STOP,
    TARGET,
    WIN,
    Bars,
    Ideas,
    Touches,
    first_touch,
)
from osiris.loop.prices import PriceDesk
from osiris.records import FINAL, ExitReason, Outcome, Status, event_id
from osiris.settings import Settings
from osiris.store.advice import AdviceStore
from osiris.store.bars import cumulative_split, known_at, suspicious_jumps
from osiris.store.events import Events
from osiris.store.tables import ACCEPTED_SQL, PENDING, UNSETTLED, sql_time

SHADOW_SQL = "status IN ('rejected', 'expired')"
COLUMNS = [
    "id", "ticker", "side", "entry", "target", "stop", "as_of", "status", "status_at", "outcome", "open_reason",
    "adapter", "patch_id",
]  # fmt: skip
EVENT_COLUMNS = [
    "id", "ticker", "side", "outcome", "exit_reason", "close_price", "closed_at", "r_multiple", "adapter", "patch_id",
    "event_id",
]  # fmt: skip
LOOK_BACK_DAYS = 10
DAY = 86_400_000_000_000
Verdict = dict[str, Any]
REASONS = {TARGET: ExitReason.TARGET, STOP: ExitReason.STOP, EXPIRY: ExitReason.EXPIRY}


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
    advice: AdviceStore, prices: PriceDesk, events: Events, settings: Settings, as_of: datetime
) -> OutcomeReport:
    """Expire, settle and publish, in that order, then compact; again at the same `as_of` it changes no row."""
    report = OutcomeReport(as_of, expired=expire_overdue(advice, settings, as_of))
    ideas = eligible(advice, settings, as_of)
    verdicts = judge_all(ideas, prices, settings, as_of)
    report.written = advice.settle(_changed(verdicts, ideas))
    report.published = publish(advice, events, as_of, report.notes)
    report.notes += prices.notes
    advice.optimize()
    return _counted(report, verdicts)


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


def judge_all(ideas: pd.DataFrame, prices: PriceDesk, settings: Settings, as_of: datetime) -> list[Verdict]:
    """Judge ideas of any tickers, fetching each ticker's bars once."""
    if ideas.empty:
        return []
    tickers = sorted(ideas["ticker"].unique())
    bars = prices.bars_many(tickers, ideas["as_of"].min() - timedelta(days=LOOK_BACK_DAYS), as_of, as_of)
    return [
        verdict
        for ticker, group in ideas.groupby("ticker", sort=True)
        for verdict in judge(group, bars.get(ticker), settings, as_of, prices.disputed.get(ticker))
    ]


def judge(
    ideas: pd.DataFrame, bars: pd.DataFrame | None, settings: Settings, as_of: datetime, dispute: str | None = None
) -> list[Verdict]:
    """Judge ideas on one ticker.

    `ideas` has columns id, side, entry, target, stop, as_of, since; `bars` are as in `store.bars` and may reach past
    `as_of`, which is not looked at. Missing or disputed bars leave every idea open, with that as the reason.
    """
    if dispute or bars is None or known_at(bars, as_of).empty:
        return [_open(idea, dispute or "no prices from any source") for idea in ideas.itertuples()]
    seen = known_at(bars, as_of)
    kernel_bars = as_kernel_bars(seen)
    touches = first_touch(kernel_bars, as_kernel_ideas(ideas, kernel_bars, settings))
    jumps = suspicious_jumps(seen)["start"]
    return [
        _verdict(idea, touches, i, seen, jumps[jumps > idea.as_of], settings)
        for i, idea in enumerate(ideas.itertuples())
    ]


def as_kernel_bars(bars: pd.DataFrame) -> Bars:
    """Bars of `store.bars` as the kernel takes them."""
    times = (_nanoseconds(bars[name]) for name in ("start", "end"))
    prices = (np.ascontiguousarray(bars[name], np.float64) for name in ("open", "high", "low", "close"))
    return Bars(*times, *prices, cumulative_split(bars))


def as_kernel_ideas(ideas: pd.DataFrame, bars: Bars, settings: Settings) -> Ideas:
    """Ideas as the kernel takes them; the basis of an idea is that of the last bar complete at its `as_of`."""
    last = np.searchsorted(bars.end, _nanoseconds(ideas["as_of"]), side="right") - 1
    since = _nanoseconds(ideas["since"])
    days = settings.outcomes.max_holding_days
    return Ideas(
        np.where(ideas["side"] == "long", 1.0, -1.0),
        *(np.ascontiguousarray(ideas[name], np.float64) for name in ("entry", "target", "stop")),
        np.where(last >= 0, bars.split[last], 1.0),
        since,
        since + days * DAY if days else np.full(len(ideas), NEVER),
    )


def publish(advice: AdviceStore, events: Events, as_of: datetime, notes: list[str]) -> int:
    """Deliver the outcome events that are still pending; a Redis that is away leaves them pending, with a note."""
    pending = advice.rows("event_id IS NOT NULL AND published_at IS NULL", EVENT_COLUMNS)
    if not pending:
        return 0
    try:
        new = events.publish_outcomes(pending)
    except SourceUnavailable as error:
        notes.append(f"{len(pending)} outcome events wait for Redis: {error}")
        return 0
    advice.mark_published([row["id"] for row in pending], as_of)
    return new


def _verdict(idea: Any, touches: Touches, i: int, bars: pd.DataFrame, jumps: pd.Series, settings: Settings) -> Verdict:
    state, j = touches.state[i], touches.bar[i]
    until = bars["start"].iloc[j] if j >= 0 else bars["start"].iloc[-1]
    if (jumps <= until).any():
        return _open(idea, f"a price jump on {jumps.iloc[0]:%Y-%m-%d} looks like an unrecorded split")
    if state == STILL_OPEN:
        if touches.reason[i] == EXPIRY:
            return _open(idea, "expired: the entry never traded") | {"exit_reason": ExitReason.EXPIRY}
        return _open(idea, "neither level reached" if touches.filled[i] else "the entry has not traded")
    outcome = _outcome(state, touches.r[i], settings.outcomes.breakeven_r)
    return {
        "id": idea.id,
        "outcome": outcome,
        "exit_reason": REASONS[touches.reason[i]],
        "close_price": round(float(touches.price[i]), 6),
        "closed_at": bars["start" if touches.at_open[i] else "end"].iloc[j].to_pydatetime(),
        "r_multiple": float(touches.r[i]),
        "ambiguous": bool(touches.ambiguous[i]),
        "shadow": bool(idea.shadow),
        "open_reason": None,
        "event_id": None if idea.shadow else event_id(idea.id, outcome),
    }


def _outcome(state: int, r: float, band: float) -> Outcome:
    if state in (WIN, LOSS):
        return Outcome.WIN if state == WIN else Outcome.LOSS
    if abs(r) <= band:
        return Outcome.BREAKEVEN
    return Outcome.WIN if r > 0 else Outcome.LOSS


def _open(idea: Any, reason: str) -> Verdict:
    empty = dict.fromkeys(("exit_reason", "close_price", "closed_at", "r_multiple", "ambiguous", "event_id"))
    return {"id": idea.id, "outcome": Outcome.OPEN, **empty, "shadow": bool(idea.shadow), "open_reason": reason}


def _changed(verdicts: list[Verdict], ideas: pd.DataFrame) -> list[Verdict]:
    """Leave out the ideas that stay open for the reason already noted."""
    noted = dict(zip(ideas["id"], zip(ideas["outcome"], ideas["open_reason"], strict=True), strict=True))
    return [v for v in verdicts if (v["outcome"], v["open_reason"]) != noted[v["id"]] or v["exit_reason"]]


def _counted(report: OutcomeReport, verdicts: list[Verdict]) -> OutcomeReport:
    report.looked_at = len(verdicts)
    for verdict in verdicts:
        report.shadow += verdict["outcome"] in FINAL and verdict["shadow"]
        if not verdict["shadow"]:
            setattr(report, verdict["outcome"], getattr(report, verdict["outcome"]) + 1)
        if verdict["outcome"] == Outcome.OPEN:
            report.reasons[verdict["open_reason"]] = report.reasons.get(verdict["open_reason"], 0) + 1
    return report


def _nanoseconds(times: pd.Series) -> np.ndarray:
    return times.dt.as_unit("ns").astype("int64").to_numpy()
