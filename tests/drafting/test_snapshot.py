"""Snapshots on real bars: nothing later than the moment, and one price basis."""

from datetime import UTC, datetime, timedelta

import pytest

from osiris.core.errors import NoPrices
from osiris.drafting.snapshot import take_snapshot
from osiris.market.sample import sample_bars
from osiris.policy import ShippedPolicy
from tests.builders import bars_as_of

BEFORE_SPLIT = datetime(2005, 2, 25, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def bars():
    return sample_bars("AAPL")


def test_the_future_is_not_seen(bars):
    assert take_snapshot("AAPL", bars, BEFORE_SPLIT, ShippedPolicy()) == take_snapshot(
        "AAPL", bars_as_of(bars, BEFORE_SPLIT), BEFORE_SPLIT, ShippedPolicy()
    )


def test_an_unfinished_bar_is_not_seen(bars):
    a_minute_before = take_snapshot("AAPL", bars, BEFORE_SPLIT - timedelta(minutes=1), ShippedPolicy())
    assert a_minute_before.price != take_snapshot("AAPL", bars, BEFORE_SPLIT, ShippedPolicy()).price


def test_the_price_is_the_last_close_and_a_split_only_halves_it(bars):
    before, after = (
        take_snapshot("AAPL", bars, BEFORE_SPLIT, ShippedPolicy()),
        take_snapshot("AAPL", bars, BEFORE_SPLIT + timedelta(days=3), ShippedPolicy()),
    )
    assert before.price == 88.99
    assert after.price == 44.86
    assert after.atr / after.price == pytest.approx(before.atr / before.price, rel=0.2)
    assert all(abs(feature.value) < 30 for feature in after.features)


def test_the_prompt_names_the_ticker_and_shows_signs_as_words(bars):
    shot = take_snapshot("AAPL", bars, BEFORE_SPLIT, ShippedPolicy())
    assert shot.prompt.startswith("Ticker: AAPL\nmomentum ")
    assert all(f"{f.name} {f.direction} {f.shown:.1f}" in shot.prompt for f in shot.features)
    assert "2005" not in shot.prompt


def test_too_few_bars_name_the_remedy(bars):
    with pytest.raises(NoPrices, match="osiris prices import"):
        take_snapshot("AAPL", bars, datetime(2000, 3, 1, 21, tzinfo=UTC), ShippedPolicy())


@pytest.mark.parametrize("close", [0.0, -37.6])
def test_a_close_of_zero_or_less_is_no_price(bars, close):
    seen = bars_as_of(bars, BEFORE_SPLIT).copy()
    seen.loc[seen.index[-1], ["low", "close"]] = close
    with pytest.raises(NoPrices, match="no price of a share"):
        take_snapshot("AAPL", seen, BEFORE_SPLIT, ShippedPolicy())
