"""What must hold of the features of every policy."""

import pytest
from hypothesis import given

from osiris.policy.contracts import MAX_FEATURES
from osiris.policy.tests.ideas import markets

FLAT_PRICES = [100.0] * 60
RISING_PRICES = [100.0 + 0.5 * bar for bar in range(80)]


@given(markets())
def test_every_market_is_described_by_finite_features_of_different_names(policy, market):
    shown = policy.features(*market)
    assert 1 <= len(shown) <= MAX_FEATURES
    assert len({feature.name for feature in shown}) == len(shown)


@given(markets())
def test_the_same_market_is_described_the_same_way_again(policy, market):
    assert policy.features(*market) == policy.features(*market)


@given(markets())
def test_features_do_not_change_when_all_prices_are_rescaled(policy, market):
    high, low, close, unit = market
    scaled = policy.features(*([4 * price for price in prices] for prices in (high, low, close)), 4 * unit)
    once = policy.features(*market)
    assert [f.name for f in scaled] == [f.name for f in once]
    assert [f.value for f in scaled] == pytest.approx([f.value for f in once], abs=1e-6)


def test_more_history_than_needed_does_no_harm(policy):
    assert policy.features(RISING_PRICES, RISING_PRICES, RISING_PRICES, 1.0)


def test_a_market_that_stood_still_can_be_described(policy):
    assert policy.features(FLAT_PRICES, FLAT_PRICES, FLAT_PRICES, 1.0)
