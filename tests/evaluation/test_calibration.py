"""Adapters side by side: estimates with intervals, and calibration that knows a good forecast from a bad one."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.config.settings import PricesSettings
from osiris.evaluation.calibration import (
    MEASURES,
    confidence_calibration,
    estimate_measures,
    hermes_calibration,
    measure_calibration,
)
from osiris.evaluation.heldout import Evaluation
from osiris.ui.compare_charts import plot_adapter_measures, plot_reliability
from tests.builders import MOMENT, idea, make_store, outcome_table


def evaluation(name, r, confidence=0.6):
    n = len(r)
    trades = pd.DataFrame(
        {
            "prompt": range(n),
            "ticker": "AAPL",
            "as_of": [pd.Timestamp(MOMENT) + timedelta(days=k // 4) for k in range(n)],
            "side": np.resize(["long", "short"], n),
            "reward_to_risk": 1.5,
            "confidence": confidence,
            "r": r,
            "filled": True,
        }
    )
    return Evaluation(name, n, n, n, trades)


def test_each_adapter_has_each_measure_with_its_interval():
    r = np.resize([1.5, -1.0, -1.0, 1.5], 80)
    table = estimate_measures([evaluation("20050301-dpo", r), evaluation("base", -r)], PricesSettings())
    assert list(table.index.get_level_values("measure").unique()) == sorted(MEASURES)
    row = table.loc[("win rate", "20050301-dpo")]
    assert (row["value"], row["ideas"]) == (0.5, 80)
    assert row["low"] < 0.5 < row["high"]
    assert table.loc[("mean R", "base"), "value"] == -0.25
    assert table.loc[("long share", "base"), "value"] == 0.5


def test_nothing_to_compare_is_an_empty_table_and_empty_plots():
    table = estimate_measures([], PricesSettings())
    assert table.empty
    assert len(plot_adapter_measures(table).axes) == len(MEASURES)
    assert plot_reliability({"Hermes": None}).axes[0].get_title() == "Hermes\ntoo few ideas"


def test_what_was_not_filled_counts_for_nothing():
    one = evaluation("base", np.array([5.0, -1.0, -1.0, -1.0, -1.0, -1.0]))
    one.trades.loc[0, "filled"] = False
    assert estimate_measures([one], PricesSettings()).loc[("mean R", "base"), "value"] == -1.0
    assert confidence_calibration(one).count == 5


def test_a_good_forecast_is_better_than_the_base_rate_and_lies_on_the_line():
    rng = np.random.default_rng(0)
    said = rng.uniform(0.1, 0.9, 5_000)
    happened = (rng.random(5_000) < said).astype(float)
    found = measure_calibration(said, happened)
    assert found.brier < found.base_rate_brier - 0.03
    assert np.abs(found.bins["predicted"] - found.bins["observed"]).max() < 0.05
    assert found.bins["count"].tolist() == [1_000] * 5
    shuffled = measure_calibration(rng.permutation(said), happened)
    assert shuffled.brier > shuffled.base_rate_brier + 0.03


def test_constant_forecasts_and_few_ideas_break_nothing():
    assert measure_calibration(np.full(9, 0.6), np.ones(9)).base_rate_brier == 0
    assert measure_calibration(np.full(4, 0.6), np.ones(4)) is None


def test_hermes_is_compared_with_what_was_known_to_have_ended(tmp_path):
    store = make_store(tmp_path)
    rows = [idea(number=n, hermes_score=0.9 if n % 2 else 0.2) for n in range(12)]
    store.add([*rows, idea(number=99, hermes_score=None)])
    ends = {"ambiguous": False, "exit_reason": "target", "r_multiple": 1.0, "close_price": 1.0}
    for n, row in enumerate(rows):
        at = MOMENT + timedelta(days=1 if n < 10 else 30)
        store.settle(outcome_table({"id": row["id"], "outcome": "win" if n % 2 else "loss", "closed_at": at, **ends}))
    found = hermes_calibration(store, MOMENT + timedelta(days=2))
    assert found.count == 10
    assert found.brier == pytest.approx((0.1**2 + 0.2**2) / 2)
    assert found.base_rate_brier == pytest.approx(0.25)
