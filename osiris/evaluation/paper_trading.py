"""Paper trades: ideas that nobody was offered, settled by the triple-barrier rules on bars up to a moment.

A trade that is still open then is closed at the last close. The promotion gate and the kernel compare by such trades.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.config.settings import Settings
from osiris.core.ideas import Reply, levels_from_reply
from osiris.drafting.snapshot import Snapshot
from osiris.drafting.snapshots import HISTORY_DAYS
from osiris.labeling.arrays import DAY_NS, to_arrays, to_barrier_ideas
from osiris.labeling.triple_barrier import Touches, find_first_touches
from osiris.market.provider import BarProvider

PAPER_COLUMNS = [
    "prompt", "ticker", "as_of", "since", "basis_at", "side", "confidence", "entry", "target", "stop", "reward_to_risk",
    "atr",
]  # fmt: skip


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
