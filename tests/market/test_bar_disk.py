"""Files of bars that are damaged, and sessions of which a person said that they had no bars."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from osiris.core.errors import DamagedBars, NotFound
from osiris.market.bar_store import BarStore
from osiris.market.calendars import daily_frame, intraday_frame

DAYS = pd.DatetimeIndex(["2024-01-03", "2024-01-04", "2024-01-05"])
AS_OF = datetime(2024, 1, 8, tzinfo=UTC)


def values(rows):
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 100.0), index=range(rows))


def daily(dates=DAYS, source="file:a"):
    return daily_frame(dates, values(len(dates)), "XNYS", source)


def hours(day, first, count, interval="60m"):
    starts = pd.date_range(f"{day} 14:30", periods=7, freq="60min", tz="UTC")[first : first + count]
    return intraday_frame(starts, values(count), "XNYS", interval, "file:h")


@pytest.fixture
def store(tmp_path):
    store = BarStore(tmp_path / "bars")
    for ticker in ("AAA", "DDD", "ZZZ"):
        store.merge(ticker, daily())
    return store


def emptied(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def torn(path):
    content = bytearray(path.read_bytes())
    content[8:200] = b"\xff" * 192
    path.write_bytes(content)


def of_another_schema(path):
    pd.DataFrame({"a": [1]}).to_parquet(path)


def of_other_types(path):
    daily().assign(start="monday", open="dear").to_parquet(path)


def a_folder(path):
    path.unlink()
    path.mkdir()
    (path / "part.parquet").write_bytes(b"x")


def a_dangling_link(path):
    path.unlink()
    path.symlink_to("nowhere.parquet")


@pytest.mark.parametrize(
    "damage", [emptied, truncated, torn, of_another_schema, of_other_types, a_folder, a_dangling_link]
)
class TestDamage:
    @pytest.fixture
    def path(self, store, damage, tmp_path):
        path = tmp_path / "bars" / "daily" / "DDD.parquet"
        damage(path)
        return path

    def test_it_concerns_one_ticker_alone_and_names_its_own_path(self, store, path):
        found = store.get_many(["AAA", "DDD", "ZZZ"])
        assert sorted(found) == ["AAA", "ZZZ"]
        assert len(found["AAA"]) == len(found["ZZZ"]) == 3
        assert list(store.damaged_files) == [path]
        with pytest.raises(DamagedBars, match=r"daily/DDD\.parquet") as caught:
            store.get("DDD")
        assert ".read-" not in str(caught.value)
        assert len(store.get("AAA")) == 3

    def test_bars_that_a_person_brings_repair_it_and_others_do_not(self, store, path):
        with pytest.raises(DamagedBars):
            store.merge("DDD", daily())
        aside = store.merge("DDD", daily(), repair=True).moved_to
        assert aside == f"{path}.damaged"
        assert path.with_name("DDD.parquet.damaged").lstat()
        assert len(store.get_many(["DDD", "AAA"])["DDD"]) == 3
        assert store.damaged_files == {}
        emptied(path)
        assert store.merge("DDD", daily(), repair=True).moved_to == f"{path}.damaged1", "the first is still there"


class TestAbsent:
    def test_a_session_without_a_bar_had_none_until_one_comes(self, store):
        store.merge("HALT", daily(DAYS[[0, 2]]))
        assert store.confirm("HALT", "2024-01-04", "XNYS", AS_OF) == 0
        opened = datetime(2024, 1, 4, 14, 30, tzinfo=UTC)
        assert BarStore(store._root).absences(["HALT", "AAA"]) == {"HALT": [opened]}
        store.merge("HALT", daily(DAYS[2:]))
        assert store.absences(["HALT"]) == {"HALT": [opened]}, "a bar of another day says nothing"
        store.merge("HALT", daily(DAYS[1:2]))
        assert store.absences(["HALT"]) == {}

    def test_said_twice_it_is_noted_once_and_every_word_stays_on_record(self, store, tmp_path):
        store.merge("HALT", daily(DAYS[[0, 2]]))
        for _ in range(2):
            store.confirm("HALT", "2024-01-04", "XNYS", AS_OF)
        store.merge("HALT", daily(DAYS[1:2]))
        lines = (tmp_path / "bars" / "daily" / "HALT.absent.jsonl").read_text().splitlines()
        assert len(lines) == 2

    def test_a_word_that_a_crash_left_unfinished_is_none(self, store, tmp_path):
        store.merge("HALT", daily(DAYS[[0, 2]]))
        noted = tmp_path / "bars" / "daily" / "HALT.absent.jsonl"
        noted.write_bytes(b'{"start": "2024-01-')
        assert store.absences(["HALT"]) == {}
        store.confirm("HALT", "2024-01-04", "XNYS", AS_OF)
        assert len(store.absences(["HALT"])["HALT"]) == 1

    def test_of_a_session_with_some_hours_the_others_had_none(self, store):
        store.merge("HHH", hours("2024-01-04", 0, 3), interval="60m")
        assert store.confirm("HHH", "2024-01-04", "XNYS", AS_OF) == 3
        assert len(store.absences(["HHH"])["HHH"]) == 1
        store.merge(
            "HHH",
            hours("2024-01-04", 1, 1).assign(end=lambda bars: bars["end"] - pd.Timedelta("30min")),
            interval="30m",
        )
        assert len(store.absences(["HHH"])["HHH"]) == 1, "it tells of an hour that was there"
        store.merge("HHH", hours("2024-01-04", 5, 1), interval="60m")
        assert store.absences(["HHH"]) == {}

    @pytest.mark.parametrize("day", ["2024-01-06", "2024-01-08", "2024-1-4", "yesterday", "2099-01-05"])
    def test_a_day_without_a_session_that_is_over_is_not_found(self, store, day):
        with pytest.raises(NotFound):
            store.confirm("AAA", day, "XNYS", AS_OF)

    def test_a_ticker_without_any_bar_is_not_found(self, store):
        with pytest.raises(NotFound):
            store.confirm("AAAA", "2024-01-04", "XNYS", AS_OF)
