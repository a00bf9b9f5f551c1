"""The blocks of a prompt, on bars whose numbers can be worked out by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.config.sections import ContextSettings
from osiris.drafting.blocks import BAR_BLOCKS, Scene, describe_scene, nearest_round
from osiris.llm.prompts import SHIPPED_PROMPTS
from osiris.market.bar_frames import BarArrays, to_bar_arrays
from osiris.market.sample import sample_bars
from tests.builders import bars_as_of

FRIDAY = datetime(2005, 2, 25, 21, tzinfo=UTC)
DAY = 86_400 * 10**9


def arrays(close, spread=1.0, volume=None, opens=None):
    """Bars of a day each, whose range is `spread` on both sides of the close."""
    close = np.asarray(close, float)
    start = np.arange(len(close), dtype=np.int64) * DAY
    opens = close if opens is None else np.asarray(opens, float)
    volume = np.ones(len(close)) if volume is None else np.asarray(volume, float)
    return BarArrays(start, start + DAY, opens, close + spread, close - spread, close, np.ones(len(close)), volume)


def scene(bars, /, atr=2.0, benchmark=None, calendar="XNYS", as_of=FRIDAY, **settings):
    return Scene("AAPL", as_of, bars, atr, benchmark, calendar, ContextSettings(**settings))


def text(block, bars, /, **made):
    return describe_scene(block, scene(bars, **made), SHIPPED_PROMPTS)


def test_a_trend_is_the_move_over_each_horizon_in_atr():
    close = [100.0] * 5 + [104.0] * 5 + [103.0]
    assert (
        text("trend", arrays(close), trend_sessions=[1, 5, 7]) == "trend_1 down 0.5\ntrend_5 down 0.5\ntrend_7 up 1.5"
    )


def test_a_horizon_that_is_longer_than_the_bars_is_left_out():
    assert text("trend", arrays([100.0, 101.0]), trend_sessions=[1, 2]) == "trend_1 up 0.5"
    assert text("trend", arrays([100.0, 101.0]), trend_sessions=[60]) == ""


def test_volatility_is_the_atr_in_percent_and_its_percentile_of_the_last_year():
    calm, wild = arrays(np.full(40, 100.0)), arrays(np.full(80, 100.0))
    wild.high[40:], wild.low[40:] = 104.0, 96.0
    assert text("volatility", calm) == "volatility 2.0% a session, percentile 100, rising"
    assert text("volatility", wild) == "volatility 8.0% a session, percentile 100, rising"
    wild.high[70:], wild.low[70:] = 101.0, 99.0
    assert "falling" in text("volatility", wild)


def test_levels_are_distances_to_highs_lows_and_the_nearest_round_price():
    close = np.full(30, 83.0)
    bars = arrays(close)
    bars.high[15], bars.low[20], bars.high[2] = 91.0, 80.0, 200.0
    assert text("levels", bars) == "levels in ATR: high_20 +4.0, low_20 -1.5, round +1.0"


@pytest.mark.parametrize(
    ("price", "level"), [(83.2, 85), (0.0123, 0.0125), (1030, 1050), (99, 100), (7, 7.0), (5e5, 5e5)]
)
def test_a_round_price_has_few_digits(price, level):
    assert nearest_round(price) == pytest.approx(level)


class TestGaps:
    def test_an_open_gap_is_told_with_its_age(self):
        close, opens = [100.0] * 10, [100.0] * 10
        close[6:], opens[6:] = [105.0] * 4, [104.0, 105.0, 105.0, 105.0]
        assert text("gaps", arrays(close, opens=opens)) == "gap up 0.0\nlargest gap up 2.0, 3 sessions ago, open"

    def test_a_gap_is_filled_when_a_later_price_came_back_to_the_close_before_it(self):
        close, opens = [100.0] * 10, [100.0] * 10
        close[6:], opens[6:] = [105.0, 101.0, 105.0, 105.0], [104.0, 105.0, 101.0, 105.0]
        assert "3 sessions ago, filled" in text("gaps", arrays(close, opens=opens))

    def test_small_gaps_are_not_told(self):
        assert text("gaps", arrays([100.0] * 5, opens=[100.5] * 5)) == "gap up 0.2"


def test_a_block_with_a_number_that_is_none_is_left_out():
    assert text("gaps", arrays([100.0] * 5, opens=[100.0] * 4 + [np.nan])) == ""
    assert text("strength", arrays(np.full(30, 100.0)), benchmark=arrays(np.zeros(30))) == ""


def test_an_open_that_nobody_knows_hides_no_gap():
    told = text("gaps", arrays([100.0] * 5, opens=[100.0, 104.0, np.nan, 100.0, 100.0]))
    assert told.splitlines()[1].startswith("largest gap up 2.0, 3 sessions ago")


class TestStrength:
    def test_it_is_the_return_less_that_of_the_benchmark(self):
        own, other = np.full(30, 100.0), np.full(30, 50.0)
        own[-1], other[-1] = 110.0, 52.0
        assert text("strength", arrays(own), benchmark=arrays(other)) == "strength_20 up 6.0"

    def test_a_benchmark_of_other_sessions_is_compared_between_the_same_moments(self):
        own, other = np.full(30, 100.0), np.full(60, 50.0)
        own[-1], other[-1] = 110.0, 52.0
        benchmark = arrays(other)
        half = benchmark._replace(end=np.arange(1, 61, dtype=np.int64) * DAY // 2)
        assert text("strength", arrays(own), benchmark=half) == "strength_20 up 6.0"

    def test_without_a_benchmark_or_with_one_that_began_later_there_is_no_block(self):
        late = arrays(np.full(3, 50.0))._replace(end=np.array([28, 29, 30], np.int64) * DAY)
        assert text("strength", arrays(np.full(30, 100.0))) == ""
        assert text("strength", arrays(np.full(30, 100.0)), benchmark=late) == ""


class TestCalendar:
    @pytest.mark.parametrize(
        ("as_of", "told"),
        [
            (datetime(2005, 2, 25, 21, tzinfo=UTC), "next session Monday, monthly expiry in 15 sessions"),
            # presidents' day
            (datetime(2005, 2, 18, 21, tzinfo=UTC), "next session Tuesday, monthly expiry in 19 sessions"),
            # the third Friday was Good Friday
            (datetime(2008, 3, 19, 20, tzinfo=UTC), "next session Thursday, monthly expiry in 1 sessions"),
            (datetime(2005, 2, 17, 21, tzinfo=UTC), "next session Friday, monthly expiry in 1 sessions"),
        ],
    )
    def test_the_weekday_and_the_sessions_to_the_third_friday(self, as_of, told):
        assert text("calendar", arrays([1.0]), as_of=as_of) == told

    def test_other_calendars_have_no_expiry(self):
        assert text("calendar", arrays([1.0]), calendar="24/7") == "next session Saturday"


def test_bars_show_moves_ranges_and_volumes_against_the_mean_before():
    volume = [10.0] * 5 + [25.0]
    assert text("bars", arrays([100.0] * 5 + [104.0], volume=volume), bars=1) == (
        "bars: move in ATR and %, range in ATR, volume to its mean\n0 ago: +2.0 +4.0% 1.0 2.5"
    )


def test_a_volume_that_nobody_knows_is_left_out():
    assert text("bars", arrays([100.0] * 3, volume=[0.0] * 3), bars=1).endswith("0 ago: +0.0 +0.0% 1.0")


@pytest.mark.parametrize("block", sorted(BAR_BLOCKS))
def test_no_block_sees_the_future_or_a_split_to_come(block):
    bars, index = sample_bars("AAPL"), sample_bars("MSFT")
    before = datetime(2005, 2, 24, 21, tzinfo=UTC)  # two sessions before a split of two for one

    def told(own, other):
        own, other = (to_bar_arrays(one).complete_at(before).adjust_splits() for one in (own, other))
        return text(block, own, benchmark=other, as_of=before)

    assert told(bars, index) == told(bars_as_of(bars, before), bars_as_of(index, before)) != ""


@pytest.mark.parametrize("block", sorted(set(BAR_BLOCKS) - {"calendar", "levels"}))
def test_a_split_changes_no_block(block):
    bars = sample_bars("AAPL")
    after = datetime(2005, 3, 4, 21, tzinfo=UTC)
    known = bars_as_of(bars, after)
    adjusted = to_bar_arrays(known).adjust_splits()
    # the same share without the split: prices before it halved, volumes doubled
    split = known.copy()
    earlier = split["end"] < pd.Timestamp("2005-02-27", tz="UTC")
    split.loc[earlier, ["open", "high", "low", "close"]] /= 2
    split.loc[earlier, "volume"] *= 2
    split.loc[split["start"] > pd.Timestamp("2005-02-01", tz="UTC"), "split"] = 1.0
    plain = to_bar_arrays(split).adjust_splits()
    assert text(block, adjusted, as_of=after) == text(block, plain, as_of=after)


def test_the_moment_decides_the_calendar_not_the_last_bar():
    assert text("calendar", arrays([1.0]), as_of=FRIDAY + timedelta(days=1)).startswith("next session Monday")
