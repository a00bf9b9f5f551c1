"""What held-out days show about two adapters: the difference in R, the part that is skill, and how certain that is.

The number that decides is `skill`: each prompt's R, less what the same adapter's earlier decisions would have earned
there (`side_bias.py`), challenger minus champion. Its unit of chance is a block of days (`stats.py`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from osiris.config.settings import PricesSettings
from osiris.evaluation.review_value import draft_dates
from osiris.evaluation.stats import (
    DURATIONS_PER_BLOCK,
    MIN_BLOCKS,
    BlockTest,
    block_test,
    overlap_days,
    persistence_days,
)

if TYPE_CHECKING:
    from osiris.evaluation.heldout import Evaluation

_EPOCH = pd.Timestamp("1970-01-01")
_ONE_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Evidence:
    """Challenger minus champion on the `prompts` that both traded, on `sessions` days that span `days`.

    `difference` is in R a prompt, `test` is that of the skill. `days_needed` is how many held-out days a test takes.
    """

    difference: float
    test: BlockTest
    prompts: int
    sessions: int
    days: int
    days_needed: int


def compare_evaluations(challenger: "Evaluation", champion: "Evaluation", price_settings: PricesSettings) -> Evidence:
    """Compare two evaluations on the prompts that both traded; without any such prompt nothing is tested."""
    shared = _shared_prompts(challenger, champion, price_settings)
    # The first session of a ticker has no earlier decision to compare with, and so no skill.
    skilled = shared.dropna(subset="skill")
    sessions = skilled.groupby("day")
    days = np.unique(skilled["day"].to_numpy(np.int64))  # ascending, as groupby sorts the sessions below
    if not len(days):
        difference = float(shared["difference"].mean()) if len(shared) else np.nan
        return Evidence(difference, block_test(np.zeros(0), days, 1.0), len(shared), 0, 0, 0)
    # Divided by the mean number of prompts a session, so that every prompt counts alike in the mean over sessions.
    values = (sessions["skill"].sum() / (len(skilled) / len(days))).to_numpy(np.float64)
    lasts = np.concatenate([one.filled["days_held"].to_numpy(np.float64) for one in (challenger, champion)])
    length = DURATIONS_PER_BLOCK * max(
        overlap_days(lasts), persistence_days(sessions["longer"].mean().to_numpy(np.float64), days)
    )
    return Evidence(
        difference=float(shared["difference"].mean()),
        test=block_test(values, days, max(length, 1.0)),
        prompts=len(shared),
        sessions=len(days),
        days=int(days[-1] - days[0]) + 1,
        days_needed=int(np.ceil(MIN_BLOCKS * length)),
    )


def _shared_prompts(challenger: "Evaluation", champion: "Evaluation", price_settings: PricesSettings) -> pd.DataFrame:
    """One row per prompt that both traded: its `day`, and `difference`, `skill` and `longer`.

    The last three are challenger minus champion; `longer` is of the share of longs.
    """
    challenger_means, champion_means = (_by_prompt(one) for one in (challenger, champion))
    both = challenger_means.index.intersection(champion_means.index)
    challenger_means, champion_means = challenger_means.loc[both], champion_means.loc[both]
    shared = pd.DataFrame(
        {
            "difference": challenger_means["r"] - champion_means["r"],
            "skill": (challenger_means["r"] - challenger_means["habit"])
            - (champion_means["r"] - champion_means["habit"]),
            "longer": challenger_means["long"] - champion_means["long"],
        }
    )
    return shared.assign(day=(draft_dates(challenger_means, price_settings) - _EPOCH) // _ONE_DAY)


def _by_prompt(evaluation: "Evaluation") -> pd.DataFrame:
    """One row per prompt with a filled trade: `ticker`, `as_of`, and the means of `r`, `habit` and `long`."""
    trades = evaluation.filled
    trades = trades.assign(long=(trades["side"] == "long").astype(float))
    means = {name: (name, "mean") for name in ("r", "habit", "long")}
    return trades.groupby("prompt").agg(ticker=("ticker", "first"), as_of=("as_of", "first"), **means)
