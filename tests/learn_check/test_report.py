"""What trials add up to: rises on the same prompts, intervals, and checks that can fail."""

import numpy as np
import pandas as pd
import pytest

from osiris.evaluation.heldout import Evaluation
from osiris.learn_check.no_edge import CANDIDATES_PER_SIDE, run_aa_comparisons
from osiris.learn_check.report import check_results, rise_over_base, summarize_edge, t_interval
from tests.builders import make_settings


def evaluation(name, r, prompts, ratio=1.5, valid=None):
    each = len(r) // prompts
    trades = pd.DataFrame({"prompt": np.repeat(np.arange(prompts), each), "r": r})
    at = pd.Timestamp("2005-03-01T21:00Z") + pd.to_timedelta(50 * (trades["prompt"] % 24), unit="D")
    trades = trades.assign(
        filled=True, side="long", reward_to_risk=ratio, ticker="P000", as_of=at, days_held=5.0, habit=0.0
    )
    return Evaluation(name, prompts, len(r), len(r) if valid is None else valid, trades)


def trial(mean_r, win_rate=0.1, ratio=0.0, valid=1.0):
    return {"rise": {"mean_r": mean_r, "win_rate": win_rate, "reward_to_risk": ratio, "valid_share": valid}}


def test_a_rise_is_the_difference_on_the_same_prompts():
    noise = np.random.default_rng(0).normal(0, 1, 400)
    found = rise_over_base(evaluation("base", noise, 200), evaluation("20050101-dpo", noise + 0.2, 200, 1.6, 398))
    assert found["mean_r"] == pytest.approx(0.2)
    assert (found["r_low"], found["r_high"]) == (pytest.approx(0.2), pytest.approx(0.2))
    assert found["reward_to_risk"] == pytest.approx(1.6 / 1.5 - 1)
    assert found["valid_share"] == 398 / 400


def test_an_interval_covers_what_it_claims():
    rng = np.random.default_rng(1)
    found = [t_interval(rng.normal(0.3, 1, 5)) for _ in range(2_000)]
    assert np.mean([low <= 0.3 <= high for low, high in found]) == pytest.approx(0.95, abs=0.015)
    assert np.isnan(t_interval([1.0])).all()


def test_what_has_no_value_does_not_narrow_an_interval():
    known = [0.1, 0.4, -0.2, 0.3]
    assert t_interval(pd.Series([*known, np.nan, np.nan])) == t_interval(known)
    assert np.isnan(t_interval([0.1, np.nan])).all()


@pytest.mark.parametrize(
    ("spoiled", "check"),
    [
        (trial(-0.6), "rise of the mean R, mean"),
        (trial(0.04), "rise of the mean R, least"),
        (trial(0.3, win_rate=-0.3), "win rate"),
        (trial(0.3, ratio=0.3), "reward to risk"),
        (trial(0.3, valid=0.97), "valid replies"),
    ],
)
def test_each_check_fails_for_what_it_is_about(spoiled, check):
    good = [trial(0.3) for _ in range(4)]
    assert all(one["passed"] for one in check_results({"momentum": summarize_edge([*good, trial(0.3)])}, None))
    failed = [
        one["check"] for one in check_results({"momentum": summarize_edge([*good, spoiled])}, None) if not one["passed"]
    ]
    assert any(check in name for name in failed)


def test_chance_that_is_promoted_too_often_fails():
    (check,) = check_results({}, {"share": 0.06})
    assert not check["passed"]
    assert check_results({}, {"share": 0.05})[0]["passed"]


def test_a_model_is_hardly_ever_promoted_over_itself_and_a_better_one_is(tmp_path):
    settings = make_settings(tmp_path)
    rng = np.random.default_rng(2)
    luck = np.repeat(rng.normal(0, 0.8, 300), 3 * CANDIDATES_PER_SIDE)  # candidates of one prompt share its market
    r = np.where(rng.normal(0, 1, len(luck)) + luck > 0.3, 1.5, -1.0)
    found = run_aa_comparisons(evaluation("base", r, 300), settings, 200, 128, 0)
    assert found["comparisons"] == 200
    assert found["share"] <= 0.06
    assert found["low"] <= found["share"] <= found["high"]
