"""`osiris label`: ideas of a file against bars of a file; what is bad is named and keeps nothing else out."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from osiris.config.settings import OutcomesSettings
from osiris.core.errors import BadInput, NotFound
from osiris.labeling.label_file import LABEL_COLUMNS, LabelRules, label_file, to_csv, to_records, write_labels

AS_OF = datetime(2005, 3, 10, 22, tzinfo=UTC)
HEAD = "id,ticker,side,entry,target,stop,accepted_at\n"
BARS = """ticker,date,open,high,low,close,split
AAPL,2005-02-24,100,101,99,100,
AAPL,2005-02-25,100,101,99,100,
AAPL,2005-02-28,50.5,51,50,50.5,2
AAPL,2005-03-01,51,53.5,50.5,53,
IBM,2005-02-24,100,101,99,100,
IBM,2005-02-25,94,95,93,94,
MSFT,2005-02-24,100,101,99,100,
MSFT,2005-02-25,100,107,96,100,
GOOG,2005-02-24,104,105,103,104,
GOOG,2005-02-25,104,105,103,104,
"""
ACCEPTED = "2005-02-23T22:00:00+00:00"


def idea(name, ticker, side="long", entry="100", target="106", stop="97", accepted=ACCEPTED):
    return f"{name},{ticker},{side},{entry},{target},{stop},{accepted}\n"


@pytest.fixture
def label(tmp_path):
    def labelled(*rows, bars=BARS, rules=None, head=HEAD, as_of=AS_OF):
        (tmp_path / "ideas.csv").write_text(head + "".join(rows))
        (tmp_path / "bars.csv").write_text(bars)
        return label_file(tmp_path / "ideas.csv", tmp_path / "bars.csv", LabelRules(rules or OutcomesSettings()), as_of)

    return labelled


def verdicts(found):
    columns = found.labels[["id", "outcome", "exit_reason", "close_price", "ambiguous"]]
    return [tuple(None if value != value else value for value in row) for row in columns.itertuples(index=False)]


def test_a_split_a_gap_a_double_touch_and_an_unfilled_entry(label):
    found = label(idea("split", "AAPL"), idea("gap", "IBM"), idea("both", "MSFT"), idea("unfilled", "GOOG"))
    assert verdicts(found) == [
        ("split", "win", "target", 53.0, False),
        ("gap", "loss", "stop", 94.0, False),
        ("both", "loss", "stop", 97.0, True),
        ("unfilled", "open", None, None, None),
    ]
    assert found.bad == []
    assert found.labels["r_multiple"].tolist()[:3] == pytest.approx([2.0, -2.0, -1.0])


def test_the_answer_has_the_documented_columns_in_the_order_of_the_file(label):
    found = label(idea("b", "MSFT"), idea("a", "AAPL"))
    assert to_csv(found.labels).splitlines()[0] == ",".join(LABEL_COLUMNS)
    assert found.labels["id"].tolist() == ["b", "a"]
    assert "2005-02-25T21:00:00+00:00" in to_csv(found.labels)
    assert to_records(found.labels)[0]["open_reason"] is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (idea("x", "AAPL", target="95"), "a long idea needs stop < entry < target"),
        (idea("x", "AAPL", side="buy"), "side"),
        (idea("x", "AAPL", entry="nan"), "entry"),
        (idea("x", "AAPL", stop="-1"), "stop"),
        (idea("x", "not a ticker!"), "a ticker such as AAPL"),
        (idea("x", "AAPL", accepted="2005-02-23T22:00:00"), "time zone"),
        (idea("x", "AAPL", accepted="yesterday"), "ISO 8601"),
        (idea("good", "AAPL"), "an id of its own"),
        (idea("", "AAPL"), "an id of its own"),
        (idea("x", "AAPL", accepted="0001-01-01T00:00:00+00:00"), "the years 1900"),
        (idea("x", "AAPL", accepted="9999-01-01T00:00:00+00:00"), "the years 1900"),
        ("x,AAPL,long,100\n", "4 fields, the header has 7"),
    ],
)
def test_a_bad_idea_is_named_with_its_line_and_stops_no_other(label, row, words):
    found = label(idea("good", "AAPL"), row, idea("also", "IBM"))
    (bad,) = found.bad
    assert bad.line == 3
    assert words in bad.reason
    assert found.labels["id"].tolist() == ["good", "also"]


def test_a_bad_bar_is_named_and_counts_as_missing(label):
    broken = BARS.replace("AAPL,2005-02-25,100,101,99,100", "AAPL,2005-02-25,100,90,99,100")
    found = label(idea("split", "AAPL"), idea("gap", "IBM"), bars=broken)
    (bad,) = found.bad
    assert (bad.line, "high 90 is below" in bad.reason) == (3, True)
    assert verdicts(found)[0] == ("split", "open", None, None, None)
    assert found.labels["open_reason"][0] == "no bar of 2005-02-25"
    assert found.labels["outcome"][1] == "loss"


def test_a_ticker_without_bars_stays_open(label):
    found = label(idea("x", "TSLA"))
    assert found.labels["open_reason"].tolist() == ["no prices from any source"]


def test_levels_are_in_the_basis_of_the_day_of_acceptance(label):
    """Accepted at noon of the ex-date: the levels are those of the new shares, the bar under way does not count."""
    found = label(idea("x", "AAPL", "long", "51", "53", "49", "2005-02-28T17:00:00+00:00"))
    assert verdicts(found) == [("x", "win", "target", 53.0, False)]


def test_hourly_bars_settle_what_daily_ones_leave_in_doubt(label):
    hours = "".join(
        f"MSFT,2005-02-25T{hour}:30:00Z,{o},{h},{low},{c},\n"
        for hour, (o, h, low, c) in zip(range(14, 21), [(100, 107, 99, 104)] + [(104, 105, 96, 100)] * 6, strict=True)
    )
    hourly = "ticker,ts,open,high,low,close,split\nMSFT,2005-02-24T14:30:00Z,100,101,99,100,\n" + "".join(
        f"MSFT,2005-02-24T{hour}:30:00Z,100,101,99,100,\n" for hour in range(15, 21)
    )
    assert verdicts(label(idea("x", "MSFT"), bars=hourly + hours)) == [("x", "win", "target", 106.0, False)]
    assert verdicts(label(idea("x", "MSFT"))) == [("x", "loss", "stop", 97.0, True)]


def test_nothing_later_than_as_of_is_seen(label):
    found = label(idea("x", "AAPL"), as_of=datetime(2005, 2, 28, 21, tzinfo=UTC))
    assert found.labels["outcome"].tolist() == ["open"]
    assert [row.line for row in found.bad] == [5]  # a bar of the future is no good bar


def test_expiry_is_a_rule_of_the_call(label):
    found = label(idea("x", "AAPL"), rules=OutcomesSettings(max_holding_days=4))
    assert verdicts(found)[0][:3] == ("x", "win", "expiry")


def test_a_file_without_a_column_is_refused(label):
    with pytest.raises(BadInput, match="accepted_at"):
        label("x,AAPL,long,100,106,97\n", head="id,ticker,side,entry,target,stop\n")


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"ideas\.csv"):
        label_file(tmp_path / "ideas.csv", tmp_path, LabelRules(), AS_OF)


def test_a_folder_of_bars_without_one_is_named(tmp_path):
    (tmp_path / "ideas.csv").write_text(HEAD + idea("x", "AAPL"))
    (tmp_path / "bars").mkdir()
    with pytest.raises(NotFound, match="bars"):
        label_file(tmp_path / "ideas.csv", tmp_path / "bars", LabelRules(), AS_OF)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_labels_are_written_whole(label, tmp_path, suffix):
    found = label(idea("split", "AAPL"), idea("unfilled", "GOOG"))
    out = tmp_path / f"labels{suffix}"
    write_labels(found.labels, out)
    read = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    assert read.columns.tolist() == LABEL_COLUMNS
    assert read["outcome"].tolist() == ["win", "open"]
    assert [path.name for path in tmp_path.glob("*labels*")] == [out.name]


def test_another_suffix_is_refused(label, tmp_path):
    with pytest.raises(BadInput, match=r"\.csv or \.parquet"):
        write_labels(label(idea("x", "AAPL")).labels, tmp_path / "labels.xlsx")


def test_ideas_may_be_parquet(label, tmp_path):
    rows = [dict(zip(HEAD.strip().split(","), idea("x", "AAPL").strip().split(","), strict=True))]
    pd.DataFrame(rows).astype({"entry": float, "target": float, "stop": float}).to_parquet(tmp_path / "ideas.parquet")
    (tmp_path / "bars.csv").write_text(BARS)
    found = label_file(tmp_path / "ideas.parquet", tmp_path / "bars.csv", LabelRules(), AS_OF)
    assert found.labels["outcome"].tolist() == ["win"]


@pytest.mark.parametrize("date", ["0001-01-03", "1500-01-03", "9999-01-04"])
def test_a_bar_of_an_impossible_year_is_a_bad_row(label, date):
    found = label(idea("gap", "IBM"), bars=BARS + f"IBM,{date},100,101,99,100,\n")
    assert [(row.line, "no YYYY-MM-DD" in row.reason) for row in found.bad] == [(12, True)]
    assert found.labels["outcome"].tolist() == ["loss"]


def test_two_files_that_differ_on_a_bar_leave_it_in_doubt(tmp_path):
    (tmp_path / "ideas.csv").write_text(HEAD + idea("gap", "IBM"))
    folder = tmp_path / "bars"
    folder.mkdir()
    (folder / "a.csv").write_text(BARS)
    (folder / "b.csv").write_text(BARS.replace("IBM,2005-02-25,94,95,93,94", "IBM,2005-02-25,100,107,99,106"))
    found = label_file(tmp_path / "ideas.csv", folder, LabelRules(), AS_OF)
    assert found.labels["open_reason"].tolist() == ["sources differ on 2005-02-25"]


def hourly(*hours):
    rows = "".join(f"MSFT,2005-02-25T{hour}:30:00Z,100,101,99,100\n" for hour in hours)
    return "ticker,ts,open,high,low,close\n" + rows


def test_bars_of_no_known_length_are_refused_in_one_line(label):
    found = label(idea("x", "MSFT"), bars=hourly(14, 18))
    (bad,) = found.bad
    assert (bad.line, "last 240 minutes" in bad.reason) == (2, True)
    assert found.labels["open_reason"].tolist() == ["no prices from any source"]


def test_a_bad_row_does_not_change_the_length_of_the_others(label):
    odd = hourly(*range(14, 21)) + "MSFT,2005-02-25T15:31:00Z,100,101,99,100\n"
    found = label(idea("x", "MSFT", accepted="2005-02-25T14:00:00Z"), bars=odd)
    assert [(row.line, row.reason) for row in found.bad] == [
        (9, "the bar does not begin a multiple of 60m after the open")
    ]
    assert found.labels["open_reason"].tolist() == ["no bar of 2005-02-28"]


def test_an_idea_of_a_split_s_day_means_the_same_before_and_after_its_close(label):
    hours = "".join(
        f"AAPL,2005-02-28T{hour}:30:00Z,50.5,51,50,50.5,{'2' if hour == 14 else ''}\n" for hour in range(14, 21)
    )
    days = "ticker,ts,open,high,low,close,split\n"
    before = "".join(f"AAPL,2005-02-25T{hour}:30:00Z,100,101,99,100,\n" for hour in range(14, 21))
    hit = hours.replace("T16:30:00Z,50.5,51,50,50.5", "T16:30:00Z,50.5,53.5,50,53")
    row = idea("x", "AAPL", "long", "50.5", "53", "49", "2005-02-28T14:35:00+00:00")
    for moment in (datetime(2005, 2, 28, 18, 30, tzinfo=UTC), datetime(2005, 3, 1, 12, tzinfo=UTC)):
        assert verdicts(label(row, bars=days + before + hit, as_of=moment))[0][:2] == ("x", "win")


def test_minutes_with_holes_are_minutes(label):
    minutes = [30, 31, 33, 35, 37, 39, 40]
    rows = "".join(f"MSFT,2005-02-25T14:{minute}:00Z,100,101,99,100\n" for minute in minutes)
    assert label(idea("x", "MSFT"), bars="ticker,ts,open,high,low,close\n" + rows).bad == []


WEEKS = """ticker,date,open,high,low,close
AAPL,2023-12-26,100,100.2,99.8,100
AAPL,2024-01-02,100,100.2,99.8,100
AAPL,2024-01-08,100,106.5,99.5,106
"""


def test_a_week_is_not_known_on_its_first_day(label):
    row = idea("x", "AAPL", accepted="2024-01-05T22:00:00+00:00")
    found = label(row, bars=WEEKS, as_of=datetime(2024, 1, 9, 12, tzinfo=UTC))
    assert found.labels["outcome"].tolist() == ["open"]
    assert ["weekly bars" in bad.reason for bad in found.bad] == [True]


def test_a_day_that_is_there_twice_with_other_prices_is_missing(label):
    rows = "AAPL,2024-01-02,100,100.2,99.8,100\nAAPL,2024-01-03,100,100.2,99.8,100\n"
    both = "AAPL,2024-01-04,100,107,99.5,106\nAAPL,2024-01-04,100,101,96,97\n"
    row = idea("x", "AAPL", accepted="2024-01-03T22:00:00+00:00")
    found = label(
        row, bars="ticker,date,open,high,low,close\n" + rows + both, as_of=datetime(2024, 1, 5, 12, tzinfo=UTC)
    )
    assert found.labels["open_reason"].tolist() == ["no bar of 2024-01-04"]
    assert [bad.line for bad in found.bad] == [4, 5]


def test_the_ideas_and_the_labels_may_lie_beside_the_bars(tmp_path):
    (tmp_path / "ideas.csv").write_text(HEAD + idea("gap", "IBM"))
    (tmp_path / "bars.csv").write_text(BARS)
    (tmp_path / "labels.csv").write_text("id,outcome\n")
    (tmp_path / "notes.md").write_text("of mine")
    out = tmp_path / "labels.csv"
    found = label_file(tmp_path / "ideas.csv", tmp_path, LabelRules(), AS_OF, out=out)
    assert found.labels["outcome"].tolist() == ["loss"]
    assert found.notes == ["left out, no files of bars: notes.md"]


def test_ideas_with_their_ids_in_the_index_are_read(label, tmp_path):
    rows = pd.DataFrame([idea("x", "AAPL").strip().split(",")], columns=HEAD.strip().split(","))
    rows.set_index("id").to_parquet(tmp_path / "ideas.parquet")
    (tmp_path / "bars.csv").write_text(BARS)
    found = label_file(tmp_path / "ideas.parquet", tmp_path / "bars.csv", LabelRules(), AS_OF)
    assert found.labels["id"].tolist() == ["x"]
