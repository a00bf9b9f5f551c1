"""When a challenger is promoted: better beyond chance, on days enough, and not by habit."""

import numpy as np
import pandas as pd
import pytest

from osiris.evaluation.gate import compare_adapters
from osiris.evaluation.heldout import Evaluation
from tests.builders import make_settings

FIRST = pd.Timestamp("2005-03-01T21:00Z")


@pytest.fixture
def settings(tmp_path):
    return make_settings(tmp_path)


def evaluation(name, r, habit=0.0, side="long", lasts=3.0):
    """One idea a session on one ticker, from FIRST on."""
    trades = pd.DataFrame({"prompt": range(len(r)), "r": r, "habit": habit, "side": side, "days_held": lasts})
    at = FIRST + pd.to_timedelta(np.arange(len(r)), unit="D")
    trades = trades.assign(ticker="AAPL", as_of=at, filled=True, reward_to_risk=2.0)
    return Evaluation(name, len(r), len(r), len(r), trades)


def noise(seed, count=120):
    return np.random.default_rng(seed).normal(0, 1, count)


def test_a_clearly_better_challenger_is_promoted_and_a_worse_one_is_not(settings):
    better, plain = evaluation("20050412-dpo", noise(0) + 0.8), evaluation("base", noise(1))
    verdict = compare_adapters(better, plain, settings)
    assert (verdict.promoted, verdict.decided) == (True, True)
    assert "better beyond chance" in verdict.reason
    verdict = compare_adapters(plain, better, settings)
    assert (verdict.promoted, verdict.p_value > 0.9) == (False, True)


def test_a_gain_that_its_habits_would_have_made_too_is_none(settings):
    up = noise(0) + 0.8
    verdict = compare_adapters(evaluation("20050412-dpo", up, habit=up), evaluation("base", noise(1)), settings)
    assert (verdict.promoted, verdict.difference > 0.5) == (False, True)
    assert verdict.skill < 0.3


def test_skill_that_costs_money_is_not_promoted(settings):
    timing = evaluation("20050412-dpo", noise(0) - 0.5, habit=-2.0)
    verdict = compare_adapters(timing, evaluation("base", noise(1)), settings)
    assert (verdict.p_value < 0.001, verdict.difference < 0, verdict.promoted) == (True, True, False)


def test_days_that_hold_few_trades_decide_nothing(settings):
    long_trades = [evaluation(name, r, lasts=30.0) for name, r in (("a", noise(0) + 3), ("b", noise(1)))]
    verdict = compare_adapters(*long_trades, settings)
    assert (verdict.promoted, verdict.decided, verdict.p_value) == (False, False, None)
    assert verdict.reason == (
        "not decided yet: 120 held-out days hold 2 independent spells of 60 days; about 240 days are needed"
    )


def test_few_trades_decide_nothing(settings):
    verdict = compare_adapters(evaluation("a", np.full(29, 2.0)), evaluation("b", np.full(29, -1.0)), settings)
    assert (verdict.promoted, verdict.decided) == (False, False)
    assert verdict.reason == "not decided yet: 29 held-out trades, at least 30 needed"


def test_a_challenger_that_is_not_better_leaves_the_trial_when_its_days_are_over(settings):
    for days, decided in ((120, False), (200, True)):
        one, other = evaluation("a", noise(2, days)), evaluation("b", noise(3, days))
        assert compare_adapters(one, other, settings).decided is decided


@pytest.mark.parametrize("look", [1, 22, 60])
def test_a_perfect_challenger_is_promoted_at_any_look(settings, look):
    rng = np.random.default_rng(4)
    perfect, coin = rng.uniform(1.2, 1.8, 120), rng.choice([-1.0, 1.5], 120)
    assert compare_adapters(evaluation("20050412-dpo", perfect), evaluation("base", coin), settings, look).promoted


def test_the_verdict_says_what_the_days_could_have_shown(settings):
    verdict = compare_adapters(evaluation("a", noise(0)), evaluation("b", noise(1)), settings)
    later = compare_adapters(evaluation("a", noise(0)), evaluation("b", noise(1)), settings, look=9)
    assert 0.2 < verdict.detectable < later.detectable
    assert f"would show {verdict.detectable:.2f} R four times in five" in verdict.reason


def test_only_prompts_that_both_traded_are_compared(settings):
    challenger, champion = evaluation("a", np.full(60, 1.0)), evaluation("b", np.zeros(60))
    champion.trades.loc[:19, "filled"] = False
    assert compare_adapters(challenger, champion, settings).prompts == 40


def test_adapters_without_a_common_trade_have_no_verdict(settings):
    challenger, champion = evaluation("a", np.full(60, 1.0)), evaluation("b", np.zeros(60))
    champion.trades["filled"] = False
    verdict = compare_adapters(challenger, champion, settings)
    assert (verdict.promoted, verdict.decided, verdict.difference) == (False, False, None)
