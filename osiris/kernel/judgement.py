"""Is one policy better than another on the ideas that both were offered? Money a week at equal risk, beyond chance.

The difference of their weeks, at each of `loop.rewards.scales`, is summed to blocks as long as trades are open and
tested by `loop.block_stats`; the largest p-value counts, since each comparison has to hold. The reward, with its other
components, has to be better by `kernel.min_gain` too: what makes no more money is never better.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from osiris.config.settings import Settings
from osiris.core.errors import TooLittleData
from osiris.evaluation.block_stats import block_length, block_sums, least_blocks, p_words, sign_flip
from osiris.evaluation.rewards import UNIT_RISK, WHOLE, Reward, by_week, reward_of, scales, week_of
from osiris.sandbox.session import CandidateFailed

if TYPE_CHECKING:
    from osiris.kernel.measure import Look

ROUNDING = 1e-12
"""Of equity in a week: less is no difference, but what scaling leaves."""
NOTHING = Reward(0.0, 0.0, 0.0, 0.0, 0.0, 0)
"""What lets nothing through makes nothing."""


@dataclass(frozen=True)
class Measurement:
    """The rewards of both at equal risk, their difference, and whether it is better beyond chance.

    `gain` is the difference of their profits in R a week at 1 % risk, with a 95 % interval; `level` is that of this
    look, `least` the gain in reward that is worth a patch; the `weeks` made `blocks` of `block_weeks` each.
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
    def better(self) -> bool:
        """Whether the patch may be applied."""
        return self.difference >= self.least and self.p_value < self.level

    @property
    def words(self) -> str:
        """The measurement in a line."""
        return (
            f"reward {self.difference:+.4f}, {self.gain:+.4f} [{self.low:+.4f}, {self.high:+.4f}] R a week, "
            f"{p_words(self.p_value)}, level {self.level:.4g} (look {self.look}, {self.blocks} blocks of weeks)"
        )

    def as_dict(self) -> dict[str, Any]:
        """The measurement as JSON takes it."""
        moments = {"first": self.first.isoformat(), "last": self.last.isoformat()}
        return asdict(self) | moments | {"better": self.better}


class Offered(NamedTuple):
    """What both policies were offered: the Mondays of its weeks, and how many ideas."""

    weeks: pd.DatetimeIndex
    ideas: int


class Tested(NamedTuple):
    """The test of one comparison: p-value, and the mean of the weeks' differences with its 95 % interval."""

    p_value: float
    mean: float
    low: float
    high: float


def weeks_of(moments: Sequence[datetime]) -> pd.DatetimeIndex:
    """The Mondays from the first to the last week of `moments`."""
    monday = week_of(pd.Series(pd.to_datetime(list(moments), utc=True)))
    return pd.date_range(monday.min(), monday.max(), freq="7D")


def no_trades() -> pd.DataFrame:
    """Trades as `compared` takes them, none."""
    numbers = dict.fromkeys([*WHOLE, "days_open"], np.empty(0))
    return pd.DataFrame({"at": pd.Series(dtype="datetime64[us, UTC]"), **numbers})


def compared(
    candidate: pd.DataFrame, incumbent: pd.DataFrame, offered: Offered, settings: Settings, look: "Look"
) -> Measurement:
    """Compare the trades that two policies let through: columns as `reward_of` takes them, and `days_open`.

    Raises `TooLittleData` when the ideas or the weeks are too few for any verdict, `CandidateFailed` when the candidate
    lets too few of them through.
    """
    rules = settings.rewards
    if len(candidate) < rules.min_trades:
        if offered.ideas < rules.min_trades:
            raise TooLittleData(f"{rules.min_trades} ideas", str(offered.ideas), "draft on more days or tickers")
        raise CandidateFailed(f"{rules.min_trades} trades that it lets through", str(len(candidate)), "loosen it")
    length = block_length(pd.concat([candidate["days_open"], incumbent["days_open"]]).to_numpy(np.float64))
    blocks, needed = len(offered.weeks) // length, least_blocks(look.level)
    if blocks < needed:
        raise TooLittleData(
            f"{needed * length} weeks, {needed} blocks as long as its trades are open, to show anything at level "
            f"{look.level:.4g}", f"{len(offered.weeks)} weeks", "measure on more days"
        )  # fmt: skip
    mine, theirs = (by_week(one, week_of(one["at"]), offered.weeks).pnl for one in (candidate, incumbent))
    factors = scales(candidate, incumbent, rules)
    tested = max(differs(k * mine - theirs, length, settings.model.seed) for k in factors)
    rewards = [reward_of(candidate, rules, offered.weeks, k).total for k in factors]
    before = reward_of(incumbent, rules, offered.weeks) if len(incumbent) >= rules.min_trades else NOTHING
    monday = [week.tz_localize("UTC").to_pydatetime() for week in (offered.weeks[0], offered.weeks[-1])]
    return Measurement(
        reward_of(candidate, rules, offered.weeks, factors[0]), before, difference=min(rewards) - before.total,
        gain=tested.mean / UNIT_RISK, low=tested.low / UNIT_RISK, high=tested.high / UNIT_RISK, p_value=tested.p_value,
        level=look.level, least=settings.kernel.min_gain, look=look.number, weeks=len(offered.weeks), blocks=blocks,
        block_weeks=length, first=monday[0], last=monday[1],
    )  # fmt: skip


def differs(weekly: "np.ndarray", length: int, seed: int) -> Tested:
    """The test of weeks' differences, shape (weeks,), summed to blocks of `length` weeks."""
    sums = block_sums(np.where(np.abs(weekly) < ROUNDING, 0.0, weekly), length)
    mean = float(weekly.mean())
    half = float(student.ppf(0.975, len(sums) - 1) * np.std(sums, ddof=1) / np.sqrt(len(sums))) / length
    return Tested(sign_flip(sums, seed), mean, mean - half, mean + half)
