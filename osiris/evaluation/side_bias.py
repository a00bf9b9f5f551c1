"""What an adapter's habits alone would have made: its earlier decisions on a ticker, tried on the later prompts of it.

An adapter that goes long three times in four gains in a rising market without knowing anything. So each prompt's R is
held against what the adapter's decisions of earlier sessions (side, target and stop in ATR) would have made there: the
outcomes stay, the decisions move in time. A habit is worth the same on both sides, and nothing is left of it.

Only earlier decisions are moved to later prompts. A decision of a later session has seen the very bars that decide the
earlier trade: with those in the comparison, rules such as "against the last five days" were promoted in 8 to 20 % of
driftless markets at a level of 2.5 % (docs/log.md).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_EARLIER_SESSIONS = 24
"""Earlier sessions whose decisions are tried on a prompt, at most; spread evenly over all of them."""
PROMPT_COLUMNS = ["prompt", "ticker", "as_of", "since", "basis_at", "entry", "atr"]


def replay_decisions(ideas: pd.DataFrame) -> pd.DataFrame:
    """Each prompt of `ideas` with the decisions of earlier sessions on its ticker, a row a decision.

    `ideas` has a row an idea with `PROMPT`, `side`, `target` and `stop`; so has the result, with the levels of the
    moved decision round the prompt's own entry. Levels that are not above zero are left out. A ticker's first session
    has no earlier decision, and so no row.
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
    """Which earlier sessions are tried on that at `place` (from 0): evenly spread, `EARLIER` at most."""
    return np.unique(np.linspace(0, index - 1, min(index, MAX_EARLIER_SESSIONS)).round().astype(np.int64))


def _earlier_moments(moments: pd.Series) -> pd.DataFrame:
    """For every moment but the first: `as_of`, and as `from` the earlier ones that are tried on it."""
    known = pd.DatetimeIndex(moments.unique()).sort_values()
    chosen = [earlier_indices(place) for place in range(1, len(known))]
    later = np.repeat(np.arange(1, len(known)), [len(one) for one in chosen])
    earlier = np.concatenate([*chosen, np.zeros(0, np.int64)])
    return pd.DataFrame({"as_of": known[later], "from": known[earlier]})
