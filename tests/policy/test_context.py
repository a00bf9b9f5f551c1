"""The features that the prompt shows."""

import numpy as np
import pytest

from osiris.policy import context


def walk(seed=0, bars=80):
    close = 100 + np.cumsum(np.random.default_rng(seed).normal(0, 1, bars))
    return close + 1, close - 1, close


def test_true_range_includes_the_gap_from_the_close_before():
    high, low, close = (np.array(values, float) for values in ([10, 14], [9, 13], [9.5, 13.5]))
    assert context.true_range(high, low, close).tolist() == [4.5]


def test_features_do_not_change_when_all_prices_are_rescaled():
    once = context.features(*walk())
    scaled = context.features(*(7 * values for values in walk()))
    assert [f.value for f in scaled] == pytest.approx([f.value for f in once])


def test_a_falling_market_is_down_in_every_feature_and_its_mirror_up():
    close = walk()[2]
    falling = close - 0.5 * np.arange(len(close)) ** 1.2
    down = context.features(falling + 1, falling - 1, falling)
    mirror = 1000 - falling
    up = context.features(mirror + 1, mirror - 1, mirror)
    assert {f.name: f.direction for f in down}["momentum"] == "down"
    assert [f.value for f in up] == pytest.approx([-f.value for f in down])


def test_rsi_of_a_market_that_only_rises_is_100_and_of_a_still_one_50():
    assert context.rsi(np.arange(20.0)) == 100
    assert context.rsi(np.full(20, 5.0)) == 50


@pytest.mark.parametrize("spoil", ["short", "nan", "still"])
def test_what_cannot_be_described_is_refused(spoil):
    high, low, close = walk()
    if spoil == "short":
        high, low, close = high[:59], low[:59], close[:59]
    elif spoil == "nan":
        close[-1] = np.nan
    else:
        high = low = close = np.full(80, 5.0)
    with pytest.raises(ValueError, match="features need"):
        context.features(high, low, close)
