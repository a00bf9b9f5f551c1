from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from osiris.config.settings import PricesSettings
from osiris.core.errors import BadInput, NotFound
from osiris.core.row_files import BadRows
from osiris.market.file_import import find_bar_files, find_ignored_files, read_bars

AS_OF = datetime(2005, 3, 1, 21, 0, tzinfo=UTC)
GOOD = """ticker,date,open,high,low,close,volume,split
AAPL,2005-02-25,89.62,89.91,88.19,88.99,229,
AAPL,2005-02-28,44.68,45.14,43.96,44.86,116,2
"""


def written(folder: Path, text: str, name: str = "AAPL.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def reasons(
    folder: Path, text: str, as_of: datetime = AS_OF, prices: PricesSettings | None = None
) -> list[tuple[int, str]]:
    with pytest.raises(BadRows) as caught:
        read_bars(written(folder, text), prices or PricesSettings(), as_of)
    return [(row.line, row.reason) for row in caught.value.bad]


def frames(file: Path, prices: PricesSettings) -> dict[str, pd.DataFrame]:
    return {bars.ticker: bars.frame for bars in read_bars(file, prices, AS_OF)}


def with_row(row: str) -> str:
    return GOOD + row + "\n"


def test_a_good_file_becomes_bars_with_session_bounds_and_splits(tmp_path):
    frame = frames(written(tmp_path, GOOD), PricesSettings())["AAPL"]
    assert frame["close"].tolist() == [88.99, 44.86]
    assert frame["split"].tolist() == [1.0, 2.0]
    assert str(frame["end"][1]) == "2005-02-28 21:00:00+00:00"
    assert set(frame["source"]) == {"file:AAPL.csv"}


def test_the_file_name_is_the_ticker_where_the_column_is_missing(tmp_path):
    text = "Date,Open,High,Low,Close,Adj Close\n2005-02-25,1,2,1,2,0.5\n"
    found = frames(written(tmp_path, text, "brk-b.csv"), PricesSettings())
    assert list(found) == ["BRK-B"]
    assert found["BRK-B"]["volume"].tolist() == [0]


def test_several_tickers_keep_their_own_calendars(tmp_path):
    text = "ticker,date,open,high,low,close\nVOD.L,2005-02-25,1,2,1,2\nBTC-USD,2005-02-26,1,2,1,2\n"
    found = frames(written(tmp_path, text), PricesSettings(calendars={"VOD.L": "XLON"}))
    assert str(found["VOD.L"]["end"][0]) == "2005-02-25 16:30:00+00:00"
    assert str(found["BTC-USD"]["end"][0]) == "2005-02-27 00:00:00+00:00"


@pytest.mark.parametrize("moment", [
    "2005-02-28T00:00:00+00:00", "2005-02-28 00:00:00", "2005-02-28T21:00:00Z", "2005-02-28T00:00:00-05:00",
    "2005-02-28T05:00:00Z", "1109566800", "1109566800000", "2005/02/28", "2005.02.28", "2005-2-28",
    "Feb 28, 2005", "28 Feb 2005", "2/28/2005", "28.02.2005",
])  # fmt: skip
def test_a_moment_belongs_to_its_session(tmp_path, moment):
    frame = frames(written(tmp_path, f'ts,open,high,low,close\n"{moment}",1,2,1,2\n'), PricesSettings())["AAPL"]
    assert str(frame["start"][0]) == "2005-02-28 14:30:00+00:00"


def test_parquet_reads_as_csv_does(tmp_path):
    table = pd.read_csv(written(tmp_path, GOOD), parse_dates=["date"])
    table.to_parquet(tmp_path / "AAPL.parquet", index=False)
    frame = frames(tmp_path / "AAPL.parquet", PricesSettings())["AAPL"]
    expected = frames(tmp_path / "AAPL.csv", PricesSettings())["AAPL"]
    pd.testing.assert_frame_equal(frame.drop(columns="source"), expected.drop(columns="source"))


@pytest.mark.parametrize(("row", "reason"), [
    ("AAPL,2005-03-01,abc,2,1,2,1,", "open 'abc' is no finite number"),
    ("AAPL,2005-03-01,,2,1,2,1,", "open '' is no finite number"),
    ("AAPL,2005-03-01,1,inf,1,2,1,", "high 'inf' is no finite number"),
    ("AAPL,2005-03-01,1,2,1,nan,1,", "close 'nan' is no finite number"),
    ("AAPL,2005-03-01,1,2,-1,2,1,", "low -1 is not positive"),
    ("AAPL,2005-03-01,1,2,0,2,1,", "low 0 is not positive"),
    ("AAPL,2005-03-01,1,2,1,3,1,", "high 2 is below open, close or low 3"),
    ("AAPL,2005-03-01,1,2,1.5,2,1,", "low 1.5 is above open or close 1"),
    ("AAPL,2005-03-01,1,2,1.01,2,1,", "low 1.01 is above open or close 1"),
    ("AAPL,2005-03-01,1,2,1,2,1,1e-9", "split '1e-9' is no ratio between 1/5000 and 5000"),
    ("AAPL,2005-03-01,1,2,1,2,1,1000000", "split '1000000' is no ratio"),
    ("AAPL,2005-03-01,1,2,1,2,1,-2", "split '-2' is no ratio"),
    ("AAPL,2005-03-01,1,2,1,2,1,2:1", "write 2 for two new shares for one"),
    ("AAPL,01/03/2005,1,2,1,2,1,", "the date '01/03/2005' is no YYYY-MM-DD nor a moment with an offset"),
    ("AAPL,2005-W09,1,2,1,2,1,", "the date '2005-W09' is no YYYY-MM-DD"),
    ("AAPL,2005-W09-2,1,2,1,2,1,", "the date '2005-W09-2' is no YYYY-MM-DD"),
    ("AAPL,2005-060,1,2,1,2,1,", "the date '2005-060' is no YYYY-MM-DD"),
    ("AAPL,20050301,1,2,1,2,1,", "--date-format '%Y%m%d'"),
    ("AAPL,2005-03-01T09:30:00,1,2,1,2,1,", "the moment '2005-03-01T09:30:00' has no offset; see --timezone"),
    ("AAPL,2005-02-26,1,2,1,2,1,", "2005-02-26 is no session of XNYS"),
    ("AAPL,1985-06-03,1,2,1,2,1,", "1985-06-03 is before 1990-01-02, where the calendar XNYS begins"),
    ("AAPL,2005-03-02,1,2,1,2,1,", "the bar is not complete at 2005-03-01T21:00:00+00:00"),
    ("APPLE INC,2005-03-01,1,2,1,2,1,", "the ticker 'APPLE INC', which is no symbol"),
    ("AAPL,2005-03-01,1,2,1,2", "6 fields, the header has 8"),
])  # fmt: skip
def test_a_bad_row_is_named_by_its_line_its_value_and_the_reason(tmp_path, row, reason):
    ((line, said),) = reasons(tmp_path, with_row(row))
    assert line == 4
    assert reason in said


@pytest.mark.parametrize("volume", ["", "-", "-1", "N/A", "nan", "many", '"23,133,000"', "82.49M"])
def test_a_volume_keeps_no_bar_out(tmp_path, volume):
    frame = frames(written(tmp_path, with_row(f"AAPL,2005-03-01,1,2,1,2,{volume},")), PricesSettings())["AAPL"]
    known = {'"23,133,000"': 23_133_000, "82.49M": 82_490_000}
    assert frame["volume"][2] == pytest.approx(known.get(volume, 0))


@pytest.mark.parametrize("split", ["", "0", "0.0", "nan", "1"])
def test_no_split_is_written_in_several_ways(tmp_path, split):
    frame = frames(written(tmp_path, with_row(f"AAPL,2005-03-01,1,2,1,2,1,{split}")), PricesSettings())["AAPL"]
    assert frame["split"][2] == 1


@pytest.mark.parametrize(("high", "low"), [("2", "1.0000000000000002"), ("1.9995", "1"), ("2", "1.0009")])
def test_a_price_that_was_rounded_by_itself_is_set_right(tmp_path, high, low):
    frame = frames(written(tmp_path, with_row(f"AAPL,2005-03-01,1,{high},{low},2,1,")), PricesSettings())["AAPL"]
    assert (frame["high"][2], frame["low"][2]) == (2, 1)


def test_rows_of_one_day_that_differ_are_all_bad_and_equal_ones_are_one(tmp_path):
    twice = with_row("AAPL,2005-03-01,1,2,1,2,1,\nAAPL,2005-03-01,1,2,1,1.5,1,")
    assert [line for line, reason in reasons(tmp_path, twice) if "in lines 4, 5" in reason] == [4, 5]
    same = with_row("AAPL,2005-03-01,1,2,1,2,1,\nAAPL,2005-03-01,1.0,2,1,2,7,1")
    assert len(frames(written(tmp_path, same), PricesSettings())["AAPL"]) == 3


def test_the_live_row_of_a_day_is_no_second_bar_of_it(tmp_path):
    head = "ticker,date,open,high,low,close\nAAPL,2005-02-25 00:00:00-05:00,1,2,1,2\n"
    both = head + "AAPL,2005-02-28 00:00:00-05:00,1,2,1,2\nAAPL,2005-02-28 16:00:02-05:00,1,2,1,1.9\n"
    assert [line for line, _ in reasons(tmp_path, both)] == [3, 4]
    alone = head + "AAPL,2005-02-28 11:35:02-05:00,1,2,1,1.9\n"
    assert ["stamped inside the session" in reason for _, reason in reasons(tmp_path, alone)] == [True]


def test_rows_without_any_price_are_no_bars(tmp_path):
    frame = frames(written(tmp_path, with_row("AAPL,2005-03-01,null,null,null,null,null,")), PricesSettings())["AAPL"]
    assert len(frame) == 2


def test_a_bar_counts_as_complete_from_its_close_on(tmp_path):
    path = written(tmp_path, with_row("AAPL,2005-03-01,1,2,1,2,1,"))
    assert len(frames(path, PricesSettings())["AAPL"]) == 3
    with pytest.raises(BadRows, match="line 4"):
        read_bars(path, PricesSettings(), AS_OF.replace(hour=20))


def test_all_bad_rows_are_listed_and_blank_lines_counted(tmp_path):
    text = GOOD + "\nAAPL,2005-03-01,x,2,1,2,1,\nMSFT,2005-03-01,1,2,1,9,1,\n"
    assert [line for line, _ in reasons(tmp_path, text)] == [5, 6]
    with pytest.raises(BadRows, match=r"line 5 of .*AAPL\.csv: open 'x' is no finite number \(and 1 more bad rows\)"):
        read_bars(tmp_path / "AAPL.csv", PricesSettings(), AS_OF)


@pytest.mark.parametrize(("text", "message"), [
    ("date,open,high,low\n2005-02-25,1,2,1\n", "columns"),
    ("open,high,low,close\n1,2,1,2\n", "columns"),
    ("date,open,open,high,low,close\n2005-02-25,1,1,2,1,2\n", "columns"),
    ("date,ts,open,high,low,close\n2005-02-25,2005-02-25,1,2,1,2\n", "columns"),
    ("date,open,high,low,close\n", "no row"),
    ("", "columns"),
    ('date,open,high,low,close\n"2005-02-25,1,2,1,2\n', "readable"),
])  # fmt: skip
def test_a_file_of_another_shape_is_refused(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        read_bars(written(tmp_path, text), PricesSettings(), AS_OF)


def test_bytes_that_are_no_text_or_no_parquet_are_refused(tmp_path):
    for name in ("AAPL.csv", "AAPL.parquet"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00PAR1")
        with pytest.raises(BadInput, match="readable"):
            read_bars(tmp_path / name, PricesSettings(), AS_OF)


def test_a_folder_gives_its_bar_files_and_a_wrong_path_one_clear_error(tmp_path):
    written(tmp_path, GOOD, "b.csv")
    written(tmp_path, GOOD, "a.CSV")
    written(tmp_path, GOOD, "c.txt")
    written(tmp_path, "no bars", "notes.txt")
    written(tmp_path, "of macOS", "._b.csv")
    found = find_bar_files(tmp_path)
    assert [file.name for file in found] == ["a.CSV", "b.csv", "c.txt"]
    assert find_ignored_files(tmp_path, found) == ["._b.csv", "notes.txt"]
    with pytest.raises(NotFound, match="no such file"):
        find_bar_files(tmp_path / "absent.csv")
    (tmp_path / "bars.xlsx").touch()
    with pytest.raises(BadInput, match=r"bars\.xlsx"):
        find_bar_files(tmp_path / "bars.xlsx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="a folder without one"):
        find_bar_files(tmp_path / "empty")
    (tmp_path / "parts.parquet" / "ticker=AAPL").mkdir(parents=True)
    with pytest.raises(BadInput, match="in parts"):
        find_bar_files(tmp_path / "parts.parquet")
