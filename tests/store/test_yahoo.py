import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from osiris.bar_frames import suspicious_jumps
from osiris.errors import SourceUnavailable
from osiris.store.sample import sample_bars
from osiris.store.yahoo import NothingUsable, Yahoo
from tests.store import yahoo_server
from tests.store.yahoo_server import YahooServer

START, END = datetime(2005, 1, 3, tzinfo=UTC), datetime(2005, 4, 1, tzinfo=UTC)


@pytest.fixture
def server() -> Iterator[YahooServer]:
    with YahooServer({ticker: sample_bars(ticker) for ticker in ("AAPL", "MSFT")}) as running:
        yield running


def raw(ticker: str, start: datetime, end: datetime) -> pd.DataFrame:
    bars = sample_bars(ticker)
    return bars[(bars["start"] >= start) & (bars["end"] <= end)].reset_index(drop=True)


def test_bars_are_as_traded_with_the_split_on_its_ex_date(server):
    bars = Yahoo(server.url).fetch("AAPL", START, END, as_of=END)
    expected = raw("AAPL", START, END).assign(source="yahoo")
    pd.testing.assert_frame_equal(bars, expected, rtol=1e-6, check_exact=False)
    assert bars.loc[bars["split"] != 1, "start"].dt.date.astype(str).tolist() == ["2005-02-28"]
    assert suspicious_jumps(bars).empty


def test_splits_after_the_range_are_undone_too(server):
    end = datetime(2005, 2, 1, tzinfo=UTC)
    bars = Yahoo(server.url).fetch("AAPL", START, end, as_of=end)
    np.testing.assert_allclose(bars["close"], raw("AAPL", START, end)["close"], rtol=1e-6)
    np.testing.assert_allclose(bars["volume"], raw("AAPL", START, end)["volume"], rtol=1e-6)


def test_one_ticker_costs_one_chart_request(server):
    Yahoo(server.url).fetch("AAPL", START, END, as_of=END)
    assert [ticker for ticker, _ in server.charts] == ["AAPL"]


def test_a_bar_that_is_not_complete_is_left_out(server):
    during = datetime(2005, 3, 16, 20, 59, tzinfo=UTC)
    after = datetime(2005, 3, 16, 21, 0, tzinfo=UTC)
    before_close = Yahoo(server.url).fetch("AAPL", START, END, as_of=during)
    after_close = Yahoo(server.url).fetch("AAPL", START, END, as_of=after)
    assert len(after_close) == len(before_close) + 1
    assert after_close["end"].iloc[-1] == after


def test_null_bars_are_dropped_and_a_split_on_one_moves_to_the_next(server):
    server.nulls = {"2005-02-10", "2005-02-28"}
    bars = Yahoo(server.url).fetch("AAPL", START, END, as_of=END)
    days = bars["start"].dt.date.astype(str)
    assert len(bars) == len(raw("AAPL", START, END)) - 2
    assert not set(days) & server.nulls
    assert days[bars["split"] == 2].tolist() == ["2005-03-01"]


def test_a_row_on_a_holiday_is_dropped(server):
    holiday = server.bars["AAPL"].iloc[[1250]].assign(start=pd.Timestamp("2005-02-21 14:30", tz="UTC"))
    server.bars["AAPL"] = pd.concat([server.bars["AAPL"], holiday]).sort_values("start", ignore_index=True)
    bars = Yahoo(server.url).fetch("AAPL", START, END, as_of=END)
    assert len(bars) == len(raw("AAPL", START, END))


def test_a_calendar_of_another_time_zone_is_refused(server):
    with pytest.raises(NothingUsable, match=r"prices\.calendars"):
        Yahoo(server.url).fetch("AAPL", START, END, as_of=END, calendar="XTKS")


def test_a_limit_is_unavailable_and_is_not_hammered(server):
    server.behaviour = yahoo_server.LIMIT
    with pytest.raises(SourceUnavailable, match="429") as caught:
        Yahoo(server.url).fetch("AAPL", START, END, as_of=END)
    assert not isinstance(caught.value, NothingUsable)
    assert len(server.charts) <= 2


def test_a_refused_crumb_is_renewed_once_and_then_works(server):
    server.behaviour = yahoo_server.DENIED_ONCE
    bars = Yahoo(server.url).fetch("AAPL", START, END, as_of=END)
    assert len(bars) == len(raw("AAPL", START, END))
    assert len(server.charts) == 2
    assert server.charts[1][1]["crumb"] == f"crumb{server.crumbs}"


def test_a_crumb_that_stays_refused_is_unavailable(server):
    server.behaviour = yahoo_server.DENIED
    with pytest.raises(SourceUnavailable, match="401") as caught:
        Yahoo(server.url).fetch("AAPL", START, END, as_of=END)
    assert not isinstance(caught.value, NothingUsable)
    assert len(server.charts) == 2


@pytest.mark.parametrize("behaviour", [yahoo_server.EMPTY, yahoo_server.UNKNOWN])
def test_an_empty_answer_is_about_this_ticker_alone_and_never_a_delisting(server, behaviour):
    server.behaviour = behaviour
    with pytest.raises(NothingUsable, match="check the symbol") as caught:
        Yahoo(server.url).fetch("AAPL", START, END, as_of=END)
    assert "delisted" not in str(caught.value)


@pytest.mark.parametrize("behaviour", [yahoo_server.TRUNCATED, yahoo_server.GARBAGE])
def test_a_broken_answer_is_unavailable(server, behaviour):
    server.behaviour = behaviour
    with pytest.raises(SourceUnavailable) as caught:
        Yahoo(server.url).fetch("AAPL", START, END, as_of=END)
    assert not isinstance(caught.value, NothingUsable)


def test_a_server_that_hangs_is_given_up_after_the_timeout(server):
    server.behaviour = yahoo_server.HANG
    began = time.monotonic()
    with pytest.raises(SourceUnavailable, match="Timeout"):
        Yahoo(server.url, timeout=0.3).fetch("AAPL", START, END, as_of=END)
    assert time.monotonic() - began < 10


def test_a_crumb_that_never_comes_is_given_up_after_the_timeout(server):
    server.behaviour = yahoo_server.DENIED_AND_HANG
    began = time.monotonic()
    with pytest.raises(SourceUnavailable):
        Yahoo(server.url, timeout=0.3).fetch("AAPL", START, END, as_of=END)
    assert time.monotonic() - began < 10


def test_a_refusal_is_not_remembered(server):
    yahoo = Yahoo(server.url)
    server.behaviour = yahoo_server.UNKNOWN
    with pytest.raises(NothingUsable):
        yahoo.fetch("AAPL", START, END, as_of=END)
    server.behaviour = yahoo_server.GOOD
    assert len(yahoo.fetch("AAPL", START, END, as_of=END)) == len(raw("AAPL", START, END))


def test_nobody_listening_is_unavailable():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(SourceUnavailable, match="ConnectionError") as caught:
        Yahoo(f"http://127.0.0.1:{port}").fetch("AAPL", START, END, as_of=END)
    assert not isinstance(caught.value, NothingUsable)
    assert "delisted" not in str(caught.value)


def test_importing_the_module_does_not_import_yfinance():
    code = "import sys, osiris.store.yahoo; sys.exit('yfinance' in sys.modules or 'exchange_calendars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
