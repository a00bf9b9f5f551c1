"""Adapters side by side: what each is worth on held-out prompts, with intervals, and what its confidence is worth.

The unit of chance is the session, as in `loop/reviewers.py`, which the estimates come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from osiris.config.settings import PricesSettings
from osiris.evaluation.heldout import Evaluation
from osiris.evaluation.review_value import draft_dates, estimate_mean, estimate_rate
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import sql_time

MAX_BINS, MIN_BIN_SIZE = 5, 5
"""Bins of a reliability diagram, each with as many ideas, and the fewest ideas that a bin may have."""
EMPTY_INDEX = pd.MultiIndex.from_arrays([[], []], names=["measure", "adapter"])
MEASURES = ("win rate", "mean R", "reward to risk", "long share")


@dataclass(frozen=True)
class Calibration:
    """How what was said of ideas agrees with what happened.

    `bins` has a row a bin: `said` and `happened` (means), `low` and `high` (Wilson, 95 %), `count`. `brier` is the mean
    squared error of what was said, `base_rate_brier` that of always saying the share that won; smaller is better.
    """

    bins: pd.DataFrame
    brier: float
    base_rate_brier: float
    count: int


def estimate_measures(evaluations: Sequence[Evaluation], price_settings: PricesSettings) -> pd.DataFrame:
    """A row an adapter and measure of `MEASURES`: `value`, `low`, `high`, `ideas`, indexed by measure and adapter."""
    rows = {}
    for evaluation in evaluations:
        trades = evaluation.filled
        session = draft_dates(trades, price_settings).to_numpy()
        won, is_long = (trades["r"] > 0).to_numpy(float), (trades["side"] == "long").to_numpy(float)
        found = (
            estimate_rate(won, session),
            estimate_mean(trades["r"].to_numpy(float), session),
            estimate_mean(trades["reward_to_risk"].to_numpy(float), session),
            estimate_rate(is_long, session),
        )
        rows |= {(name, evaluation.adapter): one[:4] for name, one in zip(MEASURES, found, strict=True)}
    found = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high", "ideas"])
    found.index = pd.MultiIndex.from_tuples(found.index, names=["measure", "adapter"]) if rows else EMPTY_INDEX
    return found.sort_index(level=0, sort_remaining=False)


def measure_calibration(forecasts: NDArray[np.float64], outcomes: NDArray[np.float64]) -> Calibration | None:
    """Compare forecasts `said` (0-1) with what `happened` (0 or 1), shape (n,) each; `None` for fewer than `FEWEST`."""
    if len(forecasts) < MIN_BIN_SIZE:
        return None
    from sklearn.metrics import brier_score_loss

    order = np.argsort(forecasts, kind="stable")
    groups = np.array_split(order, min(MAX_BINS, len(forecasts) // MIN_BIN_SIZE))
    bins = pd.DataFrame([_bin(forecasts[group], outcomes[group]) for group in groups])
    base = np.full(len(forecasts), outcomes.mean())
    brier, of_base = (float(brier_score_loss(outcomes, one, pos_label=1)) for one in (forecasts, base))
    return Calibration(bins, brier, of_base, len(forecasts))


def confidence_calibration(evaluation: Evaluation) -> Calibration | None:
    """An adapter's own confidence against the wins of its held-out trades."""
    trades = evaluation.filled
    return measure_calibration(trades["confidence"].to_numpy(float), (trades["r"] > 0).to_numpy(float))


def hermes_calibration(advice: AdviceStore, as_of: datetime) -> Calibration | None:
    """The scores that Hermes gave against the wins of ideas that had ended by `as_of`, shadow ones too."""
    ended = "outcome IN ('win', 'loss') AND hermes_score IS NOT NULL AND ambiguous = false"
    ideas = advice.frame(f"{ended} AND closed_at <= {sql_time(as_of)}", ["hermes_score", "outcome"])
    return measure_calibration(ideas["hermes_score"].to_numpy(float), (ideas["outcome"] == "win").to_numpy(float))


def _bin(forecasts: NDArray[np.float64], outcomes: NDArray[np.float64]) -> dict[str, float]:
    low, high = binomtest(int(outcomes.sum()), len(outcomes)).proportion_ci(method="wilson")
    return {"said": forecasts.mean(), "happened": outcomes.mean(), "low": low, "high": high, "count": len(forecasts)}
