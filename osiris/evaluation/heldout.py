"""Evaluate an adapter on held-out prompts: it drafts on them, and its ideas are settled as paper trades.

Held-out prompts are later than the training cut-off by an embargo. `paper_trading.py` settles their ideas, for all
adapters alike, and `gate.py` decides which of two adapters is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd

from osiris.config.settings import Settings
from osiris.drafting.snapshot import Snapshot
from osiris.drafting.snapshots import SnapshotSource, take_snapshots
from osiris.evaluation.paper_trading import PAPER_COLUMNS, simulate_paper_trades, to_paper_row
from osiris.evaluation.side_bias import replay_decisions
from osiris.llm.generate import Draft, draft_replies
from osiris.llm.models import AnyDrafter
from osiris.market.calendars import calendar_of, closes_between
from osiris.market.provider import BarProvider
from osiris.policy.contracts import Policy


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
    source: SnapshotSource, policy: Policy, window: Window, drafted_at: Sequence[datetime] | None = None
) -> list[Snapshot]:
    """Snapshots of every ticker at every session close of the window, or at those of `drafted_at` inside the window.

    A ticker without prices at a moment is left out with a warning.
    """
    settings = source.settings
    tickers = settings.advise.tickers
    calendars = sorted({calendar_of(ticker, settings.prices) for ticker in tickers})
    closes = {moment for name in calendars for moment in closes_between(name, window.first, window.as_of)}
    moments = [m for m in drafted_at if window.first <= m <= window.as_of] if drafted_at is not None else closes
    return take_snapshots(source, policy, tickers, sorted(moments)) if moments else []


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


def _habit_r(trades: pd.DataFrame, prices: BarProvider, settings: Settings, as_of: datetime) -> pd.Series:
    """For every trade, the mean R of the adapter's earlier decisions on its prompt; NaN without any."""
    if trades.empty:
        return pd.Series(dtype=float)
    moved = simulate_paper_trades(replay_decisions(trades), prices, settings, as_of)
    return trades["prompt"].map(moved[moved["filled"].astype(bool)].groupby("prompt")["r"].mean())
