import subprocess
import sys
from datetime import UTC, datetime

import pandas as pd
import pytest

from osiris.config.settings import PricesSettings
from osiris.core.errors import BadInput, SettingsError
from osiris.market.calendars import (
    FRAME_COLUMNS,
    calendar_of,
    closes_between,
    daily_frame,
    non_session_dates,
    session_bounds,
)


def bounds(calendar: str, date: str) -> tuple[str, str]:
    opened, closed = session_bounds(calendar, pd.DatetimeIndex([date]))
    return str(opened[0]), str(closed[0])


def test_a_session_lasts_from_its_open_to_its_close_in_utc():
    assert bounds("XNYS", "2005-02-28") == ("2005-02-28 14:30:00+00:00", "2005-02-28 21:00:00+00:00")


def test_summer_time_moves_the_session():
    assert bounds("XNYS", "2005-04-04") == ("2005-04-04 13:30:00+00:00", "2005-04-04 20:00:00+00:00")


def test_a_half_day_ends_early():
    assert bounds("XNYS", "2004-11-26")[1] == "2004-11-26 18:00:00+00:00"


def test_other_exchanges_have_their_own_hours():
    assert bounds("XLON", "2024-01-15") == ("2024-01-15 08:00:00+00:00", "2024-01-15 16:30:00+00:00")
    assert bounds("XTKS", "2024-01-15")[0] == "2024-01-15 00:00:00+00:00"
    assert bounds("24/7", "2024-01-13") == ("2024-01-13 00:00:00+00:00", "2024-01-14 00:00:00+00:00")


def test_sessions_reach_back_beyond_twenty_years():
    assert bounds("XNYS", "1990-01-02")[0] == "1990-01-02 14:30:00+00:00"


@pytest.mark.parametrize("date", ["2005-02-21", "2005-02-26", "1989-06-01"])
def test_a_date_without_a_session_is_named(date):
    with pytest.raises(BadInput, match=date):
        session_bounds("XNYS", pd.DatetimeIndex(["2005-02-25", date]))


def test_a_calendar_begins_where_the_package_knows_it_and_not_a_time_before_today():
    assert bounds("XTKS", "1997-01-06")[0] == "1997-01-06 00:00:00+00:00"
    assert bounds("XSHG", "2004-06-01")[1] == "2004-06-01 07:00:00+00:00"


@pytest.mark.parametrize(("date", "words"), [
    ("1985-06-03", "1985-06-03 is before 1990-01-02, where the calendar XNYS begins"),
    ("2199-01-04", "where the calendar XNYS ends"),
    ("2005-02-26", "2005-02-26 is no session of XNYS"),
])  # fmt: skip
def test_a_date_that_is_not_covered_is_not_said_to_be_no_session(date, words):
    with pytest.raises(BadInput, match=words):
        session_bounds("XNYS", pd.DatetimeIndex([date]))


def test_non_sessions_come_in_the_order_given():
    dates = pd.DatetimeIndex(["2005-02-26", "2005-02-25", "2005-02-21"])
    assert non_session_dates("XNYS", dates).strftime("%m-%d").tolist() == ["02-26", "02-21"]


@pytest.mark.parametrize("name", ["NOWHERE", "XBEL"])
def test_a_calendar_that_does_not_work_is_a_settings_error(name):
    with pytest.raises(SettingsError, match=name):
        session_bounds(name, pd.DatetimeIndex(["2005-02-25"]))


def test_sessions_between_are_whole_sessions_in_the_range():
    start, end = datetime(2005, 2, 17, 14, 30, tzinfo=UTC), datetime(2005, 2, 22, 21, 0, tzinfo=UTC)
    assert [str(c) for c in closes_between("XNYS", start, end)] == [
        "2005-02-17 21:00:00+00:00",
        "2005-02-18 21:00:00+00:00",
        "2005-02-22 21:00:00+00:00",
    ]
    assert len(closes_between("XNYS", start.replace(minute=31), end.replace(hour=20, minute=59))) == 1


def test_the_calendar_of_a_ticker_comes_from_settings_then_from_its_kind():
    prices = PricesSettings(calendar="XNYS", calendars={"VOD.L": "XLON", "ETH-USD": "24/5"})
    chosen = {t: calendar_of(t, prices) for t in ("AAPL", "VOD.L", "BTC-USD", "ETH-USD", "EURUSD=X", "BRK-B")}
    assert chosen == {
        "AAPL": "XNYS", "VOD.L": "XLON", "BTC-USD": "24/7", "ETH-USD": "24/5", "EURUSD=X": "24/5", "BRK-B": "XNYS",
    }  # fmt: skip


def test_daily_frames_are_sorted_and_typed_with_defaults():
    values = pd.DataFrame({"open": [2, 1], "high": [3, 2], "low": [1, 1], "close": [2, 1], "split": [None, 2]})
    frame = daily_frame(pd.DatetimeIndex(["2005-03-01", "2005-02-28"]), values, "XNYS", "test")
    assert tuple(frame.columns) == FRAME_COLUMNS
    assert frame["close"].tolist() == [1, 2]
    assert frame["volume"].tolist() == [0, 0]
    assert frame["split"].tolist() == [2, 1]
    assert frame["start"].dtype == frame["end"].dtype == "datetime64[us, UTC]"


@pytest.mark.system
def test_exchange_calendars_is_imported_on_first_use_only():
    code = "import sys, osiris.market.calendars; sys.exit('exchange_calendars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
