import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from osiris.core.errors import SourceUnavailable
from osiris.market.bar_jumps import find_jumps
from osiris.market.calendars import daily_frame, intraday_frame
from osiris.market.sample import sample_bars
from osiris.market.yahoo import NoUsableBars, YahooClient
from tests.market import yahoo_server
from tests.market.yahoo_server import YahooServer

START, END = datetime(2005, 1, 3, tzinfo=UTC), datetime(2005, 4, 1, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[YahooServer]:
    with YahooServer({ticker: sample_bars(ticker) for ticker in ("AAPL", "MSFT")}) as running:
        yield running


def raw(ticker: str, start: datetime, end: datetime) -> pd.DataFrame:
    bars = sample_bars(ticker)
    return bars[(bars["start"] >= start) & (bars["end"] <= end)].reset_index(drop=True)


def test_bars_are_as_traded_with_the_split_on_its_ex_date(server):
    bars = YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    expected = raw("AAPL", START, END).assign(source="yahoo")
    pd.testing.assert_frame_equal(bars, expected, rtol=1e-6, check_exact=False)
    assert bars.loc[bars["split"] != 1, "start"].dt.date.astype(str).tolist() == ["2005-02-28"]
    assert find_jumps(bars).empty


def test_splits_after_the_range_are_undone_too(server):
    end = datetime(2005, 2, 1, tzinfo=UTC)
    bars = YahooClient(server.url).fetch_daily("AAPL", START, end, as_of=end)
    np.testing.assert_allclose(bars["close"], raw("AAPL", START, end)["close"], rtol=1e-6)
    np.testing.assert_allclose(bars["volume"], raw("AAPL", START, end)["volume"], rtol=1e-6)


def test_one_ticker_costs_one_chart_request(server):
    YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    assert [ticker for ticker, _ in server.charts] == ["AAPL"]


def test_a_bar_that_is_not_complete_is_left_out(server):
    during = datetime(2005, 3, 16, 20, 59, tzinfo=UTC)
    after = datetime(2005, 3, 16, 21, 0, tzinfo=UTC)
    before_close = YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=during)
    after_close = YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=after)
    assert len(after_close) == len(before_close) + 1
    assert after_close["end"].iloc[-1] == after


def test_null_bars_are_dropped_and_a_split_on_one_moves_to_the_next(server):
    server.nulls = {"2005-02-10", "2005-02-28"}
    bars = YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    days = bars["start"].dt.date.astype(str)
    assert len(bars) == len(raw("AAPL", START, END)) - 2
    assert not set(days) & server.nulls
    assert days[bars["split"] == 2].tolist() == ["2005-03-01"]


def test_a_row_on_a_holiday_is_dropped(server):
    holiday = server.bars["AAPL"].iloc[[1250]].assign(start=pd.Timestamp("2005-02-21 14:30", tz="UTC"))
    server.bars["AAPL"] = pd.concat([server.bars["AAPL"], holiday]).sort_values("start", ignore_index=True)
    bars = YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    assert len(bars) == len(raw("AAPL", START, END))


def test_a_calendar_of_another_time_zone_is_refused(server):
    with pytest.raises(NoUsableBars, match=r"prices\.calendars"):
        YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END, calendar="XTKS")


def test_a_limit_is_unavailable_and_is_not_hammered(server):
    server.behaviour = yahoo_server.LIMIT
    with pytest.raises(SourceUnavailable, match="429") as caught:
        YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    assert not isinstance(caught.value, NoUsableBars)
    assert len(server.charts) <= 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("120", 120), ("nonsense", None), ("Fri, 01 Jan 2100 00:00:00 GMT", 1e9)],
)
def test_a_limit_that_says_how_long_is_understood(server, header, seconds):
    server.behaviour, server.retry_after = yahoo_server.LIMIT, header
    with pytest.raises(SourceUnavailable, match="429") as caught:
        YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    assert caught.value.retry_after is None if seconds is None else caught.value.retry_after >= seconds


def test_dividends_leave_raw_prices_as_they_are(server):
    server.dividends = {"2005-02-09": 0.08, "2005-03-09": 5.0}
    bars = YahooClient(server.url).fetch_daily("MSFT", START, END, as_of=END)
    np.testing.assert_allclose(bars["close"], raw("MSFT", START, END)["close"], rtol=1e-6)


class TestIntraday:
    """Hourly bars of two sessions of AAPL before its split of 2005-02-28, and one after."""

    DAYS = ("2005-02-24", "2005-02-25", "2005-02-28")

    @pytest.fixture
    def hours(self, server):
        parts = []
        for day, price in zip(self.DAYS, (90.0, 88.0, 44.0), strict=True):
            starts = pd.date_range(f"{day} 14:30", periods=7, freq="60min", tz="UTC")
            rows = pd.DataFrame([(price, price + 1, price - 1, price)] * 7, columns=["open", "high", "low", "close"])
            parts.append(intraday_frame(starts, rows.assign(volume=7.0), "XNYS", "60m", "test"))
        server.intraday["AAPL", "60m"] = pd.concat(parts, ignore_index=True)
        return server.intraday["AAPL", "60m"]

    def fetch(self, server, end="2005-02-28 21:00", interval="60m"):
        start, end = (pd.Timestamp(moment, tz="UTC").to_pydatetime() for moment in ("2005-02-24", end))
        return YahooClient(server.url).fetch_intraday("AAPL", start, end, interval)

    def test_they_are_as_traded_too(self, server, hours):
        bars = self.fetch(server)
        expected = hours.assign(source="yahoo")
        pd.testing.assert_frame_equal(bars.drop(columns="split"), expected.drop(columns="split"), rtol=1e-6)

    def test_a_split_takes_effect_with_the_first_of_its_day(self, server, hours):
        split = self.fetch(server).set_index("start")["split"]
        assert split[split != 1].to_dict() == {pd.Timestamp("2005-02-28 14:30", tz="UTC"): 2.0}

    def test_the_last_one_of_a_session_ends_with_it(self, server, hours):
        assert f"{self.fetch(server)['end'][6]:%H:%M}" == "21:00"

    def test_one_that_is_not_complete_is_left_out(self, server, hours):
        assert len(self.fetch(server, end="2005-02-25 16:29")) == 7 + 1

    def test_an_answer_given_before_is_not_taken_for_todays(self, server, hours):
        server.intraday["AAPL", "60m"] = hours[:7]
        assert len(self.fetch(server)) == 7
        server.intraday["AAPL", "60m"] = hours
        assert len(self.fetch(server)) == 21

    def test_an_empty_answer_is_about_this_ticker_alone(self, server, hours):
        with pytest.raises(NoUsableBars):
            self.fetch(server, interval="5m")

    def test_a_limit_is_unavailable(self, server, hours):
        server.behaviour = yahoo_server.LIMIT
        with pytest.raises(SourceUnavailable, match="429"):
            self.fetch(server)


def test_a_bar_is_taken_only_when_its_last_trades_are_in():
    now = pd.Timestamp.now(tz="UTC").floor("min")
    day = pd.DataFrame([(100.0, 101.0, 99.0, 100.0)] * 2, columns=["open", "high", "low", "close"])
    days = daily_frame(
        pd.DatetimeIndex([now.normalize() - pd.Timedelta(days=n) for n in (2, 1)]).tz_localize(None), day, "24/7", "t"
    )
    starts = pd.date_range(now - pd.Timedelta(hours=3), now, freq="1min")
    minutes = intraday_frame(starts, day.iloc[[0] * len(starts)], "24/7", "1m", "t")
    with YahooServer({"BTC-USD": days}, zone="UTC", calendar="24/7") as server:
        server.intraday["BTC-USD", "1m"] = minutes
        start = (now - pd.Timedelta(hours=3)).to_pydatetime()
        bars = YahooClient(server.url).fetch_intraday("BTC-USD", start, now.to_pydatetime(), "1m", calendar="24/7")
    assert pd.Timedelta(minutes=29) <= now - bars["end"].iloc[-1] <= pd.Timedelta(minutes=31)


def test_a_refused_crumb_is_renewed_once_and_then_works(server):
    server.behaviour = yahoo_server.DENIED_ONCE
    bars = YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    assert len(bars) == len(raw("AAPL", START, END))
    assert len(server.charts) == 2
    assert server.charts[1][1]["crumb"] == f"crumb{server.crumbs}"


def test_a_crumb_that_stays_refused_is_unavailable(server):
    server.behaviour = yahoo_server.DENIED
    with pytest.raises(SourceUnavailable, match="401") as caught:
        YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    assert not isinstance(caught.value, NoUsableBars)
    assert len(server.charts) == 2


@pytest.mark.parametrize("behaviour", [yahoo_server.EMPTY, yahoo_server.UNKNOWN])
def test_an_empty_answer_is_about_this_ticker_alone_and_never_a_delisting(server, behaviour):
    server.behaviour = behaviour
    with pytest.raises(NoUsableBars, match="check the symbol") as caught:
        YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    assert "delisted" not in str(caught.value)


@pytest.mark.parametrize("behaviour", [yahoo_server.TRUNCATED, yahoo_server.GARBAGE])
def test_a_broken_answer_is_unavailable(server, behaviour):
    server.behaviour = behaviour
    with pytest.raises(SourceUnavailable) as caught:
        YahooClient(server.url).fetch_daily("AAPL", START, END, as_of=END)
    assert not isinstance(caught.value, NoUsableBars)


def test_a_server_that_hangs_is_given_up_after_the_timeout(server):
    server.behaviour = yahoo_server.HANG
    began = time.monotonic()
    with pytest.raises(SourceUnavailable, match="Timeout"):
        YahooClient(server.url, timeout=0.3).fetch_daily("AAPL", START, END, as_of=END)
    assert time.monotonic() - began < 10


def test_a_crumb_that_never_comes_is_given_up_after_the_timeout(server):
    server.behaviour = yahoo_server.DENIED_AND_HANG
    began = time.monotonic()
    with pytest.raises(SourceUnavailable):
        YahooClient(server.url, timeout=0.3).fetch_daily("AAPL", START, END, as_of=END)
    assert time.monotonic() - began < 10


def test_a_refusal_is_not_remembered(server):
    yahoo = YahooClient(server.url)
    server.behaviour = yahoo_server.UNKNOWN
    with pytest.raises(NoUsableBars):
        yahoo.fetch_daily("AAPL", START, END, as_of=END)
    server.behaviour = yahoo_server.GOOD
    assert len(yahoo.fetch_daily("AAPL", START, END, as_of=END)) == len(raw("AAPL", START, END))


def test_nobody_listening_is_unavailable():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(SourceUnavailable, match="ConnectionError") as caught:
        YahooClient(f"http://127.0.0.1:{port}").fetch_daily("AAPL", START, END, as_of=END)
    assert not isinstance(caught.value, NoUsableBars)
    assert "delisted" not in str(caught.value)


@pytest.mark.system
def test_importing_the_module_does_not_import_yfinance():
    code = "import sys, osiris.market.yahoo; sys.exit('yfinance' in sys.modules or 'exchange_calendars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
