"""What the trials of a learning check add up to: rises with intervals, and whether each stands where it should."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from scipy.stats import t as student

from osiris.evaluation.heldout import Evaluation
from osiris.market.synthetic import Edge

INTERVAL_COVERAGE = 0.95
MIN_MEAN_R_RISE, MIN_SEED_R_RISE, MIN_WIN_RATE_RISE, MAX_RATIO_CHANGE, MIN_VALID_REPLY_SHARE, MAX_PROMOTED_SHARE = (
    0.15,
    0.05,
    0.08,
    0.05,
    0.98,
    0.05,
)
"""What an edge must raise: mean R of all seeds and of each, the win rate; what must hold; how often chance may win."""
FIRST_LOOK_ALPHA = 0.025
"""What a first look may err with, at the default `gate.alpha`."""


def rise_over_base(base: Evaluation, adapter: Evaluation) -> dict[str, float]:
    """What `adapter` adds to `base` on the same prompts; `r_low` and `r_high` from the prompts' differences.

    Of one without a trade, which lost its form, nothing but the share of its valid replies.
    """
    before, after = base.metrics(), adapter.metrics()
    if not after["trades"]:
        return {"valid_share": after["valid_share"]}
    low, high = t_interval((adapter.mean_r - base.mean_r).dropna().to_numpy())
    return {
        "mean_r": after["mean_r"] - before["mean_r"],
        "r_low": low,
        "r_high": high,
        "win_rate": after["win_rate"] - before["win_rate"],
        "reward_to_risk": after["reward_to_risk"] / before["reward_to_risk"] - 1,
        "long_share": after["long_share"] - before["long_share"],
        "valid_share": after["valid_share"],
    }


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of independent values; NaN for fewer than two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    low, high = np.mean(values) + error * student.ppf(
        [(1 - INTERVAL_COVERAGE) / 2, (1 + INTERVAL_COVERAGE) / 2], len(values) - 1
    )
    return float(low), float(high)


def promoted_share(promoted: int, count: int) -> dict[str, float]:
    """How many of `count` independent comparisons were promoted, and their share with Wilson's 95 % interval."""
    low, high = binomtest(promoted, count).proportion_ci(INTERVAL_COVERAGE, method="wilson")
    return {
        "comparisons": count,
        "promoted": promoted,
        "share": promoted / count,
        "low": float(low),
        "high": float(high),
    }


def summarize_edge(trials: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean over the seeds of one edge, each with its interval, and the seeds themselves."""
    frame = pd.DataFrame([trial["rise"] for trial in trials])
    found = {name: float(frame[name].mean()) for name in ("mean_r", "win_rate", "reward_to_risk", "valid_share")}
    for name in ("mean_r", "win_rate"):
        found[f"{name}_low"], found[f"{name}_high"] = t_interval(frame[name])
    return found | {"least_r": float(frame["mean_r"].min()), "least_valid": float(frame["valid_share"].min())}


def check_results(
    edges: dict[Edge, dict[str, Any]], no_edge: dict[str, float] | None, coins: Sequence[dict[str, float]] = ()
) -> list[dict[str, Any]]:
    """What was to be shown, what came, and whether it is so."""
    found = []
    for edge, seen in edges.items():
        found += [
            _at_least(f"{edge}: rise of the mean R, mean of the seeds", seen["mean_r"], MIN_MEAN_R_RISE),
            _at_least(f"{edge}: rise of the mean R, least of the seeds", seen["least_r"], MIN_SEED_R_RISE),
            _at_least(f"{edge}: rise of the win rate, mean of the seeds", seen["win_rate"], MIN_WIN_RATE_RISE),
            _at_most(f"{edge}: change of reward to risk", abs(seen["reward_to_risk"]), MAX_RATIO_CHANGE),
            _at_least(f"{edge}: valid replies, least of the seeds", seen["least_valid"], MIN_VALID_REPLY_SHARE),
        ]
    if no_edge:
        found.append(_at_most("no edge: A/A comparisons that the gate promotes", no_edge["share"], MAX_PROMOTED_SHARE))
    for arm in coins:
        what = f"no skill: nights that promote coins with {arm['long_share']:.0%} longs, lower end of the interval"
        found.append(_at_most(what, arm["low"], FIRST_LOOK_ALPHA))
    return found


def _at_least(what: str, measured: float, least: float) -> dict[str, Any]:
    return {"check": what, "wanted": f">= {least:g}", "came": round(measured, 4), "passed": bool(measured >= least)}


def _at_most(what: str, measured: float, most: float) -> dict[str, Any]:
    return {"check": what, "wanted": f"<= {most:g}", "came": round(measured, 4), "passed": bool(measured <= most)}
