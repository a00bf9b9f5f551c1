"""The shipped policy's own figures. What any policy has to keep to is tested beside it, in `osiris/policy/tests`."""

import pytest

from osiris.policy import ShippedPolicy, context
from osiris.policy.contracts import BadAnswer, PolicyInput, parse_features, parse_passes, parse_size

IDEA = PolicyInput(1, 3.0, 1.5, 0.6, 0.7, {})


def test_a_falling_market_is_down_in_every_feature_and_its_mirror_up():
    falling = [500.0 - 0.5 * bar**1.2 for bar in range(80)]
    mirror = [1000 - price for price in falling]
    down, up = (ShippedPolicy().features(prices, prices, prices, 2.0) for prices in (falling, mirror))
    assert {feature.direction for feature in down} == {"down"}
    assert [f.value for f in up] == pytest.approx([-f.value for f in down])


def test_rsi_of_a_market_that_only_rises_is_100_and_of_a_still_one_50():
    assert context.rsi([float(bar) for bar in range(20)]) == 100
    assert context.rsi([5.0] * 20) == 50


def test_momentum_is_the_distance_to_the_mean_of_twenty_closes_in_units():
    assert context.momentum([0.0] * 19 + [20.0], 2.0) == pytest.approx((20 - 1) / 2)


@pytest.mark.parametrize(
    "answer", [[], [["a", 1.0]], [["A", 1.0, 1.0]], [["a", float("nan"), 1.0]], [["a", 1.0, -1.0]],
               [["a", True, 1.0]], [["a", 1.0, 1.0]] * 2, "features", None, [["__a", 1.0, 1.0]], [["a", 10**400, 1.0]]],
)  # fmt: skip
def test_what_no_feature_is_is_refused(answer):
    with pytest.raises(BadAnswer):
        parse_features(answer)


def test_a_gate_says_true_or_false_and_nobody_passes_beyond_the_limits():
    assert parse_passes(True, IDEA)
    assert not parse_passes(False, IDEA._replace(stop_atr=15.0))
    for answer, idea in ((1, IDEA), (True, IDEA._replace(stop_atr=15.0)), (True, IDEA._replace(target_atr=0.1))):
        with pytest.raises(BadAnswer):
            parse_passes(answer, idea)


@pytest.mark.parametrize("answer", [-0.001, 0.021, float("inf"), "0.01", None, True, 10**400])
def test_what_no_size_is_is_refused(answer):
    with pytest.raises(BadAnswer):
        parse_size(answer)
