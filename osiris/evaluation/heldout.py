"""Evaluate an adapter on held-out prompts: it drafts on them, and its ideas are settled as paper trades.

Held-out prompts are later than the training cut-off by an embargo. Their ideas are settled by the triple-barrier rules
on bars up to `as_of`. A trade that is still open then is closed at the last close, for all adapters alike. `gate.py`
decides which of two adapters is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.config.settings import Settings
from osiris.core.ideas import Reply, levels_from_reply
from osiris.drafting.draft_ideas import HISTORY_DAYS, take_snapshots
from osiris.drafting.snapshot import Snapshot
from osiris.evaluation.side_bias import replay_decisions
from osiris.labeling.arrays import DAY_NS, to_arrays, to_barrier_ideas
from osiris.labeling.triple_barrier import Touches, find_first_touches
from osiris.llm.generate import Draft, draft_replies
from osiris.llm.models import AnyDrafter
from osiris.market.calendars import calendar_of, closes_between
from osiris.market.provider import BarProvider
from osiris.policy.contracts import Policy

PAPER_COLUMNS = [
    "prompt", "ticker", "as_of", "since", "basis_at", "side", "confidence", "entry", "target", "stop", "reward_to_risk",
    "atr",
]  # fmt: skip


@dataclass(frozen=True)
class Window:
    """Training pairs are those known at `cutoff`; held-out prompts lie between `first` and `as_of`."""

    cutoff: datetime
    first: datetime
    as_of: datetime


@dataclass
class Evaluation:
    """One adapter on held-out prompts.

    `trades` has one row per idea: `PAPER_COLUMNS`, and `r`, `filled`, `days_open`, `days_held` and `habit`.
    `days_open` runs from the draft to the exit, `days_held` from the entry to the exit. `habit` is the mean R that the
    adapter's earlier decisions would have earned on its prompt (NaN where there are none). `valid` counts the replies
    that were valid at the first attempt.
    """

    adapter: str
    prompts: int
    replies: int
    valid: int
    trades: pd.DataFrame = field(repr=False)

    @property
    def filled(self) -> pd.DataFrame:
        """The trades whose entry was reached."""
        return self.trades[self.trades["filled"]]

    @property
    def mean_r(self) -> pd.Series:
        """Mean R of each prompt that has a filled trade."""
        return self.filled.groupby("prompt")["r"].mean()

    def metrics(self) -> dict[str, float]:
        """Counts, shares and means over filled trades; without any filled trade there are no means."""
        filled = self.filled
        numbers = {"prompts": self.prompts, "trades": len(filled), "valid_share": self.valid / max(self.replies, 1)}
        if len(filled):
            numbers |= {
                "mean_r": filled["r"].mean(),
                "win_rate": (filled["r"] > 0).mean(),
                "long_share": (filled["side"] == "long").mean(),
                "reward_to_risk": filled["reward_to_risk"].mean(),
            }
        return {name: float(value) for name, value in numbers.items()}


def training_window(settings: Settings, as_of: datetime, seen_until: Sequence[datetime] = ()) -> Window:
    """The window of the nightly run at `as_of`.

    `seen_until` are the last days that adapters were trained on: days up to the latest of them are never held out.
    """
    cutoff = as_of - timedelta(days=settings.gate.holdout_days)
    return Window(cutoff, max([cutoff, *seen_until]) + timedelta(days=settings.gate.embargo_days), as_of)


def take_heldout_snapshots(
    prices: BarProvider,
    policy: Policy,
    settings: Settings,
    window: Window,
    drafted_at: Sequence[datetime] | None = None,
) -> list[Snapshot]:
    """Snapshots of every ticker at every session close of the window, or at those of `drafted_at` inside the window.

    A ticker without prices at a moment is left out with a warning.
    """
    tickers = settings.advise.tickers
    calendars = sorted({calendar_of(ticker, settings.prices) for ticker in tickers})
    closes = {moment for name in calendars for moment in closes_between(name, window.first, window.as_of)}
    moments = [m for m in drafted_at if window.first <= m <= window.as_of] if drafted_at is not None else closes
    return take_snapshots(prices, policy, tickers, sorted(moments)) if moments else []


def evaluate_drafter(
    drafter: AnyDrafter, snapshots: Sequence[Snapshot], prices: BarProvider, settings: Settings, as_of: datetime
) -> Evaluation:
    """Draft on `snapshots` and settle on bars up to `as_of`."""
    drafts = draft_replies(
        drafter,
        [snapshot.request for snapshot in snapshots],
        settings.gate.candidates,
        settings,
        settings.model.seed + 1,
    )
    return evaluate_drafts(drafter.adapter, snapshots, drafts, prices, settings, as_of)


def evaluate_drafts(
    adapter: str,
    snapshots: Sequence[Snapshot],
    drafts: Sequence[Sequence[Draft]],
    prices: BarProvider,
    settings: Settings,
    as_of: datetime,
) -> Evaluation:
    """Settle the drafts of `adapter`, a group for each of `snapshots`, on bars up to `as_of`."""
    ideas = pd.DataFrame(
        [
            to_paper_row(number, snapshot, draft.reply)
            for number, (snapshot, prompt_drafts) in enumerate(zip(snapshots, drafts, strict=True))
            for draft in prompt_drafts
            if draft.reply is not None
        ],
        columns=PAPER_COLUMNS,
    )
    trades = simulate_paper_trades(ideas, prices, settings, as_of)
    trades = trades.assign(habit=_habit_r(trades, prices, settings, as_of))
    all_drafts = [draft for prompt_drafts in drafts for draft in prompt_drafts]
    valid = sum(draft.is_valid_at_once for draft in all_drafts)
    return Evaluation(adapter, len(snapshots), len(all_drafts), valid, trades)


def simulate_paper_trades(
    ideas: pd.DataFrame, prices: BarProvider, settings: Settings, as_of: datetime
) -> pd.DataFrame:
    """Add `r`, `filled`, `days_open` and `days_held`, as settlement would; open trades are closed at the last bar."""
    if ideas.empty:
        none = pd.Series(dtype=float)
        return ideas.assign(r=none, filled=pd.Series(dtype=bool), days_open=none, days_held=none)
    start = ideas["as_of"].min() - timedelta(days=HISTORY_DAYS)
    timelines = prices.get_timelines(sorted(ideas["ticker"].unique()), start, as_of)
    settled = []
    for ticker, group in ideas.groupby("ticker", sort=True):
        timeline = timelines[str(ticker)]
        bars = timeline.bars
        barrier_ideas = to_barrier_ideas(to_arrays(group), timeline, settings.outcomes.max_holding_days)
        # No idea may stay open beyond the last bar: so every adapter's open trades are marked at the same close.
        touches = find_first_touches(
            bars, barrier_ideas._replace(expiry=np.minimum(barrier_ideas.expiry, bars.end[-1]))
        )
        days = (bars.end[touches.bar] - barrier_ideas.since) / DAY_NS
        held = _days_held(bars.end, touches, barrier_ideas.since)
        filled = touches.filled & np.isfinite(touches.r)
        settled.append(group.assign(r=touches.r, filled=filled, days_open=days, days_held=held))
    return pd.concat(settled).sort_index()


def _days_held(ends: NDArray[np.int64], touches: Touches, since: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days from the bar before the one of the entry to the exit, shape (n,); NaN without an entry.

    The wait for an entry risks nothing, so it is not counted: with it, trades would seem to overlap for longer.
    """
    begun = np.maximum(since, np.where(touches.entry_bar > 0, ends[np.maximum(touches.entry_bar - 1, 0)], since))
    return np.where(touches.entry_bar >= 0, (ends[touches.bar] - begun) / DAY_NS, np.nan)


def _habit_r(trades: pd.DataFrame, prices: BarProvider, settings: Settings, as_of: datetime) -> pd.Series:
    """For every trade, the mean R of the adapter's earlier decisions on its prompt; NaN without any."""
    if trades.empty:
        return pd.Series(dtype=float)
    moved = simulate_paper_trades(replay_decisions(trades), prices, settings, as_of)
    return trades["prompt"].map(moved[moved["filled"].astype(bool)].groupby("prompt")["r"].mean())


def to_paper_row(prompt_number: int, snapshot: Snapshot, reply: Reply) -> dict[str, Any]:
    """A drafted reply as `simulate_paper_trades` takes it, in force from its draft on."""
    levels = levels_from_reply(reply, snapshot.price, snapshot.atr)
    return {
        "prompt": prompt_number,
        "ticker": snapshot.ticker,
        "as_of": snapshot.as_of,
        "since": snapshot.as_of,
        "basis_at": snapshot.basis_at,
        "side": str(reply.side),
        "confidence": reply.confidence,
        "entry": levels.entry,
        "target": levels.target,
        "stop": levels.stop,
        "reward_to_risk": levels.reward_to_risk,
        "atr": snapshot.atr,
    }
