"""Which prices jump too far for their market: bars of XNYS, quiet round 100, and a change on 2005-03-01."""

import numpy as np
import pandas as pd
import pytest

from osiris.market.bar_jumps import describe_jumps, find_jumps
from osiris.market.calendars import all_session_bounds, daily_frame
from osiris.market.sample import sample_bars

CHANGE = "2005-03-01"
FAR = [
    9,
    12,
    16,
    18,
    30,
    31 / 1000,
    35,
    40,
    49.4,
    60,
    100,
    190,
    1 / 2,
    1 / 3,
    1 / 10,
    1 / 20,
    1 / 30,
    1 / 100,
    2,
    4,
    50,
]
SMALL = [1.5, 4 / 3, 1.25, 1.2, 1.1, 1.05]


def bars(ratio=1.0, *, split=1.0, off=0.0, moves=0.003, rows=40, back=False, seed=1):
    """A walk with usual moves of that size whose prices are divided by `ratio` from `CHANGE` on (`back`: that day)."""
    rng = np.random.default_rng(seed)
    last = np.searchsorted(all_session_bounds("XNYS")[0], pd.Timestamp("2005-03-10", tz="UTC").value)
    dates = pd.DatetimeIndex(all_session_bounds("XNYS")[0][last - rows : last]).normalize()
    night, day = rng.normal(0, moves, (2, rows))
    opens = 100 * np.exp(np.cumsum(night + np.append(0, day[:-1])))
    values = np.array([opens, opens * np.exp(day)])
    changed = dates == CHANGE if back else dates >= CHANGE
    values[:, changed] *= (1 + off) / ratio
    frame = pd.DataFrame(
        {"open": values[0], "high": values.max(0) * 1.002, "low": values.min(0) * 0.998, "close": values[1]}
    )
    return daily_frame(dates, frame.assign(split=np.where(dates == CHANGE, split, 1.0)), "XNYS", "test")


def found(frame):
    return find_jumps(frame)["start"].dt.strftime("%Y-%m-%d").tolist()


@pytest.mark.parametrize("ratio", FAR)
@pytest.mark.parametrize("off", [-0.15, -0.08, 0.0, 0.05])
def test_a_split_that_nobody_recorded_is_held_back_however_odd_its_ratio_and_its_open(ratio, off):
    assert found(bars(ratio, off=off)) == [CHANGE]


@pytest.mark.parametrize("ratio", [*FAR, *SMALL])
def test_a_recorded_split_is_not(ratio):
    for off in (-0.12, 0.1) if abs(np.log(ratio)) > 1 else (0.0,):
        assert found(bars(ratio, split=ratio, off=off)) == []


@pytest.mark.parametrize("ratio", [*FAR, *SMALL])
def test_a_split_recorded_on_prices_that_are_adjusted_already_is_held_back(ratio):
    assert found(bars(split=ratio)) == [CHANGE]


@pytest.mark.parametrize("ratio", SMALL)
def test_a_small_split_of_a_quiet_share_is_held_back(ratio):
    assert found(bars(ratio)) == [CHANGE]


@pytest.mark.parametrize("off", [-0.15, -0.08, -0.04, 0.03])
def test_three_for_two_is_held_back_with_its_open_some_percent_off(off):
    assert found(bars(1.5, off=off)) == [CHANGE]


@pytest.mark.parametrize("recorded", [1.5, 1.1, 2.0, 10.0])
def test_a_split_recorded_twice_over_or_the_wrong_way_round_is_held_back(recorded):
    assert found(bars(recorded, split=recorded**2)) == [CHANGE]
    assert found(bars(recorded, split=1 / recorded)) == [CHANGE]
    twice = bars(recorded, split=recorded)
    twice.loc[twice["start"].dt.strftime("%Y-%m-%d") == "2005-03-02", "split"] = recorded
    assert found(twice) == ["2005-03-02"]


@pytest.mark.parametrize("change", [0.7, 1.3])
def test_a_plain_gap_of_thirty_percent_is_not(change):
    assert found(bars(1 / change)) == []


def test_gaps_that_are_usual_in_their_market_are_not():
    assert found(bars(1.6, moves=0.07)) == []
    assert found(bars(1.1, moves=0.03)) == []


def test_pence_for_pounds_are_held_back_for_good_or_for_a_day():
    assert found(bars(100)) == [CHANGE]
    assert found(bars(1 / 100, back=True)) == [CHANGE, "2005-03-02"]


@pytest.mark.parametrize("column", ["high", "low", "close"])
def test_one_wrong_price_within_a_bar_is_held_back(column):
    frame = bars()
    row = frame.index[frame["start"].dt.strftime("%Y-%m-%d") == CHANGE][0]
    frame.loc[row, column] *= 0.01 if column == "low" else 100
    frame.loc[row, "high"] = frame.loc[row, ["high", "close"]].max()
    assert found(frame)[0] == CHANGE


def test_what_a_person_spoke_for_is_not():
    frame = bars(2)
    frame["source"] = "test+confirmed"
    assert found(frame) == []


def test_a_sentence_names_the_exchange_s_day_and_the_ratio():
    (text,) = describe_jumps("TTNP", bars(1 / 30, moves=0.0), "XNYS")
    assert text == "TTNP 2005-03-01: the price jumps by 0.03333 to 1 without a recorded split"
    (text,) = describe_jumps("AAPL", bars(split=4, moves=0.0), "XNYS")
    assert text == "AAPL 2005-03-01: the price jumps by 0.25 to 1 beyond the recorded split of 4"


@pytest.mark.parametrize(("ticker", "held"), [
    ("AAPL", ["2000-09-29", "2002-07-17"]), ("FB", []), ("GOOG", ["2006-02-01"]), ("IBM", ["2000-10-18", "2002-04-08"]),
    ("MSFT", ["2000-04-24", "2000-12-15", "2004-11-15"]),
])  # fmt: skip
def test_of_thirteen_years_of_five_shares_eight_real_days_are_held_back_and_no_recorded_split(ticker, held):
    """AAPL fell to 1/1.9 overnight, which is what a split looks like; MSFT paid a tenth of its price on 2004-11-15."""
    assert found(sample_bars(ticker)) == held
