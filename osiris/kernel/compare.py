"""Is one policy better than another on the ideas that both were offered? Compares weekly profit at equal risk.

The weekly differences of profit are summed to blocks as long as trades stay open, since the profits of open trades
depend on each other. A sign-flip test gives a p-value. This is done at each of `rewards.risk_scales`, and the largest
p-value counts, because each comparison has to hold.

The reward, which has other components too, must also be better by `kernel.min_gain`. Both conditions are necessary: a
patch that earns no more money is never better.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy

from osiris.config.settings import Settings
from osiris.core.errors import TooLittleData
from osiris.evaluation.rewards import (
    TRADE_COLUMNS,
    UNIT_RISK,
    Reward,
    compute_reward,
    risk_scales,
    sum_by_week,
    week_start,
)
from osiris.evaluation.stats import block_length, block_sums, format_p_value, min_blocks, sign_flip_test
from osiris.sandbox.session import CandidateFailed

if TYPE_CHECKING:
    from osiris.kernel.measure import Look

MIN_WEEKLY_DIFFERENCE = 1e-12
"""Fraction of equity: a smaller weekly difference is a rounding error of the scaling, and counts as zero."""
ZERO_REWARD = Reward(0.0, 0.0, 0.0, 0.0, 0.0, 0)
"""The reward of a policy that passes too few ideas to have one."""


@dataclass(frozen=True)
class Measurement:
    """The rewards of both policies at equal risk, their difference, and whether it is better beyond chance.

    `gain` is the difference of their profits in R a week at 1 % risk, with a 95 % interval from `low` to `high`.
    `level` is the significance level of this look, and `least` the smallest difference in reward that justifies a
    patch. The `weeks` form `blocks` of `block_weeks` each.
    """

    candidate: Reward
    incumbent: Reward
    difference: float
    gain: float
    low: float
    high: float
    p_value: float
    level: float
    least: float
    look: int
    weeks: int
    blocks: int
    block_weeks: int
    first: datetime
    last: datetime

    @property
    def is_better(self) -> bool:
        """Whether the patch may be applied."""
        return self.difference >= self.least and self.p_value < self.level

    @property
    def summary(self) -> str:
        """The measurement in one line."""
        return (
            f"reward {self.difference:+.4f}, {self.gain:+.4f} [{self.low:+.4f}, {self.high:+.4f}] R a week, "
            f"{format_p_value(self.p_value)}, level {self.level:.4g} (look {self.look}, {self.blocks} blocks of weeks)"
        )

    def as_dict(self) -> dict[str, Any]:
        """The measurement with values that JSON can hold."""
        moments = {"first": self.first.isoformat(), "last": self.last.isoformat()}
        return asdict(self) | moments | {"better": self.is_better}


class OfferedIdeas(NamedTuple):
    """What both policies were offered: the Mondays of the weeks, and the number of ideas."""

    weeks: pd.DatetimeIndex
    idea_count: int


class DifferenceTest(NamedTuple):
    """The test of one comparison: p-value, and the mean weekly difference with its 95 % interval."""

    p_value: float
    mean: float
    low: float
    high: float


def week_starts(moments: Sequence[datetime]) -> pd.DatetimeIndex:
    """The Mondays from the first to the last week of `moments`."""
    first_last = week_start(pd.Series(pd.to_datetime(list(moments), utc=True)))
    return pd.date_range(first_last.min(), first_last.max(), freq="7D")


def empty_trades() -> pd.DataFrame:
    """No trades, with the columns that `compare_policies` reads."""
    numbers = dict.fromkeys([*TRADE_COLUMNS, "days_open"], np.empty(0))
    return pd.DataFrame({"at": pd.Series(dtype="datetime64[us, UTC]"), **numbers})


def compare_policies(
    candidate: pd.DataFrame, incumbent: pd.DataFrame, offered: OfferedIdeas, settings: Settings, look: "Look"
) -> Measurement:
    """Compare the trades that two policies passed: the columns of `compute_reward`, and `days_open`.

    Raises `TooLittleData` when there are too few ideas or weeks for any verdict, and `CandidateFailed` when the
    candidate passes too few ideas.
    """
    reward_settings = settings.rewards
    if len(candidate) < reward_settings.min_trades:
        if offered.idea_count < reward_settings.min_trades:
            raise TooLittleData(
                f"{reward_settings.min_trades} ideas", str(offered.idea_count), "draft on more days or tickers"
            )
        raise CandidateFailed(
            f"{reward_settings.min_trades} trades that it lets through", str(len(candidate)), "loosen it"
        )
    block_weeks = block_length(pd.concat([candidate["days_open"], incumbent["days_open"]]).to_numpy(np.float64))
    blocks, needed = len(offered.weeks) // block_weeks, min_blocks(look.alpha)
    if blocks < needed:
        raise TooLittleData(
            f"{needed * block_weeks} weeks, {needed} blocks as long as its trades are open, to show anything at level "
            f"{look.alpha:.4g}", f"{len(offered.weeks)} weeks", "measure on more days"
        )  # fmt: skip
    candidate_weeks, incumbent_weeks = (
        sum_by_week(one, week_start(one["at"]), offered.weeks).pnl for one in (candidate, incumbent)
    )
    scale_factors = risk_scales(candidate, incumbent, reward_settings)
    # The largest p-value: `DifferenceTest` compares by its first field.
    worst = max(
        compare_weeks(k * candidate_weeks - incumbent_weeks, block_weeks, settings.model.seed) for k in scale_factors
    )
    rewards = [compute_reward(candidate, reward_settings, offered.weeks, k).total for k in scale_factors]
    incumbent_reward = (
        compute_reward(incumbent, reward_settings, offered.weeks)
        if len(incumbent) >= reward_settings.min_trades
        else ZERO_REWARD
    )
    first_last = [week.tz_localize("UTC").to_pydatetime() for week in (offered.weeks[0], offered.weeks[-1])]
    return Measurement(
        compute_reward(candidate, reward_settings, offered.weeks, scale_factors[0]), incumbent_reward,
        difference=min(rewards) - incumbent_reward.total,
        gain=worst.mean / UNIT_RISK, low=worst.low / UNIT_RISK, high=worst.high / UNIT_RISK, p_value=worst.p_value,
        level=look.alpha, least=settings.kernel.min_gain, look=look.number, weeks=len(offered.weeks), blocks=blocks,
        block_weeks=block_weeks, first=first_last[0], last=first_last[1],
    )  # fmt: skip


def compare_weeks(weekly: "np.ndarray", block_weeks: int, seed: int) -> DifferenceTest:
    """Test weekly differences, of shape (weeks,), after summing them to blocks of `block_weeks`."""
    sums = block_sums(np.where(np.abs(weekly) < MIN_WEEKLY_DIFFERENCE, 0.0, weekly), block_weeks)
    mean = float(weekly.mean())
    # The interval of the mean block by Student's t, per week: blocks are taken as independent, weeks are not.
    half = float(scipy.stats.t.ppf(0.975, len(sums) - 1) * np.std(sums, ddof=1) / np.sqrt(len(sums))) / block_weeks
    return DifferenceTest(sign_flip_test(sums, seed), mean, mean - half, mean + half)
