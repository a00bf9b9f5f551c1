"""The results of a learning check: rises over the base with intervals, and a check of each against its limit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy

from osiris.core.arrays import FloatArray
from osiris.evaluation.heldout import Evaluation
from osiris.market.synthetic import Edge

INTERVAL_COVERAGE = 0.95
MIN_MEAN_R_RISE = 0.15
"""By how much an edge must raise the mean R, as the mean over the seeds."""
MIN_SEED_R_RISE = 0.05
"""By how much an edge must raise the mean R of each seed."""
MIN_WIN_RATE_RISE = 0.08
"""By how much an edge must raise the win rate, as the mean over the seeds."""
MAX_RATIO_CHANGE = 0.05
"""By what share the reward-to-risk ratio may change: a model must not win more often by nearer targets."""
MIN_VALID_REPLY_SHARE = 0.98
"""The share of valid replies that each seed must keep."""
MAX_PROMOTED_SHARE = 0.05
"""How often the gate may promote a model over itself."""
FIRST_LOOK_ALPHA = 0.025
"""The probability of error that a first look may have, at the default `gate.alpha`."""


def rise_over_base(base: Evaluation, adapter: Evaluation) -> dict[str, float]:
    """The rises of `adapter` over `base` on the same prompts; `r_low` and `r_high` come from the prompts' differences.

    An adapter without a trade, which lost the form of replies, has only its share of valid replies.
    """
    before, after = base.metrics(), adapter.metrics()
    if not after["trades"]:
        return {"valid_share": after["valid_share"]}
    low, high = t_interval((adapter.mean_r - base.mean_r).dropna().to_numpy(np.float64))
    return {
        "mean_r": after["mean_r"] - before["mean_r"],
        "r_low": low,
        "r_high": high,
        "win_rate": after["win_rate"] - before["win_rate"],
        "reward_to_risk": after["reward_to_risk"] / before["reward_to_risk"] - 1,
        "long_share": after["long_share"] - before["long_share"],
        "valid_share": after["valid_share"],
    }


def t_interval(values: "Sequence[float] | FloatArray | pd.Series[float]") -> tuple[float, float]:
    """Student's 95 % interval of the mean of independent values, those that are NaN left out; NaN for fewer than two.

    Unit of chance: a value, so what depends on each other must be summed up before. Source: Student 1908, "The probable
    error of a mean", Biometrika 6.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if len(known) < 2:
        return float("nan"), float("nan")
    error = np.std(known, ddof=1) / np.sqrt(len(known))
    low, high = np.mean(known) + error * scipy.stats.t.ppf(
        [(1 - INTERVAL_COVERAGE) / 2, (1 + INTERVAL_COVERAGE) / 2], len(known) - 1
    )
    return float(low), float(high)


def promoted_share(promoted: int, count: int) -> dict[str, float]:
    """How many of `count` independent comparisons were promoted, and their share with Wilson's 95 % interval."""
    low, high = scipy.stats.binomtest(promoted, count).proportion_ci(INTERVAL_COVERAGE, method="wilson")
    return {
        "comparisons": count,
        "promoted": promoted,
        "share": promoted / count,
        "low": float(low),
        "high": float(high),
    }


def summarize_edge(trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds of one edge; mean R and win rate with their intervals, and the least values of any seed."""
    frame = pd.DataFrame([trial["rise"] for trial in trials])
    summary = {name: float(frame[name].mean()) for name in ("mean_r", "win_rate", "reward_to_risk", "valid_share")}
    for name in ("mean_r", "win_rate"):
        summary[f"{name}_low"], summary[f"{name}_high"] = t_interval(frame[name])
    return summary | {"least_r": float(frame["mean_r"].min()), "least_valid": float(frame["valid_share"].min())}


def check_results(
    edges: dict[Edge, dict[str, Any]], no_edge: dict[str, float] | None, coins: Sequence[dict[str, float]] = ()
) -> list[dict[str, Any]]:
    """Each check: its name, the limit, the measured value, and whether it passed."""
    checks = []
    for edge, summary in edges.items():
        checks += [
            _at_least(f"{edge}: rise of the mean R, mean of the seeds", summary["mean_r"], MIN_MEAN_R_RISE),
            _at_least(f"{edge}: rise of the mean R, least of the seeds", summary["least_r"], MIN_SEED_R_RISE),
            _at_least(f"{edge}: rise of the win rate, mean of the seeds", summary["win_rate"], MIN_WIN_RATE_RISE),
            _at_most(f"{edge}: change of reward to risk", abs(summary["reward_to_risk"]), MAX_RATIO_CHANGE),
            _at_least(f"{edge}: valid replies, least of the seeds", summary["least_valid"], MIN_VALID_REPLY_SHARE),
        ]
    if no_edge:
        checks.append(_at_most("no edge: A/A comparisons that the gate promotes", no_edge["share"], MAX_PROMOTED_SHARE))
    for arm in coins:
        name = f"no skill: nights that promote coins with {arm['long_share']:.0%} longs, lower end of the interval"
        checks.append(_at_most(name, arm["low"], FIRST_LOOK_ALPHA))
    return checks


def _at_least(name: str, measured: float, minimum: float) -> dict[str, Any]:
    return {"check": name, "wanted": f">= {minimum:g}", "came": round(measured, 4), "passed": bool(measured >= minimum)}


def _at_most(name: str, measured: float, maximum: float) -> dict[str, Any]:
    return {"check": name, "wanted": f"<= {maximum:g}", "came": round(measured, 4), "passed": bool(measured <= maximum)}
