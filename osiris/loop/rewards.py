"""What trades were worth: one number from profit, risk, novelty and latency, for a policy and for a patch of it.

`reward = w_profit * profit + w_risk * risk_adjusted + w_novelty * novelty - w_latency * latency` (table `[rewards]`).

| component | of trades with size s (fraction of equity) and outcome r (in R) | scale | more is |
| --- | --- | --- | --- |
| profit | mean of s * r, divided by `UNIT_RISK` | R at 1 % risk | better |
| risk_adjusted | q / (1 + abs(q)), q = return of the weeks / their drawdown (`UNIT_RISK` at least) | -1 to 1 | better |
| novelty | d / (1 + d), d = mean distance to the nearest other known idea (LanceDB) | 0 to 1 | better |
| latency | t / (t + `latency_scale_seconds`), t = mean time from snapshot to scored idea | 0 to 1 | worse |

Trades belong to the ISO week in which they are dated. Return and drawdown are empyrical's `cum_returns_final` and
`max_drawdown`. A window of fewer than `min_trades` trades has no reward yet, and a trade that lacks one of its numbers
is an error: neither is ever taken as zero.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.errors import BadInput, TooLittleData
from osiris.records import FINAL
from osiris.sections import Rewards
from osiris.store.advice import AdviceStore
from osiris.store.tables import ACCEPTED_SQL, one_of, quoted

UNIT_RISK = 0.01
"""Fraction of equity that profit is measured in, and the least drawdown that a return is held against."""
MOST_LOST = 0.99
"""Of equity in one week: more is not lost, and a negative equity has no return."""
COLUMNS = ["pnl", "novelty", "latency_ms"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reward:
    """The components, each on the scale of the table above, their weighted sum, and of how many trades."""

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
class Weeks:
    """Sums over the trades of each week, every array of shape (weeks,); `pnl` in fractions of equity."""

    count: Array
    pnl: Array
    novelty: Array
    latency_ms: Array


def reward_of(trades: pd.DataFrame, rules: Rewards) -> Reward:
    """The reward of `trades`: columns `at` (aware), `pnl` (size * R, fraction of equity), `novelty`, `latency_ms`.

    Raises `TooLittleData` for fewer than `rules.min_trades`, `BadInput` for a number that is missing or not finite.
    """
    if len(trades) < rules.min_trades:
        raise TooLittleData(f"{rules.min_trades} settled trades", str(len(trades)), "wait for more outcomes")
    weeks = by_week(trades, week_of(trades["at"]))
    parts = components(weeks, np.arange(len(weeks.count))[:, None], rules)
    numbers = {name: float(value[0]) for name, value in parts.items()}
    return Reward(**numbers, total=float(weighted(parts, rules)[0]), trades=len(trades))


def week_of(at: pd.Series) -> pd.Series:
    """The Monday of each moment's week, UTC."""
    return at.dt.tz_convert("UTC").dt.tz_localize(None).dt.to_period("W").dt.start_time


def by_week(trades: pd.DataFrame, weeks: pd.Series, all_weeks: "pd.Index | None" = None) -> Weeks:
    """Sum trades by week, in the order of `all_weeks` (default: from the first to the last week that has any).

    Raises `BadInput` for a number that is missing or not finite.
    """
    for name in COLUMNS:
        lacking = int((~np.isfinite(trades[name].to_numpy(np.float64))).sum())
        if lacking:
            raise BadInput(
                f"{name} of every trade", f"{lacking} trades without", "leave out what has none, or record it"
            )
    if all_weeks is None:
        all_weeks = pd.date_range(weeks.min(), weeks.max(), freq="7D")
    sums = trades[COLUMNS].groupby(weeks).sum().reindex(all_weeks, fill_value=0.0)
    count = weeks.value_counts().reindex(all_weeks, fill_value=0)
    return Weeks(count.to_numpy(np.float64), *(sums[name].to_numpy(np.float64) for name in COLUMNS))


def components(weeks: Weeks, drawn: NDArray[np.int64], rules: Rewards) -> dict[str, Array]:
    """The four components of samples of weeks: `drawn` has places in `weeks`, shape (weeks, samples).

    Each is of shape (samples,), NaN where a sample has no trade.
    """
    from empyrical import cum_returns_final, max_drawdown

    count = weeks.count[drawn].sum(0)
    count = np.where(count > 0, count, np.nan)
    returns = np.maximum(weeks.pnl[drawn], -MOST_LOST)
    drawdown = np.maximum(-max_drawdown(returns), UNIT_RISK)
    ratio = cum_returns_final(returns) / drawdown
    distance = weeks.novelty[drawn].sum(0) / count
    seconds = weeks.latency_ms[drawn].sum(0) / count / 1000
    return {
        "profit": weeks.pnl[drawn].sum(0) / count / UNIT_RISK,
        "risk_adjusted": np.where(np.isnan(count), np.nan, ratio / (1 + np.abs(ratio))),
        "novelty": distance / (1 + distance),
        "latency": seconds / (seconds + rules.latency_scale_seconds),
    }


def weighted(parts: dict[str, Array], rules: Rewards) -> Array:
    """The reward from its components."""
    gain = rules.w_profit * parts["profit"] + rules.w_risk * parts["risk_adjusted"] + rules.w_novelty * parts["novelty"]
    return gain - rules.w_latency * parts["latency"]


def live_trades(advice: AdviceStore, patch_id: str) -> pd.DataFrame:
    """The trades of a patch, accepted and settled, as `reward_of` takes them, by `at`; with `id` and `ticker`."""
    columns = ["id", "ticker", "at", *COLUMNS]
    found = pd.DataFrame(settled_trades(advice, patch_id)).rename(
        columns={"closed_at": "at", "decision_latency_ms": "latency_ms"}
    )
    if found.empty:
        return pd.DataFrame(columns=columns).astype({"at": "datetime64[us, UTC]", **dict.fromkeys(COLUMNS, float)})
    numbers = found[["size", "r_multiple", "novelty", "latency_ms"]].astype(float)
    found = found.assign(**numbers, pnl=numbers["size"] * numbers["r_multiple"])
    return found.assign(at=pd.to_datetime(found["at"], utc=True)).sort_values(["at", "id"], ignore_index=True)[columns]


def settled_trades(advice: AdviceStore, patch_id: str) -> list[dict[str, Any]]:
    """The accepted ideas of a patch that have their outcome."""
    where = f"{ACCEPTED_SQL} AND {one_of('outcome', FINAL)} AND patch_id = '{quoted(patch_id)}'"
    names = ["id", "ticker", "patch_id", "closed_at", "size", "r_multiple", "novelty", "decision_latency_ms"]
    return advice.rows(where, names)
