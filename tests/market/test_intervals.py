"""What bars of a file last: a bar that is taken for shorter than it is would be known before it ended."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from osiris.config.settings import PricesSettings
from osiris.market.calendars import session_dates
from osiris.market.file_import import ImportOptions, scan_bars

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
PRICES = PricesSettings(calendars={"7203.T": "XTKS", "0700.HK": "XHKG", "ES=F": "CMES"})
DAYS = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"]
SESSIONS = [f"{date:%Y-%m-%d}" for date in session_dates("XNYS") if date.year == 2023]


@pytest.fixture
def scan(tmp_path):
    def scanned(moments, ticker="AAPL", **form):
        rows = "".join(f"{ticker},{moment},100,101,99,100\n" for moment in moments)
        (tmp_path / "bars.csv").write_text("ticker,ts,open,high,low,close\n" + rows)
        bars, bad = scan_bars(tmp_path / "bars.csv", PRICES, AS_OF, ImportOptions(**form))
        return {one.interval: one.frame for one in bars}, [row.reason for row in bad]

    return scanned


def hours(*clocks, offset="-05:00", days=DAYS):
    return [f"{day}T{clock}:00{offset}" for day in days for clock in clocks]


@pytest.mark.parametrize(
    ("dates", "kind"),
    [
        (["2023-12-26", "2024-01-02", "2024-01-08"], "weekly"),
        (["2023-12-18", "2023-12-25", "2024-01-01", "2024-01-08", "2024-01-15"], "weekly"),
        (["2023-12-17", "2023-12-24", "2023-12-31", "2024-01-07"], "weekly"),
        (["2024-01-05", "2024-01-12"], "weekly"),
        (["2024-01-08", "2024-01-15"], "weekly"),
        (["2023-12-26", "2024-01-02", "2024-01-08", "2024-01-09"], "weekly"),
        ([f"2023-{month:02d}-01" for month in range(1, 13)], "monthly"),
        (["2023-03-31", "2023-06-30", "2023-09-29", "2023-12-29"], "quarterly"),
        (SESSIONS[0:20:2], "every-2-sessions"),
        (SESSIONS[:10] + SESSIONS[10:60:5], "weekly"),
        (SESSIONS[:40:2] + SESSIONS[40:90], "every-2-sessions"),
    ],
)
def test_bars_of_more_than_a_session_are_refused_by_name(scan, dates, kind):
    found, (reason,) = scan(dates)
    assert found == {}
    assert f"{kind} bars" in reason
    assert "--daily" in reason


def test_a_date_on_which_the_exchange_was_closed_is_named_and_makes_no_step(scan):
    found, (reason,) = scan(["2024-01-02", "2024-01-06"])
    assert len(found["1d"]) == 1
    assert "2024-01-06 is no session of XNYS" in reason


def test_a_coin_s_weeks_are_weeks_too(scan):
    assert "weekly bars" in scan(["2024-01-01", "2024-01-08", "2024-01-15"], "BTC-USD")[1][0]


@pytest.mark.parametrize(
    "dates", [SESSIONS[:1], SESSIONS[:2], [*SESSIONS[:2], SESSIONS[6]], SESSIONS[:9] + SESSIONS[14:20]]
)
def test_daily_bars_with_halts_are_daily(scan, dates):
    found, bad = scan(dates)
    assert (len(found["1d"]), bad) == (len(dates), [])


def test_a_person_may_say_that_far_apart_is_daily(scan):
    found, bad = scan(["2024-01-02", "2024-01-09", "2024-01-16"], daily=True)
    assert (len(found["1d"]), bad) == (3, [])


@pytest.mark.parametrize(
    ("moments", "reason"),
    [
        (hours("09:30"), "one a session, at its open 09:30"),
        (hours("10:30"), "one a session, most at 10:30"),
        (hours("09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"), "60 minutes cut at the clock (10:00)"),
        (hours("10:00", "11:00", "12:00", "13:00", "14:00", "15:00"), "60 minutes cut at the clock"),
        (hours("09:00", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"), "60 minutes cut at the clock"),
        (hours("09:30", "13:30"), "last 240 minutes"),
        (hours("09:30", "11:30", "13:30", "15:30"), "last 120 minutes"),
        (hours("10:30", "11:30", "12:30", "13:30", "14:30", "15:30", "16:00"), "stamped with their ends"),
        (hours("09:37", "11:01"), "apart and more"),
    ],
)
def test_bars_inside_a_session_that_are_not_what_they_seem_are_refused(scan, moments, reason):
    found, bad = scan(moments)
    assert found == {}
    assert reason in bad[0]
    assert len(bad) == 1


def test_one_bar_a_session_at_its_open_is_daily_where_a_person_says_so(scan):
    found, bad = scan(hours("09:30"), daily=True)
    assert (str(found["1d"]["end"][0]), bad) == ("2024-01-02 21:00:00+00:00", [])


def test_one_hour_of_each_day_is_not_daily_whatever_a_person_says(scan):
    assert scan(hours("10:30"), daily=True)[0] == {}


@pytest.mark.parametrize(
    ("clocks", "interval"),
    [
        (["09:30", "10:30", "11:30", "12:30", "13:30", "14:30", "15:30"], "60m"),
        (["09:30", "10:00", "10:30", "11:00"], "30m"),
        (["09:30", "09:45", "10:00", "10:15"], "15m"),
        (["09:30", "09:31", "09:33", "09:35", "09:37", "09:39", "09:40"], "1m"),
    ],
)
def test_bars_from_the_open_on_have_the_length_that_they_are_apart(scan, clocks, interval):
    found, bad = scan(hours(*clocks))
    assert (list(found), bad) == ([interval], [])


def test_an_hour_at_midnight_without_an_offset_is_no_day(scan):
    found, bad = scan([f"2024-01-03T{hour:02d}:00:00" for hour in range(24)], "BTC-USD")
    assert (found, len(bad)) == ({}, 24)
    found, bad = scan([f"2024-01-03T{hour:02d}:00:00" for hour in range(24)], "BTC-USD", timezone="UTC")
    assert (len(found["60m"]), bad) == (24, [])


class TestOtherClocks:
    def test_a_coin_s_hours_may_have_any_offset(self, scan):
        moments = pd.date_range("2024-01-01", periods=48, freq="h", tz="Europe/Berlin")
        found, bad = scan([moment.isoformat() for moment in moments], "BTC-USD")
        assert (len(found["60m"]), bad) == (48, [])
        assert str(found["60m"]["start"][0]) == "2023-12-31 23:00:00+00:00"

    @pytest.mark.parametrize("zone", ["America/Chicago", "UTC"])
    def test_an_evening_belongs_to_the_next_session(self, scan, zone):
        moments = pd.date_range("2024-01-02 17:00", periods=23, freq="h", tz="America/Chicago").tz_convert(zone)
        found, bad = scan([moment.isoformat() for moment in moments], "ES=F")
        assert (len(found["60m"]), bad) == (23, [])
        assert str(found["60m"]["start"][0]) == "2024-01-02 23:00:00+00:00"

    @pytest.mark.parametrize("days", [DAYS[:3], DAYS])
    def test_a_currency_s_day_that_begins_the_evening_before_is_not_taken_a_day_early(self, scan, days):
        found, (reason,) = scan([f"{day}T22:00:00Z" for day in days], "EURUSD=X")
        assert found == {}
        assert "most at 22:00" in reason
        assert scan([f"{day}T22:00:00Z" for day in days], "EURUSD=X", daily=True)[0] == {}

    def test_a_day_of_a_broker_s_clock_is_no_day_of_a_currency(self, scan):
        found, (reason,) = scan([f"{day}T00:00:00+02:00" for day in DAYS[:3]], "EURUSD=X")
        assert found == {}
        assert "begin at 22:00 UTC" in reason

    def test_yahoo_s_currency_days_are_london_s(self, scan):
        found, bad = scan(["2024-05-01T00:00:00+01:00", "2024-05-02T00:00:00+01:00"], "EURUSD=X")
        assert (str(found["1d"]["start"][0]), bad) == ("2024-05-01 00:00:00+00:00", [])

    @pytest.mark.parametrize(
        ("ticker", "offset", "clocks"),
        [
            ("7203.T", "+09:00", ["09:00", "10:00", "11:00", "12:30", "13:30", "14:30"]),
            ("7203.T", "+09:00", ["09:00", "10:00", "11:00", "12:00", "13:00", "14:00"]),
            ("0700.HK", "+08:00", ["09:30", "10:30", "11:30", "13:00", "14:00", "15:00"]),
        ],
    )
    def test_a_lunch_break_does_not_hide_the_hours(self, scan, ticker, offset, clocks):
        moments = hours(*clocks, offset=offset, days=["2024-01-04", "2024-01-05"])
        found, bad = scan(moments, ticker)
        assert len(found.get("60m", [])) == 12, bad


NEW_YORK_HALVES = [f"{9 + (number + 1) // 2:02d}:{30 * ((number + 1) % 2):02d}" for number in range(13)]
TOKYO = ("09:00", "10:00", "11:00", "12:30", "13:30", "14:30")


class TestBreaks:
    @pytest.mark.parametrize("ticker", ["7203.T", "0700.HK"])
    def test_half_hours_are_no_hours(self, scan, ticker):
        morning = (
            ("09:00", "09:30", "10:00", "10:30", "11:00")
            if ticker == "7203.T"
            else ("09:30", "10:00", "10:30", "11:00", "11:30")
        )
        afternoon = (
            ("12:30", "13:00", "13:30", "14:00", "14:30")
            if ticker == "7203.T"
            else ("13:00", "13:30", "14:00", "14:30", "15:00", "15:30")
        )
        offset = "+09:00" if ticker == "7203.T" else "+08:00"
        days = ["2024-01-09", "2024-01-10", "2024-01-11"]
        found, reasons = scan(hours(*morning, *afternoon, offset=offset, days=days), ticker)
        assert (list(found), reasons) == (["30m"], [])

    @pytest.mark.parametrize("afternoon", [("12:30", "13:30", "14:30"), ("13:00", "14:00")], ids=["anew", "on"])
    def test_hours_go_on_or_begin_anew(self, scan, afternoon):
        found, reasons = scan(
            hours("09:00", "10:00", "11:00", *afternoon, offset="+09:00", days=["2024-01-10", "2024-01-11"]), "7203.T"
        )
        assert (list(found), reasons) == (["60m"], [])

    def test_hours_of_both_kinds_are_not_taken(self, scan):
        mixed = hours(
            "09:00", "10:00", "11:00", "12:30", "13:00", "14:00", offset="+09:00", days=["2024-01-10", "2024-01-11"]
        )
        assert scan(mixed, "7203.T")[1] != []


@pytest.mark.parametrize("moment", ["{}T00:00Z", "{}T09:00+09:00"])
def test_a_midnight_in_utc_that_is_the_open_is_in_doubt(scan, moment):
    moments = [moment.format(day) for day in ("2024-01-10", "2024-01-11", "2024-01-12")]
    found, (reason,) = scan(moments, "7203.T")
    assert found == {}
    assert "at its open 09:00: daily bars, or the first of each day" in reason
    assert list(scan(moments, "7203.T", daily=True)[0]) == ["1d"]


class TestTwoLengths:
    def test_hours_after_half_hours_are_refused(self, scan):
        moments = hours(*NEW_YORK_HALVES, days=DAYS[:4]) + hours(
            *NEW_YORK_HALVES[::2], days=["2024-01-08", "2024-01-09", "2024-01-10"]
        )
        found, (reason,) = scan(moments)
        assert found == {}
        assert "are 60 minutes apart from 2024-01-08" in reason

    def test_half_hours_after_hours_are_not_taken_for_hours(self, scan):
        moments = hours(*NEW_YORK_HALVES[::2], days=SESSIONS[:20]) + hours(*NEW_YORK_HALVES, days=SESSIONS[20:22])
        found, reasons = scan(moments)
        assert len(found["60m"]) == 20 * 7 + 2, "the last half hour of a day ends with the session"
        assert sum("another bar begins before this one ends" in reason for reason in reasons) == 2 * 6

    @pytest.mark.parametrize("length", [7, 13], ids=["hours", "half hours"])
    def test_a_first_session_of_one_bar_is_none_of_longer_ones(self, scan, length):
        clocks = NEW_YORK_HALVES[::2] if length == 7 else NEW_YORK_HALVES
        found, reasons = scan(hours(clocks[-1], days=DAYS[:1]) + hours(*clocks, days=DAYS[1:]))
        assert (len(found), reasons) == (1, [])

    def test_a_day_with_gaps_is_no_day_of_hours(self, scan):
        lacking = [clock for clock in NEW_YORK_HALVES if clock not in ("10:00", "11:00", "13:00")]
        found, reasons = scan(hours(*NEW_YORK_HALVES, days=DAYS[:4]) + hours(*lacking, days=DAYS[4:]))
        assert (list(found), reasons) == (["30m"], [])


def test_the_last_moment_of_a_day_names_it_where_a_person_says_so(scan):
    moments = [f"{day}T23:59:59.999Z" for day in DAYS]
    assert scan(moments, "BTC-USD")[0] == {}
    found, reasons = scan(moments, "BTC-USD", daily=True)
    assert reasons == []
    assert [f"{start:%Y-%m-%d}" for start in found["1d"]["start"]] == DAYS
