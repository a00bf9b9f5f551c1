"""Compare adapters: what each is worth on held-out prompts, with intervals, and how good its confidence is.

The unit of chance is the session, as in `review_value.py`; the estimates come from `stats.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import scipy

from osiris.config.settings import PricesSettings
from osiris.core.arrays import FloatArray
from osiris.evaluation.heldout import Evaluation
from osiris.evaluation.review_value import draft_dates
from osiris.evaluation.stats import estimate_mean, estimate_rate
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import sql_time

MAX_BINS = 5
"""Bins of a reliability diagram, at most; each holds about as many ideas."""
MIN_BIN_SIZE = 5
"""Fewest ideas of a bin."""
EMPTY_INDEX = pd.MultiIndex.from_arrays([[], []], names=["measure", "adapter"])
MEASURES = ("win rate", "mean R", "reward to risk", "long share")


@dataclass(frozen=True)
class Calibration:
    """How well forecasts of a win agree with the outcomes.

    `bins` has one row per bin: `predicted` and `observed` (means), `low` and `high` (Wilson, 95 %), `count`. `brier` is
    the mean squared error of the forecasts. `base_rate_brier` is that of always forecasting the share of wins; smaller
    is better.
    """

    bins: pd.DataFrame
    brier: float
    base_rate_brier: float
    count: int


def estimate_measures(evaluations: Sequence[Evaluation], price_settings: PricesSettings) -> pd.DataFrame:
    """One row per measure of `MEASURES` and adapter, which index it: `value`, `low`, `high`, `ideas`."""
    rows: dict[tuple[str, str], tuple[float, float, float, int]] = {}
    for evaluation in evaluations:
        trades = evaluation.filled
        session = draft_dates(trades, price_settings).to_numpy()
        is_long = np.asarray(trades["side"] == "long", np.float64)
        estimates = (
            estimate_rate(_wins(trades), session),
            estimate_mean(trades["r"].to_numpy(float), session),
            estimate_mean(trades["reward_to_risk"].to_numpy(float), session),
            estimate_rate(is_long, session),
        )
        rows |= {(name, evaluation.adapter): one[:4] for name, one in zip(MEASURES, estimates, strict=True)}
    index = pd.MultiIndex.from_tuples(list(rows), names=["measure", "adapter"]) if rows else EMPTY_INDEX
    table = pd.DataFrame(list(rows.values()), index, columns=["value", "low", "high", "ideas"])
    return table.sort_index(level=0, sort_remaining=False)


def measure_calibration(forecasts: FloatArray, outcomes: FloatArray) -> Calibration | None:
    """Compare `forecasts` (0-1) with `outcomes` (0 or 1), shape (n,) each; `None` for fewer than `MIN_BIN_SIZE`."""
    if len(forecasts) < MIN_BIN_SIZE:
        return None
    from sklearn.metrics import brier_score_loss

    order = np.argsort(forecasts, kind="stable")
    groups = np.array_split(order, min(MAX_BINS, len(forecasts) // MIN_BIN_SIZE))
    bins = pd.DataFrame([_bin(forecasts[group], outcomes[group]) for group in groups])
    base_rate = np.full(len(forecasts), outcomes.mean())
    brier, base_rate_brier = (float(brier_score_loss(outcomes, one, pos_label=1)) for one in (forecasts, base_rate))
    return Calibration(bins, brier, base_rate_brier, len(forecasts))


def confidence_calibration(evaluation: Evaluation) -> Calibration | None:
    """An adapter's own confidence against the wins of its held-out trades."""
    trades = evaluation.filled
    return measure_calibration(trades["confidence"].to_numpy(float), _wins(trades))


def hermes_calibration(advice: AdviceStore, as_of: datetime) -> Calibration | None:
    """The scores of Hermes against the wins of ideas that had ended by `as_of`, including shadow ideas."""
    ended = "outcome IN ('win', 'loss') AND hermes_score IS NOT NULL AND ambiguous = false"
    ideas = advice.frame(f"{ended} AND closed_at <= {sql_time(as_of)}", ["hermes_score", "outcome"])
    won = np.asarray(ideas["outcome"] == "win", np.float64)
    return measure_calibration(ideas["hermes_score"].to_numpy(float), won)


def win_probability_calibration(advice: AdviceStore, as_of: datetime) -> Calibration | None:
    """The forecasts from the scores of Hermes against the wins that came after them, including shadow ideas."""
    ended = "outcome IN ('win', 'loss') AND hermes_win_probability IS NOT NULL AND ambiguous = false"
    ideas = advice.frame(f"{ended} AND closed_at <= {sql_time(as_of)}", ["hermes_win_probability", "outcome"])
    won = np.asarray(ideas["outcome"] == "win", np.float64)
    return measure_calibration(ideas["hermes_win_probability"].to_numpy(float), won)


def _wins(trades: pd.DataFrame) -> FloatArray:
    """1 for each trade above zero, 0 for the rest, shape (trades,)."""
    return np.asarray(trades["r"] > 0, np.float64)


def _bin(forecasts: FloatArray, outcomes: FloatArray) -> dict[str, float]:
    low, high = scipy.stats.binomtest(int(outcomes.sum()), len(outcomes)).proportion_ci(method="wilson")
    return {
        "predicted": forecasts.mean(),
        "observed": outcomes.mean(),
        "low": low,
        "high": high,
        "count": len(forecasts),
    }
