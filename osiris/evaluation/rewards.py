"""The reward of trades: one number from profit, risk, novelty and latency, for a policy and for a patch of it.

`reward = w_profit * profit + w_risk * risk_adjusted + w_novelty * novelty - w_latency * latency` (table `[rewards]`).

| component | for trades with size s (fraction of equity) and outcome r (in R) | scale | more is |
| --- | --- | --- | --- |
| profit | sum of s * r over the weeks, divided by their number and by `UNIT_RISK` | R a week at 1 % risk | better |
| risk_adjusted | q / (1 + abs(q)), q = return of the weeks / their drawdown (`UNIT_RISK` at least) | -1 to 1 | better |
| novelty | d / (1 + d), d = mean distance to the nearest other known idea (LanceDB) | 0 to 1 | better |
| latency | t / (t + `latency_scale_seconds`), t = mean time from snapshot to scored idea | 0 to 1 | worse |

Profit is money a week over all weeks in which ideas were offered. A refused idea earns nothing. So a policy does not
look better because it takes a few good trades and refuses the rest. Two policies are compared at equal risk, see
`risk_scales`.

A trade belongs to the ISO week of its date. Return and drawdown are empyrical's `cum_returns_final` and `max_drawdown`.
A window of fewer than `min_trades` trades has no reward yet, and a trade that lacks one of its numbers is an error.
Neither is ever taken as zero. A trade of size 0 risks nothing and is not a trade.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from osiris.config.sections import RewardsSettings
from osiris.core.arrays import FloatArray
from osiris.core.errors import BadInput, TooLittleData
from osiris.core.ideas import FINAL_OUTCOMES
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import ACCEPTED_SQL, escape_sql, sql_in

UNIT_RISK = 0.01
"""Fraction of equity that profit is measured in, and the least drawdown that a return is divided by."""
MAX_WEEKLY_LOSS = 0.99
"""Fraction of equity: a week never counts as a larger loss, because equity below zero has no return."""
SUMMED_COLUMNS = ["pnl", "novelty", "latency_ms"]
TRADE_COLUMNS = ["size", *SUMMED_COLUMNS]


@dataclass(frozen=True)
class Reward:
    """The components, each on the scale of the table above, their weighted sum, and the number of trades."""

    profit: float
    risk_adjusted: float
    novelty: float
    latency: float
    total: float
    trades: int

    def as_dict(self) -> dict[str, float]:
        """The reward as JSON takes it."""
        return asdict(self)


@dataclass(frozen=True)
class WeeklySums:
    """Sums over the trades of each week, every array of shape (weeks,); `pnl` in fractions of equity."""

    count: FloatArray
    pnl: FloatArray
    novelty: FloatArray
    latency_ms: FloatArray


def compute_reward(
    trades: pd.DataFrame, reward_settings: RewardsSettings, weeks: pd.DatetimeIndex | None = None, scale: float = 1
) -> Reward:
    """The reward of `trades`: columns `at` (aware), `size`, `pnl` (size * R), `novelty`, `latency_ms`.

    Sizes are fractions of equity. `weeks` are those in which ideas were offered (default: from the first to the last
    week that has a trade). Every size, and so every `pnl`, is multiplied by `scale`. Raises `TooLittleData` for fewer
    than `reward_settings.min_trades` trades, `BadInput` for a number that is missing or not finite.
    """
    if len(trades) < reward_settings.min_trades:
        raise TooLittleData(f"{reward_settings.min_trades} settled trades", str(len(trades)), "wait for more outcomes")
    sums = sum_by_week(trades, week_start(trades["at"]), weeks)
    parts = reward_components(replace(sums, pnl=scale * sums.pnl), reward_settings)
    return Reward(**parts, total=weighted_total(parts, reward_settings), trades=len(trades))


def risk_scales(candidate: pd.DataFrame, incumbent: pd.DataFrame, reward_settings: RewardsSettings) -> list[float]:
    """What to multiply the candidate's sizes by, so that it is compared at equal risk: one or two numbers.

    Risk is the sum of sizes over the ideas that both were offered. There are three cases:

    - A candidate that risks more is scaled down to the incumbent's risk, because leverage is no gain.
    - A candidate that risks less has to be better twice: as it is, and scaled up to the incumbent's risk. As it is,
      because a few good trades are not worth more than many. Scaled up, because otherwise doing less would be a gain
      wherever the incumbent loses.
    - If the incumbent lets fewer than `min_trades` through, there is no risk to be equal to. The candidate's mean size
      is then brought down to `UNIT_RISK`.
    """
    candidate_risk = float(candidate["size"].sum())
    if len(incumbent) < reward_settings.min_trades:
        return [min(1.0, UNIT_RISK * len(candidate) / candidate_risk)]
    equal = float(incumbent["size"].sum()) / candidate_risk
    return [equal] if equal <= 1 else [1.0, equal]


def week_start(at: pd.Series) -> pd.Series:
    """The Monday of each moment's week, UTC."""
    return at.dt.tz_convert("UTC").dt.tz_localize(None).dt.to_period("W").dt.start_time


def sum_by_week(trades: pd.DataFrame, weeks: pd.Series, all_weeks: "pd.Index | None" = None) -> WeeklySums:
    """Sum trades by week, in the order of `all_weeks` (default: from the first to the last week that has any).

    Raises `BadInput` for a number that is missing or not finite.
    """
    for name in TRADE_COLUMNS:
        lacking = int((~np.isfinite(trades[name].to_numpy(np.float64))).sum())
        if lacking:
            raise BadInput(
                f"{name} of every trade", f"{lacking} trades without", "leave out what has none, or record it"
            )
    if all_weeks is None:
        all_weeks = pd.date_range(weeks.min(), weeks.max(), freq="7D")
    sums = trades[SUMMED_COLUMNS].groupby(weeks).sum().reindex(all_weeks, fill_value=0.0)
    count = weeks.value_counts().reindex(all_weeks, fill_value=0)
    return WeeklySums(np.asarray(count, np.float64), *(sums[name].to_numpy(np.float64) for name in SUMMED_COLUMNS))


def reward_components(sums: WeeklySums, reward_settings: RewardsSettings) -> dict[str, float]:
    """The four components; without any trade, novelty and latency are 0."""
    from empyrical import cum_returns_final, max_drawdown

    count = max(1.0, float(sums.count.sum()))
    returns = np.maximum(sums.pnl, -MAX_WEEKLY_LOSS)
    ratio = float(cum_returns_final(returns)) / max(-float(max_drawdown(returns)), UNIT_RISK)
    distance = float(sums.novelty.sum()) / count
    seconds = float(sums.latency_ms.sum()) / count / 1000
    return {
        "profit": float(sums.pnl.mean()) / UNIT_RISK,
        "risk_adjusted": ratio / (1 + abs(ratio)),
        "novelty": distance / (1 + distance),
        "latency": seconds / (seconds + reward_settings.latency_scale_seconds),
    }


def weighted_total(parts: dict[str, float], reward_settings: RewardsSettings) -> float:
    """The reward from its components."""
    gain = (
        reward_settings.w_profit * parts["profit"]
        + reward_settings.w_risk * parts["risk_adjusted"]
        + reward_settings.w_novelty * parts["novelty"]
    )
    return gain - reward_settings.w_latency * parts["latency"]


def read_live_trades(advice: AdviceStore, patch_id: str) -> pd.DataFrame:
    """The accepted and settled trades of a patch as `compute_reward` takes them, by `at`; with `id` and `ticker`."""
    columns = ["id", "ticker", "at", *TRADE_COLUMNS]
    trades = pd.DataFrame(read_settled_trades(advice, patch_id)).rename(
        columns={"closed_at": "at", "decision_latency_ms": "latency_ms"}
    )
    if trades.empty:
        return pd.DataFrame(columns=columns).astype(
            {"at": "datetime64[us, UTC]", **dict.fromkeys(TRADE_COLUMNS, float)}
        )
    numbers = trades[["size", "r_multiple", "novelty", "latency_ms"]].astype(float)
    trades = trades.assign(**numbers, pnl=numbers["size"] * numbers["r_multiple"])
    trades = trades.assign(at=pd.to_datetime(trades["at"], utc=True))
    return trades.sort_values(["at", "id"], ignore_index=True)[columns]


def read_settled_trades(advice: AdviceStore, patch_id: str) -> list[dict[str, Any]]:
    """The accepted ideas of a patch that have a final outcome."""
    where = f"{ACCEPTED_SQL} AND {sql_in('outcome', FINAL_OUTCOMES)} AND patch_id = '{escape_sql(patch_id)}'"
    names = ["id", "ticker", "patch_id", "closed_at", "size", "r_multiple", "novelty", "decision_latency_ms"]
    return advice.rows(where, names)
