"""What an adapter does on held-out prompts: it drafts on them, and its ideas are settled on paper.

Held-out prompts are later than the training cut-off by an embargo. Their ideas are paper-settled with the outcome
kernel on bars up to `as_of`; what is still open then is marked at the last close, for all adapters alike.
`verdict.py` says which of two adapters is better.
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
    """Pairs are those known at `cutoff`; held-out prompts lie between `first` and `as_of`."""

    cutoff: datetime
    first: datetime
    as_of: datetime


@dataclass
class Evaluation:
    """One adapter on held-out prompts; `trades` has a row an idea: `idea_row`'s columns, and `r`,
    `filled`, `days_open`, `days_held` and `habit`.

    `days_open` runs from the draft to the exit, `days_held` from the entry on. `habit` is what the adapter's earlier
    decisions would have made on its prompt (NaN where there are none). `valid` counts the replies that were valid at
    the first attempt.
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
        """Mean R by prompt, of those with a filled trade."""
        return self.filled.groupby("prompt")["r"].mean()

    def metrics(self) -> dict[str, float]:
        """Shares and means over filled trades; a mean of nothing is left out."""
        filled = self.filled
        found = {"prompts": self.prompts, "trades": len(filled), "valid_share": self.valid / max(self.replies, 1)}
        if len(filled):
            found |= {
                "mean_r": filled["r"].mean(),
                "win_rate": (filled["r"] > 0).mean(),
                "long_share": (filled["side"] == "long").mean(),
                "reward_to_risk": filled["reward_to_risk"].mean(),
            }
        return {name: float(value) for name, value in found.items()}


def training_window(settings: Settings, as_of: datetime, seen_until: Sequence[datetime] = ()) -> Window:
    """The window of the night at `as_of`; what an adapter was trained on until `seen_until` is never held out."""
    cutoff = as_of - timedelta(days=settings.gate.holdout_days)
    return Window(cutoff, max([cutoff, *seen_until]) + timedelta(days=settings.gate.embargo_days), as_of)


def take_heldout_snapshots(
    prices: BarProvider,
    policy: Policy,
    settings: Settings,
    window: Window,
    notes: list[str],
    drafted_at: Sequence[datetime] | None = None,
) -> list[Snapshot]:
    """Snapshots of every ticker at every session close of the window, or at those of the moments `drafted_at`."""
    tickers = settings.advise.tickers
    calendars = sorted({calendar_of(ticker, settings.prices) for ticker in tickers})
    closes = {moment for name in calendars for moment in closes_between(name, window.first, window.as_of)}
    moments = [m for m in drafted_at if window.first <= m <= window.as_of] if drafted_at is not None else closes
    return take_snapshots(prices, policy, tickers, sorted(moments), notes) if moments else []


def evaluate_drafter(
    drafter: AnyDrafter, snapshots: Sequence[Snapshot], prices: BarProvider, settings: Settings, as_of: datetime
) -> Evaluation:
    """Draft on `snapshots` and settle on bars up to `as_of`."""
    drafts = draft_replies(
        drafter, [shot.request for shot in snapshots], settings.gate.candidates, settings, settings.model.seed + 1
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
    """Settle what `name` drafted on each of `snapshots` on bars up to `as_of`."""
    ideas = pd.DataFrame(
        [
            to_paper_row(number, shot, reply.reply)
            for number, (shot, group) in enumerate(zip(snapshots, drafts, strict=True))
            for reply in group
            if reply.reply is not None
        ],
        columns=PAPER_COLUMNS,
    )
    trades = simulate_paper_trades(ideas, prices, settings, as_of)
    trades = trades.assign(habit=_habit_r(trades, prices, settings, as_of))
    replies = [reply for group in drafts for reply in group]
    valid = sum(reply.is_valid_at_once for reply in replies)
    return Evaluation(adapter, len(snapshots), len(replies), valid, trades)


def simulate_paper_trades(
    ideas: pd.DataFrame, prices: BarProvider, settings: Settings, as_of: datetime
) -> pd.DataFrame:
    """Add `r`, `filled`, `days_open` and `days_held`: as the outcome logger would, closed at the last bar."""
    if ideas.empty:
        none = pd.Series(dtype=float)
        return ideas.assign(r=none, filled=pd.Series(dtype=bool), days_open=none, days_held=none)
    start = ideas["as_of"].min() - timedelta(days=HISTORY_DAYS)
    timelines = prices.get_timelines(sorted(ideas["ticker"].unique()), start, as_of)
    settled = []
    for ticker, group in ideas.groupby("ticker", sort=True):
        bars = timelines[ticker].bars
        barrier_ideas = to_barrier_ideas(to_arrays(group), timelines[ticker], settings.outcomes.max_holding_days)
        touches = find_first_touches(
            bars, barrier_ideas._replace(expiry=np.minimum(barrier_ideas.expiry, bars.end[-1]))
        )
        days = (bars.end[touches.bar] - barrier_ideas.since) / DAY_NS
        held = _days_held(bars.end, touches, barrier_ideas.since)
        filled = touches.filled & np.isfinite(touches.r)
        settled.append(group.assign(r=touches.r, filled=filled, days_open=days, days_held=held))
    return pd.concat(settled).sort_index()


def _days_held(ends: NDArray[np.int64], touches: Touches, since: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days from the bar before the one of the entry to the exit, shape (n,); NaN without an entry."""
    begun = np.maximum(since, np.where(touches.entry_bar > 0, ends[np.maximum(touches.entry_bar - 1, 0)], since))
    return np.where(touches.entry_bar >= 0, (ends[touches.bar] - begun) / DAY_NS, np.nan)


def _habit_r(trades: pd.DataFrame, prices: BarProvider, settings: Settings, as_of: datetime) -> pd.Series:
    """For every trade the mean R of the adapter's earlier decisions on its prompt, NaN without any."""
    if trades.empty:
        return pd.Series(dtype=float)
    moved = simulate_paper_trades(replay_decisions(trades), prices, settings, as_of)
    return trades["prompt"].map(moved[moved["filled"].astype(bool)].groupby("prompt")["r"].mean())


def to_paper_row(prompt_number: int, snapshot: Snapshot, reply: Reply) -> dict[str, Any]:
    """A drafted reply as `settle_on_paper` takes it, in force from its draft on; `number` is that of its prompt."""
    levels = levels_from_reply(reply, snapshot.price, snapshot.atr)
    values = (
        prompt_number, snapshot.ticker, snapshot.as_of, snapshot.as_of, snapshot.basis_at, str(reply.side), reply.confidence,
        levels.entry, levels.target, levels.stop, levels.reward_to_risk, snapshot.atr,
    )  # fmt: skip
    return dict(zip(PAPER_COLUMNS, values, strict=True))
