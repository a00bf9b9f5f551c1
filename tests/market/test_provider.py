import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from osiris.config.settings import OutcomesSettings, PricesSettings, Settings
from osiris.core.errors import NoPrices, NotFound
from osiris.core.row_files import BadRows
from osiris.core.run_log import collect_warnings
from osiris.market.bar_store import BarStore
from osiris.market.calendars import closes_between, daily_frame, intraday_frame, session_bounds
from osiris.market.data_issues import DISPUTED
from osiris.market.importer import ImportMode, import_bars
from osiris.market.provider import BarProvider
from osiris.market.sample import load_sample, sample_bars
from osiris.market.yahoo import REPORTING_DELAY, YahooClient
from tests.market import yahoo_server
from tests.market.yahoo_server import YahooServer

START, END = datetime(2005, 1, 3, tzinfo=UTC), datetime(2005, 3, 10, 22, tzinfo=UTC)
TICKERS = ["AAPL", "IBM", "MSFT"]
SETTINGS = Settings()


@pytest.fixture
def server() -> Iterator[YahooServer]:
    with YahooServer({ticker: sample_bars(ticker) for ticker in TICKERS}) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path / "bars")


def desk(
    store: BarStore, url: str, source: str = "yahoo", pause: float = 900.0, tolerance: float = 0.02
) -> BarProvider:
    settings = Settings(prices=PricesSettings(source=source), outcomes=OutcomesSettings(tolerance=tolerance))
    return BarProvider(store, YahooClient(url, timeout=8.0), settings, pause)


def nobody() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def asked(server: YahooServer) -> list[str]:
    return [ticker for ticker, _ in server.charts]


def test_yahoo_comes_first_and_what_it_gave_is_kept(server, store):
    bars = desk(store, server.url).get_bars("AAPL", START, END, END)
    assert set(bars["source"]) == {"yahoo"}
    pd.testing.assert_frame_equal(store.get("AAPL"), bars)
    assert bars["split"].prod() == 2


def test_nothing_later_than_as_of_is_seen(server, store):
    as_of = datetime(2005, 2, 25, 20, 59, tzinfo=UTC)
    assert desk(store, server.url).get_bars("AAPL", START, END, as_of)["end"].max() < pd.Timestamp(as_of)
    load_sample(store, ["MSFT"])
    assert desk(store, server.url).get_bars("MSFT", START, END, as_of)["end"].max() < pd.Timestamp(as_of)


def test_only_what_is_missing_is_asked_for(server, store):
    prices = desk(store, server.url)
    prices.get_bars("AAPL", START, datetime(2005, 2, 1, 22, tzinfo=UTC), END)
    prices.get_bars("AAPL", START, END, END)
    assert [int(q["period1"]) for _, q in server.charts] == [
        int(pd.Timestamp("2005-01-03", tz="America/New_York").timestamp() - 86400 * 1),
        int(pd.Timestamp("2005-01-25", tz="America/New_York").timestamp()),
    ]
    desk(store, server.url).get_bars("AAPL", START, END, END)
    assert len(server.charts) == 2


def test_sessions_that_yahoo_lacks_are_not_asked_for_again_in_the_same_run(server, store):
    server.nulls = {"2005-02-10"}
    prices = desk(store, server.url)
    assert len(prices.get_bars("AAPL", START, END, END)) == len(prices.get_bars("AAPL", START, END, END))
    assert asked(server) == ["AAPL"]
    server.nulls = set()
    assert len(desk(store, server.url).get_bars("AAPL", START, END, END)) == 47


def test_the_local_store_alone_is_used_when_settings_say_so(server, store):
    load_sample(store, ["AAPL"])
    prices = desk(store, server.url, source="local")
    with collect_warnings() as notes:
        assert set(prices.get_bars("AAPL", START, END, END)["source"]) == {"sample"}
    assert server.charts == []
    assert notes == []


@pytest.mark.parametrize("behaviour", [yahoo_server.LIMIT, yahoo_server.DENIED, yahoo_server.TRUNCATED])
def test_after_one_refusal_the_whole_batch_is_served_locally_and_it_is_said_once(server, store, behaviour):
    load_sample(store, TICKERS)
    server.behaviour = behaviour
    prices = desk(store, server.url)
    with collect_warnings() as notes:
        bars = prices.get_many_bars(TICKERS, START, END, END)
        prices.get_many_bars(TICKERS, START, END, END)
    assert {len(frame) for frame in bars.values()} == {47}
    assert set(asked(server)) == {"AAPL"}
    assert len(server.charts) <= 2
    (note,) = notes
    assert note.startswith("Yahoo is unavailable, the local store is used")
    with collect_warnings() as of_a_later_run:
        prices.get_many_bars(TICKERS, START, END, END)
    assert of_a_later_run == notes, "it uses the local store too"


def test_without_a_network_the_local_store_is_used_at_once(store):
    load_sample(store, TICKERS)
    prices = desk(store, nobody())
    began = time.monotonic()
    with collect_warnings() as notes:
        assert list(prices.get_many_bars(TICKERS, START, END, END)) == TICKERS
    assert time.monotonic() - began < 5
    assert len(notes) == 1
    assert prices.disputes == {}


def test_yahoo_is_asked_again_after_the_pause(server, store):
    load_sample(store, ["AAPL"])
    server.behaviour = yahoo_server.LIMIT
    prices = desk(store, server.url, pause=0.0)
    with collect_warnings() as notes:
        for _ in range(2):
            assert set(prices.get_bars("AAPL", START, END, END)["source"]) == {"sample"}
    assert len(notes) == 1
    server.behaviour = yahoo_server.GOOD
    with collect_warnings() as of_a_later_run:
        assert set(prices.get_bars("AAPL", START, END, END)["source"]) == {"sample+yahoo"}
    assert of_a_later_run == []


def test_a_ticker_that_yahoo_does_not_know_does_not_stop_the_batch(server, store):
    load_sample(store, ["GOOG"])
    prices = desk(store, server.url)
    with collect_warnings() as notes:
        bars = prices.get_many_bars(["GOOG", "AAPL"], START, END, END)
    assert set(bars["GOOG"]["source"]) == {"sample"}
    assert set(bars["AAPL"]["source"]) == {"yahoo"}
    assert "GOOG" in notes[0]
    with collect_warnings() as of_a_later_run:
        prices.get_many_bars(["GOOG", "AAPL"], START, END, END)
    assert of_a_later_run == notes, "Yahoo was not asked again, and the reason holds"


def test_a_ticker_that_nobody_has_is_left_out_with_a_note(store):
    prices = desk(store, nobody(), source="local")
    with collect_warnings() as notes:
        assert prices.get_many_bars(["TSLA"], START, END, END) == {}
    assert "TSLA" in notes[0]
    with pytest.raises(NoPrices, match="TSLA"):
        prices.get_bars("TSLA", START, END, END)


def test_what_was_put_right_since_is_not_said_of_a_later_run(store):
    prices = desk(store, nobody(), source="local")
    with collect_warnings() as notes:
        prices.get_many_bars(["AAPL"], START, END, END)
        prices.get_timelines(["AAPL"], START, END)
    assert notes == ["no bars of AAPL from any source; run: osiris prices import FILE"]
    load_sample(store, ["AAPL"])
    with collect_warnings() as of_a_later_run:
        prices.get_many_bars(["AAPL"], START, END, END)
        prices.get_timelines(["AAPL"], START, END)
    assert of_a_later_run == []
    assert prices.update([], END).notes == []


def test_a_local_bar_that_yahoo_confirms_is_not_disputed(server, store):
    load_sample(store, ["AAPL"])
    prices = desk(store, server.url)
    assert set(prices.get_bars("AAPL", START, END, END)["source"]) == {"sample+yahoo"}
    assert prices.disputes == {}


def test_sources_that_differ_beyond_the_tolerance_are_disputed_and_the_stored_bar_stands(server, store):
    wrong = sample_bars("AAPL")
    day = wrong["start"] == pd.Timestamp("2005-02-10 14:30", tz="UTC")
    right = wrong["close"][day].iloc[0]
    wrong.loc[day, "close"] = right * 1.03
    store.merge("AAPL", wrong)
    prices = desk(store, server.url)
    bars = prices.get_many_bars(["AAPL", "MSFT"], START, END, END)
    assert list(prices.disputes) == ["AAPL"]
    assert prices.disputes["AAPL"].startswith("sources differ on 2005-02-10: sample close")
    assert bars["AAPL"].loc[bars["AAPL"]["start"] == wrong["start"][day].iloc[0], "close"].iloc[0] == right * 1.03
    lenient = desk(store, server.url, tolerance=0.05)
    lenient.get_bars("AAPL", START, END, END)
    assert lenient.disputes == {}


def test_a_split_that_the_local_file_does_not_have_is_disputed(server, store):
    store.merge("AAPL", sample_bars("AAPL").assign(split=1.0))
    prices = desk(store, server.url)
    prices.get_bars("AAPL", START, END, END)
    assert "2005-02-28" in prices.disputes["AAPL"]


def test_a_dispute_ends_when_the_stored_bar_is_corrected(server, store):
    store.merge("AAPL", sample_bars("AAPL").assign(split=1.0))
    prices = desk(store, server.url, pause=0.0)
    prices.get_bars("AAPL", START, END, END)
    store.merge("AAPL", sample_bars("AAPL"), replace=True)
    prices.get_bars("AAPL", START, END, END)
    assert prices.disputes == {}


def test_update_fetches_what_is_new_and_reports_each_ticker(server, store):
    load_sample(store, ["MSFT"])
    prices = desk(store, server.url, source="local")
    report = prices.update(["aapl", "TSLA"], END)
    assert report.added == {"AAPL": len(store.get("AAPL"))}
    assert store.get("AAPL")["start"].min() == sample_bars("AAPL")["start"].min()
    assert list(report.failed) == ["TSLA"]
    later = datetime(2005, 3, 11, 22, tzinfo=UTC)
    assert prices.update(["AAPL"], later).added == {"AAPL": 1}


def test_update_without_a_network_fails_for_all_and_asks_once(server, store):
    server.behaviour = yahoo_server.LIMIT
    report = desk(store, server.url).update(TICKERS, END)
    assert list(report.failed) == TICKERS
    assert report.added == {}
    assert set(asked(server)) == {"AAPL"}


def csv_of(frame: pd.DataFrame, folder: Path, name: str, **changes: float) -> Path:
    table = frame.assign(date=frame["start"].dt.strftime("%Y-%m-%d"), **changes)
    table.drop(columns=["start", "end", "source"]).to_csv(folder / name, index=False)
    return folder / name


def test_an_import_reports_what_it_added_and_a_second_one_adds_nothing(store, tmp_path):
    path = csv_of(sample_bars("FB"), tmp_path, "FB.csv")
    report = import_bars(store, SETTINGS, path, END.replace(year=2013))
    assert (report.files, report.rows, report.tickers, report.added) == (1, 196, ["FB"], 196)
    again = import_bars(store, SETTINGS, path, END.replace(year=2013))
    assert (again.added, again.changed, again.disputed) == (0, 0, {})


def test_an_import_that_differs_is_reported_and_written_only_with_replace(store, tmp_path):
    load_sample(store, ["FB"])
    halved = sample_bars("FB").assign(**{c: sample_bars("FB")[c] / 2 for c in ("open", "high", "low", "close")})
    path = csv_of(halved, tmp_path, "FB.csv")
    report = import_bars(store, SETTINGS, path, END.replace(year=2013))
    assert "and 195 more bars" in report.disputed["FB"]
    pd.testing.assert_frame_equal(store.get("FB"), sample_bars("FB"))
    assert import_bars(store, SETTINGS, path, END.replace(year=2013), mode=ImportMode(replace=True)).changed == 196
    assert store.get("FB")["close"].equals(halved["close"])


def test_an_import_names_jumps_that_look_like_splits(store, tmp_path):
    path = csv_of(sample_bars("AAPL").iloc[1200:1300], tmp_path, "AAPL.csv", split=1.0)
    (found,) = import_bars(store, SETTINGS, path, END.replace(year=2013)).suspicious
    assert found.startswith("AAPL 2005-02-28")


def test_one_bad_row_in_a_folder_keeps_everything_out(store, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    csv_of(sample_bars("FB"), folder, "FB.csv")
    bad = csv_of(sample_bars("GOOG"), folder, "GOOG.csv")
    bad.write_text(bad.read_text() + "1,1,1,1,1,1,2005-02-26\n")
    with pytest.raises(BadRows, match=r"line 2150 of .*GOOG\.csv"):
        import_bars(store, SETTINGS, folder, END.replace(year=2013))
    assert store.tickers() == []


class TestIntraday:
    """Hourly bars of the last two sessions that are over, so that they are within Yahoo's reach."""

    @pytest.fixture
    def days(self, server):
        now = datetime.now(UTC) - REPORTING_DELAY
        closes = closes_between("XNYS", now - timedelta(days=14), now)[-2:]
        dates = pd.DatetimeIndex(closes.tz_convert("America/New_York").date)
        opens, closes = session_bounds("XNYS", dates)
        quiet = pd.DataFrame([(100.0, 102.0, 98.0, 101.0)] * 2, columns=["open", "high", "low", "close"])
        server.bars["AAPL"] = daily_frame(dates, quiet, "XNYS", "test")
        for interval, minutes in (("60m", 60), ("1m", 1)):
            starts = pd.DatetimeIndex(
                [
                    t
                    for o, c in zip(opens, closes, strict=True)
                    for t in pd.date_range(o, c, freq=f"{minutes}min", inclusive="left")
                ]
            )
            rows = pd.DataFrame([(100.0, 102.0, 98.0, 101.0)] * len(starts), columns=quiet.columns)
            server.intraday["AAPL", interval] = intraday_frame(starts, rows, "XNYS", interval, "test")
        return opens, closes

    def lines(self, prices, days):
        opens, closes = days
        return prices.get_timelines(["AAPL"], opens[0].to_pydatetime(), closes[1].to_pydatetime())["AAPL"]

    def test_sessions_are_seen_by_the_hour_and_kept(self, server, store, days):
        prices = desk(store, server.url)
        line = self.lines(prices, days)
        assert len(line.bars.start) == len(server.intraday["AAPL", "60m"])
        assert len(line.issues.start) == 0
        assert set(store.get("AAPL", interval="60m")["source"]) == {"yahoo"}

    def test_a_ticker_costs_one_request_an_interval_and_what_is_kept_none(self, server, store, days):
        self.lines(desk(store, server.url), days)
        assert [query["interval"] for _, query in server.charts] == ["1d", "60m"]
        self.lines(desk(store, server.url), days)
        assert len(server.charts) == 2

    def test_they_are_not_asked_for_where_settings_say_so(self, server, store, days):
        settings = Settings(prices=PricesSettings(intraday=False))
        line = self.lines(BarProvider(store, YahooClient(server.url), settings), days)
        assert len(line.bars.start) == 2
        assert [query["interval"] for _, query in server.charts] == ["1d"]

    def test_a_doubtful_session_is_asked_for_by_the_minute_once(self, server, store, days):
        prices = desk(store, server.url)
        self.lines(prices, days)
        opens, closes = days
        hit = (opens[1] + pd.Timedelta(minutes=90)).to_pydatetime()
        assert prices.fetch_finest({"AAPL": [hit]}, closes[1].to_pydatetime()) == ({"AAPL"}, set())
        minutes = store.get("AAPL", interval="1m")
        assert set(minutes["start"].dt.date) == {opens[1].date()}
        assert prices.fetch_finest({"AAPL": [hit]}, closes[1].to_pydatetime()) == (set(), set())
        assert [query["interval"] for _, query in server.charts] == ["1d", "60m", "1m"]

    def test_history_beyond_yahoos_reach_is_not_asked_for(self, server, store):
        prices = desk(store, server.url)
        prices.get_timelines(["AAPL"], START, END)
        prices.fetch_finest({"AAPL": [END]}, END)
        assert [query["interval"] for _, query in server.charts] == ["1d"]

    def test_without_a_network_the_stored_ones_are_used(self, server, store, days):
        self.lines(desk(store, server.url), days)
        line = self.lines(desk(store, nobody()), days)
        assert len(line.bars.start) == len(server.intraday["AAPL", "60m"])


def test_a_limit_that_says_how_long_is_kept_to(server, store):
    load_sample(store, ["AAPL"])
    server.behaviour, server.retry_after = yahoo_server.LIMIT, "3600"
    prices = desk(store, server.url, pause=0.0)
    prices.get_bars("AAPL", START, END, END)
    before = len(server.charts)
    server.behaviour = yahoo_server.GOOD
    assert set(prices.get_bars("AAPL", START, END, END)["source"]) == {"sample"}
    assert len(server.charts) == before


def test_a_dispute_outlives_the_process_that_found_it(server, store):
    store.merge("AAPL", sample_bars("AAPL").assign(split=1.0))
    desk(store, server.url).get_bars("AAPL", START, END, END)
    later = desk(BarStore(store._root), nobody())
    assert "2005-02-28" in later.disputes["AAPL"]
    line = later.get_timelines(["AAPL"], START, END)["AAPL"]
    assert DISPUTED in line.issues.kinds


def test_a_person_ends_a_dispute_for_good(server, store):
    store.merge("AAPL", sample_bars("AAPL").assign(split=1.0))
    prices = desk(store, server.url, pause=0.0)
    prices.get_bars("AAPL", START, END, END)
    with pytest.raises(NotFound, match="a day"):
        store.confirm("AAPL", "2005-02-27", "XNYS")
    assert store.confirm("AAPL", "2005-02-28", "XNYS") == 1
    assert prices.disputes == {}
    prices.get_bars("AAPL", START, END, END)
    assert desk(store, server.url).disputes == {}


def test_an_import_of_shorter_bars_goes_to_their_own_place(store, tmp_path):
    moments = ["2005-02-25T14:30:00Z", "2005-02-25T15:00:00Z", "2005-02-25T15:30:00Z"]
    rows = "".join(f"{moment},100,101,99,100\n" for moment in moments)
    (tmp_path / "AAPL.csv").write_text("ts,open,high,low,close\n" + rows)
    report = import_bars(store, SETTINGS, tmp_path / "AAPL.csv", END)
    assert (report.rows, report.added) == (3, 3)
    assert store.tickers() == []
    assert (
        store.get("AAPL", interval="30m")["end"] - store.get("AAPL", interval="30m")["start"]
    ).dt.seconds.tolist() == [1800] * 3


def test_yahoo_is_silent_only_where_it_knows_no_bars(server, store):
    load_sample(store, ["AAPL"])
    late = datetime(2013, 4, 1, tzinfo=UTC)
    server.behaviour = yahoo_server.UNKNOWN
    assert desk(store, server.url).get_timelines(["AAPL"], datetime(2013, 2, 1, tzinfo=UTC), late)["AAPL"].no_later_bars
    server.behaviour = yahoo_server.GOOD
    london = BarProvider(store, YahooClient(server.url), Settings(prices=PricesSettings(calendars={"AAPL": "XTKS"})))
    assert not london.get_timelines(["AAPL"], datetime(2013, 2, 1, tzinfo=UTC), late)["AAPL"].no_later_bars
    assert (
        not desk(store, nobody()).get_timelines(["AAPL"], datetime(2013, 2, 1, tzinfo=UTC), late)["AAPL"].no_later_bars
    )
