import multiprocessing
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from osiris.core.errors import BadInput, NoPrices, WorkspaceError
from osiris.market.bar_frames import adjust_splits, cumulative_split, to_bar_arrays
from osiris.market.bar_jumps import find_jumps
from osiris.market.bar_store import BarStore
from osiris.market.calendars import daily_frame, intraday_frame
from osiris.market.reconcile import is_confirmed
from osiris.market.sample import sample_bars

DATES = pd.DatetimeIndex(["2005-02-24", "2005-02-25", "2005-02-28", "2005-03-01"])


def bars(close: list[float], split: list[float] | None = None, source: str = "test", first: int = 0) -> pd.DataFrame:
    values = pd.DataFrame({"open": close, "close": close, "volume": 100.0, "split": split or [1.0] * len(close)})
    values["high"], values["low"] = values["close"] * 1.01, values["close"] * 0.99
    return daily_frame(DATES[first : first + len(close)], values, "XNYS", source)


@pytest.fixture
def store(tmp_path: Path) -> BarStore:
    return BarStore(tmp_path)


def test_a_bar_is_known_from_the_moment_of_its_close():
    frame = bars([1, 2, 3, 4])
    close = datetime(2005, 2, 25, 21, 0, tzinfo=UTC)
    known = to_bar_arrays(frame)
    assert known.complete_at(close).close.tolist() == [1, 2]
    assert known.complete_at(close.replace(hour=20, minute=59, second=59)).close.tolist() == [1]


def test_rebasing_puts_all_prices_into_the_basis_of_the_last_bar():
    frame = bars([90, 88, 45, 44], [1, 1, 2, 1])
    basis = adjust_splits(frame)
    assert cumulative_split(frame).tolist() == [1, 1, 2, 2]
    assert basis["close"].tolist() == [45, 44, 45, 44]
    assert basis["volume"].tolist() == [200, 200, 100, 100]
    assert frame["close"].tolist() == [90, 88, 45, 44]


def test_a_split_on_the_first_bar_changes_nothing():
    assert adjust_splits(bars([45, 44], [2, 1]))["close"].tolist() == [45, 44]
    assert adjust_splits(bars([])).empty


def test_a_split_after_the_moment_does_not_reach_back():
    frame = bars([90, 88, 45, 44], [1, 1, 2, 1])
    known = to_bar_arrays(frame).complete_at(datetime(2005, 2, 25, 21, tzinfo=UTC))
    assert known.adjust_splits().close.tolist() == [90, 88]


@pytest.mark.parametrize(("close", "split", "found"), [
    ([90, 88, 45, 44], [1, 1, 1, 1], ["2005-02-28"]),
    ([90, 88, 45, 44], [1, 1, 2, 1], []),
    ([90, 88, 87, 86], [1, 1, 2, 1], ["2005-02-28"]),
    ([4, 4, 40, 41], [1, 1, 1, 1], ["2005-02-28"]),
    ([90, 88, 70, 72], [1, 1, 1, 1], []),
])  # fmt: skip
def test_a_jump_by_a_split_ratio_without_a_split_is_suspicious(close, split, found):
    assert find_jumps(bars(close, split))["start"].dt.strftime("%Y-%m-%d").tolist() == found


def test_what_is_merged_comes_back_the_same(store):
    frame = bars([1, 2, 3, 4], [1, 1, 2, 1])
    assert store.merge("AAPL", frame).added == 4
    pd.testing.assert_frame_equal(store.get("aapl"), frame)
    assert store.tickers() == ["AAPL"]


def test_a_range_holds_the_bars_that_lie_in_it_entirely(store):
    frame = bars([1, 2, 3, 4])
    store.merge("AAPL", frame)
    inside = store.get("AAPL", frame["start"][1].to_pydatetime(), frame["end"][2].to_pydatetime())
    assert inside["close"].tolist() == [2, 3]
    assert store.get("AAPL", end=datetime(2004, 1, 1, tzinfo=UTC)).empty


def test_get_many_maps_tickers_to_bars(store):
    store.merge("AAPL", bars([1, 2]))
    store.merge("MSFT", bars([3]))
    assert {t: f["close"].tolist() for t, f in store.get_many(["AAPL", "MSFT"]).items()} == {
        "AAPL": [1, 2],
        "MSFT": [3],
    }


def test_an_unknown_ticker_has_no_prices_and_the_message_says_what_to_do(store):
    with pytest.raises(NoPrices, match="osiris prices update TSLA"):
        store.get("TSLA")


def test_a_ticker_cannot_leave_the_folder(store):
    with pytest.raises(BadInput, match="ticker"):
        store.get("../AAPL")


def test_later_bars_are_added_and_coverage_tells_of_them(store):
    store.merge("AAPL", bars([1, 2], source="a"))
    assert store.merge("AAPL", bars([3, 4], [2, 1], source="b", first=2)).added == 2
    coverage = store.coverage("AAPL")
    assert (coverage.bars, coverage.splits, coverage.sources) == (4, 1, ["a", "b"])
    assert coverage.last == datetime(2005, 3, 1, 21, tzinfo=UTC)


def test_a_second_source_that_agrees_confirms_and_changes_no_price(store):
    store.merge("AAPL", bars([100, 200], source="a"))
    merged = store.merge("AAPL", bars([101, 199], source="b"), 0.02)
    assert (merged.added, merged.changed, merged.disagreements) == (0, 0, [])
    assert store.get("AAPL")["close"].tolist() == [100, 200]
    assert store.get("AAPL")["source"].tolist() == ["a+b", "a+b"]


def test_a_second_source_that_differs_is_reported_and_not_written(store):
    store.merge("AAPL", bars([100, 200], source="a"))
    (found,) = store.merge("AAPL", bars([103, 200], source="b"), 0.02).disagreements
    assert found.describe("XNYS") == "2005-02-24: a close 100, b close 103"
    assert store.get("AAPL")["close"].tolist() == [100, 200]
    assert store.get("AAPL")["source"].tolist() == ["a", "a+b"]


def test_a_split_that_only_one_source_records_is_a_disagreement(store):
    store.merge("AAPL", bars([100, 50], source="a"))
    assert len(store.merge("AAPL", bars([100, 50], [1, 2], source="b")).disagreements) == 1


def test_only_replace_overwrites(store):
    store.merge("AAPL", bars([100, 200], source="a"))
    merged = store.merge("AAPL", bars([103, 200], source="b"), replace=True)
    assert (merged.added, merged.changed) == (0, 1)
    assert store.get("AAPL")["close"].tolist() == [103, 200]
    assert store.get("AAPL")["source"].tolist() == ["b+confirmed", "a+b+given"], "what did not change was not looked at"


def test_bars_with_nan_prices_are_dropped_and_counted(store):
    merged = store.merge("AAPL", bars([1, np.nan, 3]))
    assert (merged.added, merged.dropped) == (2, 1)


def test_another_format_is_refused(store):
    naive = bars([1]).assign(start=lambda f: f["start"].dt.tz_localize(None))
    with pytest.raises(BadInput, match="UTC"):
        store.merge("AAPL", naive)
    with pytest.raises(BadInput, match="columns"):
        store.merge("AAPL", bars([1]).drop(columns="split"))
    with pytest.raises(BadInput, match="2005-02-24"):
        store.merge("AAPL", pd.concat([bars([1]), bars([1])]))
    assert store.tickers() == []


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "daily").write_text("in the way")
    with pytest.raises(WorkspaceError, match="daily"):
        BarStore(tmp_path).merge("AAPL", bars([1]))


def merge_every_other(folder: Path, parity: int) -> int:
    frame, store = sample_bars("FB"), BarStore(folder)
    return sum(store.merge("FB", frame.iloc[[row]]).added for row in range(parity, 60, 2))


def test_processes_that_merge_at_once_lose_nothing(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(merge_every_other, [(tmp_path, 0), (tmp_path, 1)]) == [30, 30]
    pd.testing.assert_frame_equal(BarStore(tmp_path).get("FB"), sample_bars("FB").iloc[:60])


@pytest.mark.system
def test_a_killed_writer_leaves_a_file_that_reads(tmp_path):
    store = BarStore(tmp_path)
    store.merge("AAPL", bars([1, 2, 3, 3]))
    code = """
import sys
from tests.market.test_bar_store import BarStore, bars
store = BarStore(sys.argv[1])
print("ready", flush=True)
price = 3.0
while True:
    price += 1
    store.merge("AAPL", bars([price, price], first=2), replace=True)
"""
    root = Path(__file__).parents[2]
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=root)
        writer.stdout.readline()
        while store.get("AAPL")["close"].iloc[2] == 3:
            time.sleep(0.01)
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        assert len(store.get("AAPL")) == 4
        assert store.merge("AAPL", bars([3, 3], first=2), replace=True).changed == 2


@pytest.mark.system
def test_a_file_that_is_replaced_while_it_is_read_is_read_as_one_of_the_two(tmp_path):
    code = """
import os, sys
one, other, place = sys.argv[1:]
texts = [open(path, "rb").read() for path in (one, other)]
while True:
    for text in texts:
        with open(place + ".new", "wb") as file:
            file.write(text)
        os.replace(place + ".new", place)
"""
    stores, frame = [BarStore(tmp_path / name) for name in ("few", "many", "read")], sample_bars("AAPL")
    for store, count in zip(stores, (4, 3000, 4), strict=True):
        store.merge("AAPL", frame.iloc[:count])
    files = [str(tmp_path / name / "daily" / "AAPL.parquet") for name in ("few", "many", "read")]
    writer = subprocess.Popen([sys.executable, "-c", code, *files])
    try:
        read = [len(stores[2].get("AAPL")) for _ in range(100)]
    finally:
        writer.kill()
        writer.wait()
    assert set(read) == {4, 3000}
    assert list((tmp_path / "read").iterdir()) == [tmp_path / "read" / "daily"]


@pytest.mark.system
def test_importing_the_module_does_not_import_duckdb():
    code = (
        "import sys, osiris.market.bar_store; sys.exit('duckdb' in sys.modules or 'exchange_calendars' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestDisputes:
    """Who may end a dispute: its own source, when it agrees; a person; nobody else."""

    @pytest.fixture
    def disputed(self, store):
        store.merge("AAPL", bars([100, 200], source="a"))
        store.merge("AAPL", bars([120, 200], source="b"))
        assert [d.describe("XNYS") for d in store.disputes()["AAPL"]] == ["2005-02-24: a close 100, b close 120"]
        return store

    def test_the_stored_source_said_again_does_not_end_it(self, disputed):
        disputed.merge("AAPL", bars([100, 200], source="a"))
        disputed.merge("AAPL", bars([100, 200], source="c"))
        assert list(disputed.disputes()) == ["AAPL"]

    def test_its_own_source_ends_it_by_agreeing(self, disputed):
        disputed.merge("AAPL", bars([100, 200], source="b"))
        assert disputed.disputes() == {}

    def test_a_third_source_may_dispute_it_too(self, disputed):
        disputed.merge("AAPL", bars([90, 200], source="c"))
        disputed.merge("AAPL", bars([100, 200], source="b"))
        assert [d.offered_source for d in disputed.disputes()["AAPL"]] == ["c"]

    def test_a_person_ends_it_for_good(self, disputed):
        assert disputed.confirm("AAPL", "2005-02-24", "XNYS") == 1
        assert disputed.merge("AAPL", bars([120, 200], source="b")).disagreements == []
        disputed.merge("AAPL", bars([120, 200], source="person"), replace=True)
        assert disputed.merge("AAPL", bars([100, 200], source="a")).disagreements == []
        assert disputed.disputes() == {}

    def test_new_bars_of_a_person_stand_too(self, store):
        store.merge("AAPL", bars([100], source="person"), replace=True)
        assert store.merge("AAPL", bars([120], source="yahoo")).disagreements == []

    def test_a_person_who_replaces_one_bar_speaks_for_no_other(self, store):
        """The jump of the last bar stays held although the file that corrects the first one has it too."""
        store.merge("AAPL", bars([100, 100, 100, 2800], source="file"))
        store.merge("AAPL", bars([101, 100, 100, 2800], source="corrected"), replace=True)
        frame = store.get("AAPL")
        assert is_confirmed(frame["source"]).tolist() == [True, False, False, False]
        assert find_jumps(frame)["start"].dt.strftime("%m-%d").tolist() == ["03-01"]
        assert store.merge("AAPL", bars([101, 150, 100, 2800], source="yahoo")).disagreements == []

    def test_a_first_import_with_replace_lifts_no_guard(self, store):
        store.merge("AAPL", bars([100, 100, 100, 2800], source="file"), replace=True)
        assert len(find_jumps(store.get("AAPL"))) == 1

    def test_what_was_in_dispute_is_spoken_for_although_it_does_not_change(self, disputed):
        disputed.merge("AAPL", bars([100, 200], source="person"), replace=True)
        assert disputed.disputes() == {}
        assert is_confirmed(disputed.get("AAPL")["source"]).tolist() == [True, False]

    def test_high_and_low_are_compared_too(self, store):
        wild = bars([100, 200], source="file").assign(high=[140.0, 202.0], low=[60.0, 198.0])
        store.merge("AAPL", wild)
        (found,) = store.merge("AAPL", bars([100, 200], source="yahoo")).disagreements
        assert (found.column, found.kept, found.offered) == ("low", 60.0, 99.0)
        assert store.get("AAPL")["source"].tolist() == ["file", "file+yahoo"]

    def test_shorter_bars_are_disputed_too(self, store):
        store.merge("AAPL", bars([100], source="a"), interval="60m")
        store.merge("AAPL", bars([120], source="b"), interval="60m")
        assert [d.interval for d in store.disputes()["AAPL"]] == ["60m"]
        store.confirm("AAPL", "2005-02-24", "XNYS")
        assert store.disputes() == {}

    def test_it_outlives_a_correction_that_was_not_written(self, disputed, monkeypatch):
        def full(*_):
            raise OSError("No space left on device")

        monkeypatch.setattr("osiris.market.bar_rewrite.FileRewrite.publish", full)
        with pytest.raises(WorkspaceError):
            disputed.merge("AAPL", bars([120, 200], source="person"), replace=True)
        assert list(disputed.disputes()) == ["AAPL"]

    def test_a_list_that_cannot_be_read_is_not_taken_for_none(self, disputed, tmp_path):
        (tmp_path / "daily" / "AAPL.disputes.json").write_text('[{"start": "2005-02-24"}]')
        with pytest.raises(WorkspaceError, match=r"AAPL\.disputes\.json"):
            disputed.disputes()

    def test_a_day_is_the_exchange_s_own(self, store):
        """Sydney opens at 23:00 UTC of the day before: two UTC days are one session, called by its own date."""
        hours = pd.DatetimeIndex(["2024-12-10 23:00", "2024-12-11 02:00", "2024-12-11 23:00"], tz="UTC")
        values = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}, index=range(3))
        store.merge("BHP.AX", intraday_frame(hours, values, "XASX", "60m", "a"), interval="60m")
        store.merge("BHP.AX", intraday_frame(hours[1:2], values[:1] * 2, "XASX", "60m", "b"), interval="60m")
        assert store.confirm("BHP.AX", "2024-12-11", "XASX") == 2
        assert store.disputes() == {}
        assert store.get("BHP.AX", interval="60m")["source"].tolist() == ["a+confirmed", "a+confirmed", "a"]
