"""What an adapter's habits alone would have earned: its earlier decisions on a ticker, applied to later prompts.

An adapter that goes long three times in four gains in a rising market without knowing anything. So each prompt's R is
compared with what the adapter's decisions of earlier sessions (side, target and stop in ATR) would have earned there.
The prices stay, the decisions move in time. A habit earns the same on both sides of this comparison and cancels out.

Only earlier decisions are moved to later prompts, because a later decision has seen the bars that decide the earlier
trade. With later decisions in the comparison, rules such as "against the last five days" were promoted in 8 to 20 % of
driftless markets at an alpha of 2.5 % (docs/log.md).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_EARLIER_SESSIONS = 24
"""Most earlier sessions whose decisions are applied to a prompt, spread evenly over all of them.

Without a limit the number of replayed trades would grow with the square of the sessions.
"""
PROMPT_COLUMNS = ["prompt", "ticker", "as_of", "since", "basis_at", "entry", "atr"]


def replay_decisions(ideas: pd.DataFrame) -> pd.DataFrame:
    """Each prompt of `ideas` with the decisions of earlier sessions on its ticker, one row per decision.

    `ideas` has one row per idea with `PROMPT_COLUMNS`, `side`, `target` and `stop`. The result has these columns too,
    with the levels of the moved decision around the prompt's own entry. A row whose target or stop is not above zero is
    left out. A ticker's first session has no earlier decision, and so no row.
    """
    sign = np.where(ideas["side"] == "long", 1.0, -1.0)
    decided = ideas[["ticker", "as_of", "side"]].assign(
        sign=sign,
        ahead=(ideas["target"] - ideas["entry"]) * sign / ideas["atr"],
        behind=(ideas["entry"] - ideas["stop"]) * sign / ideas["atr"],
    )
    prompts = ideas[PROMPT_COLUMNS].drop_duplicates("prompt")
    pairs = pd.concat(
        [
            _earlier_moments(group["as_of"]).assign(ticker=ticker)
            for ticker, group in prompts.groupby("ticker", sort=True)
        ]
        or [_earlier_moments(prompts["as_of"]).assign(ticker="")]
    )
    moved = prompts.merge(pairs, on=["ticker", "as_of"]).merge(
        decided.rename(columns={"as_of": "from"}), on=["ticker", "from"]
    )
    levels = {
        "target": moved["entry"] + moved["sign"] * moved["ahead"] * moved["atr"],
        "stop": moved["entry"] - moved["sign"] * moved["behind"] * moved["atr"],
    }
    moved = moved.assign(**levels)
    return moved[(moved["target"] > 0) & (moved["stop"] > 0)].reset_index(drop=True)


def earlier_indices(index: int) -> NDArray[np.int64]:
    """Earlier sessions to apply to the one at `index` (from 0): at most `MAX_EARLIER_SESSIONS`, evenly spread."""
    return np.unique(np.linspace(0, index - 1, min(index, MAX_EARLIER_SESSIONS)).round().astype(np.int64))


def _earlier_moments(moments: pd.Series) -> pd.DataFrame:
    """For every moment but the first: `as_of`, and in `from` each earlier moment whose decisions are applied to it."""
    known = pd.DatetimeIndex(moments.unique()).sort_values()
    chosen = [earlier_indices(index) for index in range(1, len(known))]
    later = np.repeat(np.arange(1, len(known)), [len(one) for one in chosen])
    earlier = np.concatenate([*chosen, np.zeros(0, np.int64)])
    return pd.DataFrame({"as_of": known[later], "from": known[earlier]})
