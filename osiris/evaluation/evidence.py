"""What held-out days say of two adapters: the difference in R, what is left of it without habits, and how sure that is.

The number that decides is `skill`: each prompt's R less what the same adapter's earlier decisions would have made there
(`side_bias.py`), challenger minus champion. Its unit of chance is a block of days (`stats.py`).
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

_EPOCH, _ONE_DAY = pd.Timestamp("1970-01-01"), pd.Timedelta(days=1)


@dataclass(frozen=True)
class Evidence:
    """Challenger minus champion on the `prompts` that both traded, on `sessions` days that span `days`.

    `difference` is in R a prompt, `test` that of the skill; `days_needed` is how many held-out days a test takes.
    """

    difference: float
    test: BlockTest
    prompts: int
    sessions: int
    days: int
    days_needed: int


def compare_evaluations(challenger: "Evaluation", champion: "Evaluation", price_settings: PricesSettings) -> Evidence:
    """Weigh two evaluations on the same prompts; without a prompt that both traded nothing is tested."""
    shared = _shared_prompts(challenger, champion, price_settings)
    skilled = shared.dropna(subset="skill")
    sessions = skilled.groupby("day")
    days = np.array(sorted(sessions.groups), dtype=np.int64)
    if not len(days):
        difference = float(shared["difference"].mean()) if len(shared) else np.nan
        return Evidence(difference, block_test(np.zeros(0), days, 1.0), len(shared), 0, 0, 0)
    values = (sessions["skill"].sum() / (len(skilled) / len(days))).to_numpy(np.float64)
    lasts = np.concatenate([one.filled["days_held"].to_numpy(np.float64) for one in (challenger, champion)])
    length = DURATIONS_PER_BLOCK * max(
        overlap_days(lasts), persistence_days(sessions["longer"].mean().to_numpy(np.float64), days)
    )
    return Evidence(
        float(shared["difference"].mean()),
        block_test(values, days, max(length, 1.0)),
        len(shared),
        len(days),
        int(days[-1] - days[0]) + 1,
        int(np.ceil(MIN_BLOCKS * length)),
    )


def _shared_prompts(challenger: "Evaluation", champion: "Evaluation", price_settings: PricesSettings) -> pd.DataFrame:
    """A row a prompt that both traded: its `day`; `difference`, `skill` and `longer` (share of longs) of the two."""
    challenger_means, champion_means = (_by_prompt(one) for one in (challenger, champion))
    both = challenger_means.index.intersection(champion_means.index)
    challenger_means, champion_means = challenger_means.loc[both], champion_means.loc[both]
    found = pd.DataFrame(
        {
            "difference": challenger_means["r"] - champion_means["r"],
            "skill": (challenger_means["r"] - challenger_means["habit"])
            - (champion_means["r"] - champion_means["habit"]),
            "longer": challenger_means["long"] - champion_means["long"],
        }
    )
    return found.assign(day=(draft_dates(challenger_means, price_settings) - _EPOCH) // _ONE_DAY)


def _by_prompt(evaluation: "Evaluation") -> pd.DataFrame:
    trades = evaluation.filled
    trades = trades.assign(long=(trades["side"] == "long").astype(float))
    means = {name: (name, "mean") for name in ("r", "habit", "long")}
    return trades.groupby("prompt").agg(ticker=("ticker", "first"), as_of=("as_of", "first"), **means)
