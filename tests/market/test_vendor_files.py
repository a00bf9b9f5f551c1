"""Files as vendors write them: read as they are, or refused in a line that says what to do."""

import gzip
from datetime import UTC, datetime
from typing import ClassVar

import pandas as pd
import pytest

from osiris.config.settings import PricesSettings
from osiris.core.errors import BadInput, OsirisError
from osiris.market.file_import import ImportOptions, Spool, read_all_series, read_bars

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
DAYS = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]
HEAD = "Date,Open,High,Low,Close,Volume\n"
ROW = "187.15,188.44,183.89,185.64,82488700"
PLAIN = HEAD + "".join(f"{day},{ROW}\n" for day in DAYS)
EPOCH = 1704067200  # 2024-01-01


@pytest.fixture
def read(tmp_path):
    def result(text, name="AAPL.csv", encoding="utf-8", **form):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return {bars.ticker: bars.frame for bars in read_bars(file, PricesSettings(), AS_OF, ImportOptions(**form))}

    return result


def binance(unit, step, count=5):
    def row(number):
        first = (EPOCH + number * step) * unit
        return f"{first},42283.58,44184.10,42180.77,44179.55,27174.29,{first + step * unit - 1},1,1,1,1,0\n"

    return "".join(map(row, range(count)))


def shown(texts):
    return "".join(f"{text}\n" for text in texts)


VENDORS = {
    "Yahoo's download": "Date,Open,High,Low,Close,Adj Close,Volume\n" + shown(f"{day},187.15,188.44,183.89,185.64,184.9,1" for day in DAYS),
    "yfinance's history": "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits\n" + shown(f"{day} 00:00:00-05:00,{ROW},0.24,0.0" for day in DAYS),
    "yfinance's three lines": "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n" + shown(f"{day},185.64,188.44,183.89,187.15,1" for day in DAYS),
    "Stooq": PLAIN,
    "Alpha Vantage, newest first": "timestamp,open,high,low,close,volume\n" + shown(f"{day},{ROW}" for day in DAYS[::-1]),
    "Alpha Vantage, adjusted": "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient\n" + shown(f"{day},187.15,188.44,183.89,185.64,1,1,0.0000,1.0" for day in DAYS),
    "MetaTrader 5": "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n" + shown(f"{day.replace('-', '.')}\t187.15\t188.44\t183.89\t185.64\t1\t0\t0" for day in DAYS),
    "MetaTrader 4": shown(f"{day.replace('-', '.')},00:00,187.15,188.44,183.89,185.64,1" for day in DAYS),
    "Interactive Brokers": "date,open,high,low,close,volume,average,barCount\n" + shown(f"{day},187.15,188.44,183.89,185.64,-1,1,1" for day in DAYS),
    "investing.com": '\ufeff"Date","Price","Open","High","Low","Vol.","Change %"\n' + shown(f'"{pd.Timestamp(day):%b %d, %Y}","185.64","187.15","188.44","183.89","82.49M","-0.5%"' for day in DAYS[::-1]),
    "Nasdaq.com": "Date,Close/Last,Volume,Open,High,Low\n" + shown(f"{pd.Timestamp(day):%m/%d/%Y},$185.64,1,$187.15,$188.44,$183.89" for day in [*DAYS, "2024-01-16"]),
    "Polygon": "T,v,vw,o,c,h,l,t,n\n" + shown(f"AAPL,1,1,187.15,185.64,188.44,183.89,{pd.Timestamp(day, tz='America/New_York').value // 10**6},1" for day in DAYS),
    "Excel in Europe": "date;open;high;low;close\n" + shown(f"{day};187,15;188,44;183,89;185,64" for day in DAYS),
    "Excel's empty columns": "date,open,high,low,close,,\n" + shown(f"{day},187.15,188.44,183.89,185.64,," for day in DAYS),
    "a title above": "https://www.example.com\n\n" + PLAIN,
}  # fmt: skip


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_vendor_s_daily_bars_are_read_as_they_are(read, vendor):
    bars = read(VENDORS[vendor])["AAPL"]
    assert bars["start"].dt.strftime("%Y-%m-%d").tolist()[:4] == DAYS
    assert bars[["open", "high", "low", "close"]].iloc[0].tolist() == [187.15, 188.44, 183.89, 185.64]
    assert set(bars["split"]) == {1}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_other_encodings_are_found_out(read, encoding):
    assert len(read(PLAIN, encoding=encoding)["AAPL"]) == 4


def test_a_compressed_file_is_read(read):
    assert len(read(gzip.compress(PLAIN.encode()), "AAPL.csv.gz")["AAPL"]) == 4


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000])
def test_binance_s_klines_need_their_ticker_alone(read, unit):
    bars = read(binance(unit, 86400), "BTCUSDT-1d.csv", ticker="BTC-USD")["BTC-USD"]
    assert str(bars["end"][0]) == "2024-01-02 00:00:00+00:00"
    hours = read(binance(unit, 3600, 48), "BTCUSDT-1h.csv", ticker="BTC-USD")["BTC-USD"]
    assert str(hours["end"][0]) == "2024-01-01 01:00:00+00:00"


@pytest.mark.parametrize(
    ("step", "count", "reason"), [(7 * 86400, 5, "weekly"), (4 * 3600, 30, "240 minutes"), (3600, 1, "last 60 minutes")]
)
def test_binance_s_klines_of_other_lengths_are_refused(read, step, count, reason):
    with pytest.raises(BadInput, match=reason):
        read(binance(1000, step, count), "x.csv", ticker="BTC-USD")


REFUSED = {
    "day or month": (PLAIN.replace("2024-01-0", "1/").replace(",187", "/2024,187"), "--date-format"),
    "no hyphens": (PLAIN.replace("-", ""), "--date-format '%Y%m%d'"),
    "no offset": (PLAIN.replace(",187", " 09:30,187"), "--timezone"),
    "thousands or decimals": ("date;open;high;low;close\n2024-01-02;1,100;1,200;1,000;1,150\n", "--decimal"),
    "another language": ("Datum,Zuletzt,Hoch,Tief\n2024-01-02,1,2,1\n", "no column open or high or low or close"),
    "only adjusted": (PLAIN.replace("Close", "Adj Close"), "no column close"),
    "no header": ("2024-01-02,1,2,1,2\n", "name the columns in the first line"),
    "two times": (PLAIN.replace("Volume", "Timestamp"), "several columns of time"),
    "adjusted for a split": (PLAIN.replace("Volume", "Stock Splits").replace("82488700", "4.0"), "osiris prices update"),
    "TradingView's daily": ("time,open,high,low,close\n" + shown(f"{pd.Timestamp(day + ' 14:30').value // 10**9},1,2,1,2" for day in DAYS), "--daily"),
    "another delimiter": (PLAIN.replace(",", "~"), "--delimiter"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_open_is_refused_with_what_to_do(read, case):
    text, said = REFUSED[case]
    with pytest.raises(BadInput) as caught:
        read(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(("case", "form"), [
    ("day or month", {"date_format": "%m/%d/%Y"}),
    ("no hyphens", {"date_format": "%Y%m%d"}),
    ("thousands or decimals", {"decimal": ","}),
    ("TradingView's daily", {"daily": True}),
    ("another delimiter", {"delimiter": "~"}),
])  # fmt: skip
def test_the_option_that_was_named_settles_it(read, case, form):
    bars = read(REFUSED[case][0], **form)["AAPL"]
    assert str(bars["start"][0].date()) == "2024-01-02"


def test_the_decimal_sign_is_the_one_that_was_said(read):
    text = REFUSED["thousands or decimals"][0]
    assert read(text, decimal=",")["AAPL"]["open"][0] == 1.1
    assert read(text, decimal=".")["AAPL"]["open"][0] == 1100
    with pytest.raises(BadInput, match="either a decimal point or a decimal comma"):
        read("date;open;high;low;close\n2024-01-02;1,10;1,20;1.00;1,15\n")


@pytest.mark.parametrize("form", [
    {"ticker": "no ticker"}, {"date_format": "%Q"}, {"date_format": "%H:%M"}, {"delimiter": ",,"}, {"decimal": ";"},
    {"timezone": "Mars/Olympus"},
])  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused(form):
    with pytest.raises(OsirisError):
        ImportOptions(**form)


class TestTicker:
    @pytest.mark.parametrize("column", ["symbol", "Symbol", "SYM", "code", "Ticker", "<TICKER>"])
    def test_a_column_says_it_and_several_are_several_series(self, read, column):
        rows = "".join(f"{day},aapl,1,2,1,2\n{day},MSFT,3,4,3,4\n" for day in DAYS)
        found = read(f"date,{column},open,high,low,close\n{rows}", "IBM.csv")
        assert {ticker: bars["open"].tolist() for ticker, bars in found.items()} == {"AAPL": [1] * 4, "MSFT": [3] * 4}

    @pytest.mark.parametrize("name", [
        "2024.csv", "prices.csv", "bars.csv", "AAPL (1).csv", "aapl_us_d.csv", "AAPL-1D.csv", "aapl.us.txt",
        "HistoricalData_17.csv", "Binance_BTCUSDT_d.csv", "export.csv", "BTCUSDT.csv",
    ])  # fmt: skip
    def test_a_name_that_is_no_ticker_makes_none(self, read, name):
        with pytest.raises(BadInput, match="whose name is no ticker; say --ticker"):
            read(PLAIN, name)
        assert list(read(PLAIN, name, ticker="aapl")) == ["AAPL"]

    @pytest.mark.parametrize("name", ["AAPL.csv", "brk-b.csv", "BTC-USD.csv", "VOD.L.csv", "0700.HK.csv", "^GSPC.csv"])
    def test_a_name_that_is_a_ticker_is_taken_and_told(self, tmp_path, name):
        (tmp_path / name).write_text(PLAIN)
        with Spool(ImportOptions()) as spool:
            spool.add_file(tmp_path / name)
            assert spool.notes() == [f"tickers from the names of files: {name[:-4].upper()}"]

    def test_a_refusal_says_that_the_name_gave_the_ticker(self, read):
        with pytest.raises(BadInput, match="of AAPL \\(the ticker is from the file's name\\)"):
            read(HEAD + shown(f"{day},{ROW}" for day in ("2024-01-02", "2024-01-09", "2024-01-16")))

    def test_one_ticker_is_not_said_of_several(self, read):
        rows = "".join(f"{day},{name},1,2,1,2\n" for day in DAYS for name in ("BTC/USD", "ETH/USD"))
        with pytest.raises(BadInput, match="leave --ticker out"):
            read("date,symbol,open,high,low,close\n" + rows, ticker="BTC-USD")

    def test_a_wide_frame_of_yfinance_has_a_series_a_ticker(self, read):
        text = "Price,Close,Close,High,High,Low,Low,Open,Open\nTicker,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT\nDate,,,,,,,,\n"
        found = read(text + shown(f"{day},2,4,2,4,1,3,1,3" for day in DAYS) + "2024-01-08,2,,2,,1,,1,\n", "x.csv")
        assert {ticker: len(bars) for ticker, bars in found.items()} == {"AAPL": 5, "MSFT": 4}


class TestParquet:
    FRAME = pd.DataFrame({"open": [1.0, 1], "high": [2.0, 2], "low": [1.0, 1], "close": [2.0, 2]})

    @pytest.mark.parametrize("index", [
        pd.DatetimeIndex(DAYS[:2], name="Date"),
        pd.DatetimeIndex(DAYS[:2]),
        pd.DatetimeIndex(DAYS[:2], tz="America/New_York", name="Datetime"),
        pd.MultiIndex.from_arrays([["AAPL"] * 2, pd.DatetimeIndex(DAYS[:2])], names=["symbol", "timestamp"]),
    ])  # fmt: skip
    def test_the_index_is_read(self, tmp_path, index):
        self.FRAME.set_axis(index).to_parquet(tmp_path / "AAPL.parquet")
        (bars,) = read_bars(tmp_path / "AAPL.parquet", PricesSettings(), AS_OF)
        assert (bars.ticker, bars.frame["start"].dt.strftime("%Y-%m-%d").tolist()) == ("AAPL", DAYS[:2])

    def test_a_ticker_in_the_index_is_not_lost(self, tmp_path):
        frame = self.FRAME.assign(date=DAYS[:2]).set_axis(pd.Index(["AAPL", "MSFT"], name="ticker"))
        frame.to_parquet(tmp_path / "IBM.parquet")
        assert [bars.ticker for bars in read_bars(tmp_path / "IBM.parquet", PricesSettings(), AS_OF)] == [
            "AAPL",
            "MSFT",
        ]

    def test_a_frame_with_prices_and_tickers_as_columns_is_read(self, tmp_path):
        columns = pd.MultiIndex.from_product([["Open", "High", "Low", "Close"], ["AAPL"]], names=["Price", "Ticker"])
        frame = pd.DataFrame(self.FRAME.to_numpy(), pd.DatetimeIndex(DAYS[:2], name="Date"), columns)
        frame.to_parquet(tmp_path / "x.parquet")
        assert [bars.ticker for bars in read_bars(tmp_path / "x.parquet", PricesSettings(), AS_OF)] == ["AAPL"]


class TestBeyondTheSession:
    """Hours before the open and after the close, as many vendors of shares give them."""

    HALVES: ClassVar = [f"{hour:02d}:{minute}" for hour in range(4, 20) for minute in ("00", "30")]

    def rows(self, clocks):
        return "ts,open,high,low,close\n" + shown(
            f"{day}T{clock}:00-05:00,187.15,188.44,183.89,185.64" for day in DAYS for clock in clocks
        )

    def test_they_are_left_out_and_counted_where_a_person_says_so(self, tmp_path):
        file = tmp_path / "AAPL.csv"
        file.write_text(self.rows(self.HALVES))
        with Spool(ImportOptions(regular_hours=True)) as spool:
            spool.add_file(file)
            (series,) = read_all_series(spool, PricesSettings(), AS_OF)
            assert spool.notes() == [
                "tickers from the names of files: AAPL",
                f"AAPL.csv: {4 * 19} rows outside of the sessions left out",
            ]
        assert (len(series.bars.frame), series.bad) == (4 * 13, [])

    @pytest.mark.parametrize("clocks", [HALVES, HALVES[::2]], ids=["half hours", "hours at the clock"])
    def test_the_refusal_names_the_option(self, read, clocks):
        with pytest.raises(BadInput, match="--regular-hours"):
            read(self.rows(clocks))

    def test_bars_stamped_with_their_ends_are_no_others_for_it(self, read):
        with pytest.raises(BadInput, match="stamped with their ends"):
            read(self.rows(["10:30", "11:30", "12:30", "13:30", "14:30", "15:30", "16:00"]), regular_hours=True)

    def test_days_are_days_whatever_their_time(self, read):
        text = "Date,Open,High,Low,Close,Volume\n" + shown(f"{day} 00:00:00-05:00,{ROW}" for day in DAYS)
        assert len(read(text, regular_hours=True)["AAPL"]) == 4

    def test_a_file_with_nothing_else_says_so(self, read):
        with pytest.raises(BadInput, match="all lie outside of the sessions of XNYS"):
            read(self.rows(["04:00", "04:30"]), regular_hours=True)


@pytest.mark.parametrize(
    ("moment", "form"),
    [
        ("20240103 09:30:00-0500", "%Y%m%d %H:%M:%S%z"),
        ("03.01.2024 14:30:00.000 GMT+0000", "%d.%m.%Y %H:%M:%S.%f GMT%z"),
    ],
)
def test_a_date_format_may_have_an_offset(read, moment, form):
    text = "ts,open,high,low,close\n" + shown(f"{one},1,1,1,1" for one in (moment, moment.replace("30:00", "31:00")))
    frame = read(text, date_format=form)["AAPL"]
    assert str(frame["start"][0]) == "2024-01-03 14:30:00+00:00"


def test_dukascopy_is_read_as_it_is(read):
    rows = shown(
        f"{day}.01.2024 {clock}:00.000 GMT+0000,1,1,1,1,0" for day in ("16", "17") for clock in ("14:30", "14:31")
    )
    assert len(read("Gmt time,Open,High,Low,Close,Volume\n" + rows)["AAPL"]) == 4


@pytest.mark.parametrize("name", ["2024-JAN", "DAILY-AAPL", "hist-spy", "AAPL-D", "5-min", "AAPL.BAK", "AAPL-1D"])
def test_names_of_files_that_look_like_tickers_are_none(read, name):
    with pytest.raises(BadInput, match="--ticker"):
        read(PLAIN, f"{name}.csv")
    assert list(read(PLAIN, f"{name}.csv", ticker="SPY")) == ["SPY"]


@pytest.mark.parametrize("name", ["BRK-B", "BTC-USD", "0700.HK", "VOD.L", "D", "M", "MAR", "NOV"])
def test_names_of_files_that_are_tickers_are_theirs(read, name):
    days = PLAIN if name not in ("0700.HK", "VOD.L") else HEAD + f"2024-01-03,{ROW}\n"
    assert list(read(days, f"{name}.csv")) == [name]


@pytest.mark.parametrize("column", ["stock", "Name"])
def test_a_column_of_names_is_one_of_tickers_where_they_are(read, column):
    rows = shown(f"{day},1,1,1,1,{ticker}" for day, ticker in zip(DAYS, ["AAPL", "AAPL", "MSFT", "MSFT"], strict=True))
    assert sorted(read(f"date,open,high,low,close,{column}\n" + rows, "SPX.csv")) == ["AAPL", "MSFT"]


def test_names_of_companies_are_no_tickers_and_a_mixture_is_asked_about(read):
    head = "date,open,high,low,close,Name\n"
    assert list(read(head + shown(f"{day},1,1,1,1,Apple Inc" for day in DAYS))) == ["AAPL"]
    assert list(read(head + shown(f"{day},1,1,1,1,Tesla" for day in DAYS), "TSLA.csv")) == ["TSLA"]
    with pytest.raises(BadInput, match="TESLA in the column name"):
        read(head + shown(f"{day},1,1,1,1,TESLA" for day in DAYS), "TSLA.csv")
    with pytest.raises(BadInput, match="--ticker"):
        read(head + f"{DAYS[0]},1,1,1,1,Apple Inc\n{DAYS[1]},1,1,1,1,MSFT\n")


def test_codes_that_a_frame_holds_as_numbers_are_whole(tmp_path):
    frame = pd.DataFrame({"date": DAYS, "code": 7203.0, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0})
    frame.to_parquet(tmp_path / "bars.parquet", index=False)
    assert [bars.ticker for bars in read_bars(tmp_path / "bars.parquet", PricesSettings(), AS_OF)] == ["7203"]


def test_the_last_line_of_barchart_is_no_bar(read):
    text = "Time,Open,High,Low,Last,Change,%Chg,Volume\n" + shown(f"{day},1,1,1,1,0,0%,5" for day in DAYS)
    assert len(read(text + '"Downloaded from Barchart.com as of 01-06-2024 10:12am CST"\n')["AAPL"]) == 4


def test_thousands_may_be_grouped_as_in_india(read):
    text = "date,open,high,low,close\n" + shown(
        f'{day},"1,35,000.00","1,35,100.50","1,34,900.00","1,35,050.00"' for day in DAYS
    )
    assert read(text)["AAPL"]["high"].tolist() == [135100.5] * 4
