"""A long row of bars is read, checked, merged and written in pieces, and what comes of it is the same as in one."""

import struct
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osiris.config.settings import PricesSettings, Settings
from osiris.core.errors import BadInput, DamagedBars
from osiris.core.row_files import BadRows
from osiris.market.backfill import describe_stored_jumps
from osiris.market.bar_disk import BarReader
from osiris.market.bar_pieces import align_pieces
from osiris.market.bar_store import BarStore
from osiris.market.calendars import all_session_bounds, intraday_frame
from osiris.market.file_import import ImportOptions, Spool, read_bars, scan_bars
from osiris.market.file_import.calendar_positions import session_opens
from osiris.market.importer import import_bars

AS_OF = datetime(2024, 3, 1, tzinfo=UTC)
FIRST = pd.Timestamp("2024-01-01", tz="UTC")
SMALL = 40


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("osiris.market.bar_rewrite.MAX_PIECE_BARS", SMALL)
    monkeypatch.setattr("osiris.market.file_import.spool.MAX_PIECE_BARS", SMALL)
    monkeypatch.setattr("osiris.market.file_import.series_profile.MAX_PIECE_BARS", SMALL)


def coin(minutes, prices=100.0, source="a"):
    """One-minute bars around the clock that begin so many minutes after the first moment."""
    starts = FIRST + pd.to_timedelta(np.asarray(minutes), unit="min")
    close = np.broadcast_to(np.asarray(prices, float), len(starts))
    values = pd.DataFrame({"open": close, "high": close * 1.001, "low": close * 0.999, "close": close})
    return intraday_frame(pd.DatetimeIndex(starts), values.assign(volume=1.0, split=1.0), "24/7", "1m", source)


def merged(folder, *frames, **options):
    """What a store holds after frames were merged into it one after the other, and what the last merge said."""
    store = BarStore(folder)
    for frame in frames:
        said = store.merge("BTC-USD", frame, interval="1m", **options)
    return store.get("BTC-USD", interval="1m"), said, store.disputes()


minutes = st.lists(st.integers(0, 400), min_size=1, max_size=200, unique=True).map(sorted)


@settings(max_examples=40, deadline=None)
@given(first=minutes, second=minutes, data=st.data())
def test_a_merge_in_pieces_is_a_merge_at_once(tmp_path_factory, first, second, data):
    other = [data.draw(st.sampled_from([100.0, 101.0, 150.0])) for _ in second]
    replace = data.draw(st.booleans())
    frames = coin(first), coin(second, other, "b")
    in_pieces = merged(tmp_path_factory.mktemp("pieces"), *frames, replace=replace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("osiris.market.bar_rewrite.MAX_PIECE_BARS", 10**6)
        at_once = merged(tmp_path_factory.mktemp("whole"), *frames, replace=replace)
    pd.testing.assert_frame_equal(in_pieces[0], at_once[0])
    assert in_pieces[1:] == at_once[1:]


def test_what_is_offered_in_pieces_is_merged_as_one(tmp_path):
    store, whole = BarStore(tmp_path / "a"), coin(range(300))
    said = store.merge_pieces("BTC-USD", lambda: (whole.iloc[at : at + 90] for at in range(0, 300, 90)), interval="1m")
    assert (said.offered, said.added) == (300, 300)
    pd.testing.assert_frame_equal(store.get("BTC-USD", interval="1m"), whole)
    assert [len(piece) for piece in store.read_pieces("BTC-USD", "1m")] == [40, 40, 40, 40, 40, 40, 30, 30]


def test_spans_cover_all_time_and_reach_across_no_edge():
    edges = [FIRST + pd.Timedelta(minutes=at) for at in (10, 20, 30)]
    spans = list(align_pieces(edges, [coin([12, 13]), coin([14, 25])]))
    assert [(low, high) for (low, high), _ in spans] == [
        (None, edges[0]),
        (edges[0], FIRST + pd.Timedelta(minutes=14)),
        (FIRST + pd.Timedelta(minutes=14), edges[1]),
        (edges[1], edges[2]),
        (edges[2], None),
    ]
    assert [len(part) if part is not None else 0 for _, part in spans] == [0, 2, 1, 1, 0]


def test_what_changes_nothing_writes_nothing(tmp_path):
    frame = coin(range(200))
    merged(tmp_path, frame)
    (path,) = tmp_path.glob("*/BTC-USD.parquet")
    before = path.stat().st_ino
    merged(tmp_path, frame)
    assert path.stat().st_ino == before
    assert list(path.parent.glob("*.tmp")) == []


def test_a_damaged_piece_is_a_damaged_file(tmp_path):
    frame = coin(range(200))
    merged(tmp_path, frame)
    (path,) = tmp_path.glob("*/BTC-USD.parquet")
    assert len(BarReader(tmp_path).read_row_groups(path)[0]) == 4
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    path.write_bytes(content)
    store = BarStore(tmp_path)
    with pytest.raises(DamagedBars):
        store.merge("BTC-USD", coin(range(200, 210)), interval="1m")
    said = store.merge("BTC-USD", frame, interval="1m", repair=True)
    assert (said.added, bool(said.moved_to)) == (200, True)
    pd.testing.assert_frame_equal(store.get("BTC-USD", interval="1m"), frame)


def test_a_jump_between_two_pieces_is_seen_once(tmp_path):
    store, prices = BarStore(tmp_path), np.full(200, 100.0)
    prices[80:] = 10.0
    store.merge("BTC-USD", coin(range(200), prices), interval="1m")
    edges, _ = BarReader(tmp_path).read_row_groups(tmp_path / "1m" / "BTC-USD.parquet")
    assert edges[1] == FIRST + pd.Timedelta(minutes=80)
    found = describe_stored_jumps(store, "BTC-USD", "24/7", "1m")
    assert [line.split(":")[0] for line in found] == ["BTC-USD 2024-01-01"]
    assert describe_stored_jumps(store, "BTC-USD", "24/7", "1m", FIRST + pd.Timedelta(minutes=80)) == found
    assert describe_stored_jumps(store, "BTC-USD", "24/7", "1m", FIRST + pd.Timedelta(minutes=81)) == []


def file_of(folder, frame, order):
    rows = frame.iloc[list(order)].assign(date=lambda f: f["start"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    path = folder / "BTC-USD.csv"
    rows[["date", "open", "high", "low", "close", "volume"]].to_csv(path, index=False)
    return path


ORDERS = {
    "forwards": range(300),
    "backwards": range(299, -1, -1),
    "shuffled": np.random.default_rng(0).permutation(300),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_a_file_is_imported_in_pieces_whatever_the_order_of_its_rows(tmp_path, order):
    frame = coin(range(300), np.linspace(100, 101, 300))
    store = BarStore(tmp_path / "bars")
    report = import_bars(store, Settings(), file_of(tmp_path, frame, order), AS_OF)
    assert (report.rows, report.added, report.tickers) == (300, 300, ["BTC-USD"])
    found = store.get("BTC-USD", interval="1m")
    assert found["start"].equals(frame["start"])
    np.testing.assert_allclose(found["close"], frame["close"], rtol=1e-12)
    (bars,) = read_bars(tmp_path / "BTC-USD.csv", PricesSettings(), AS_OF)
    pd.testing.assert_frame_equal(bars.frame, found)


def test_rows_of_one_bar_are_never_apart(tmp_path):
    """Each minute stands twice, once with another price: all are bad, wherever the file is cut."""
    frame = pd.concat([coin(range(0, 6000, 30)), coin(range(0, 6000, 30), 101.0)], ignore_index=True)
    with pytest.raises(BadRows) as caught:
        read_bars(file_of(tmp_path, frame, range(400)), PricesSettings(), AS_OF)
    assert len(caught.value.bad) == 400
    assert all("2 times with other values" in row.reason for row in caught.value.bad)


def shares(days, minutes=390, step=1):
    """Bars of sessions in New York, each from its open on."""
    opens = all_session_bounds("XNYS")[0]
    first = int(np.searchsorted(opens, FIRST.value))
    starts = np.concatenate([opens[first + day] + np.arange(0, minutes, step) * 60 * 10**9 for day in range(days)])
    close = np.full(len(starts), 100.0)
    values = pd.DataFrame({"open": close, "high": close * 1.001, "low": close * 0.999, "close": close})
    return pd.DatetimeIndex(starts, tz="UTC"), values.assign(volume=1.0)


def share_file(folder, days=5, **columns):
    starts, values = shares(days)
    rows = values.assign(date=starts.strftime("%Y-%m-%dT%H:%M:%SZ"), **columns)
    return rows.set_index("date")


@pytest.fixture
def larger_pieces(monkeypatch):
    monkeypatch.setattr("osiris.market.file_import.spool.MAX_PIECE_BARS", 500)
    monkeypatch.setattr("osiris.market.file_import.series_profile.MAX_PIECE_BARS", 500)


@pytest.mark.usefixtures("larger_pieces")
class TestDecidedAsAWhole:
    """A piece is no series: what most bars say is asked of the whole."""

    def test_a_row_at_each_close_costs_these_rows_alone(self, tmp_path):
        rows = share_file(tmp_path)
        closes = [f"{day[:11]}21:00:00Z" for day in rows.index[389::390]]
        rows = pd.concat([rows, rows.iloc[: len(closes)].set_axis(closes)]).sort_index()
        (tmp_path / "AAPL.csv").write_text(rows.rename_axis("date").to_csv())
        (found,), bad = scan_bars(tmp_path / "AAPL.csv", PricesSettings(), AS_OF)
        assert (len(found.frame), len(bad)) == (5 * 390, 5)

    def test_a_first_session_off_the_grid_costs_these_rows_alone(self, tmp_path):
        rows = share_file(tmp_path, 10).reset_index()
        rows.loc[:150, "date"] = rows.loc[:150, "date"].str.replace(":00Z", ":07Z")
        rows.to_csv(tmp_path / "AAPL.csv", index=False)
        (found,), bad = scan_bars(tmp_path / "AAPL.csv", PricesSettings(), AS_OF)
        assert (len(found.frame), len(bad)) == (3900 - 151, 151)

    def test_a_refusal_names_the_whole_series_and_its_first_line(self, tmp_path):
        rows = share_file(tmp_path, 10).reset_index()
        rows["date"] = rows["date"].str.replace(":00Z", ":07Z")
        rows.iloc[::-1].to_csv(tmp_path / "AAPL.csv", index=False)
        (bad,) = scan_bars(tmp_path / "AAPL.csv", PricesSettings(), AS_OF)[1]
        assert bad.line == 2
        assert bad.reason.startswith("the 3900 bars of AAPL")

    def test_pieces_begin_with_sessions(self, tmp_path):
        share_file(tmp_path, 10).to_csv(tmp_path / "AAPL.csv")
        with Spool(ImportOptions()) as spool:
            spool.add_file(tmp_path / "AAPL.csv")
            (key,) = spool.series_keys()
            pieces = list(spool.pieces(key, session_opens("XNYS")))
        assert sum(map(len, pieces)) == 3900
        assert {pd.Timestamp(int(piece["at"][0]), unit="us").strftime("%H:%M") for piece in pieces} == {"14:30"}


@pytest.mark.parametrize("coarse", [range(0, 1000, 5), range(0, 4000, 60)], ids=["5m", "60m"])
@pytest.mark.parametrize("first", [True, False])
def test_bars_of_two_lengths_are_refused(tmp_path, coarse, first):
    """The longer ones pass for minutes with gaps between them, and would be known before they ended."""
    fine, longer = np.arange(3000), np.array(coarse)
    parts = [longer, longer[-1] + 60 + fine] if first else [fine, 3060 + longer]
    frame = pd.concat([coin(part) for part in parts], ignore_index=True)
    store, file = BarStore(tmp_path / "bars"), file_of(tmp_path, frame, range(len(frame)))
    with pytest.raises(BadInput, match=r"minutes apart from 2024-01-0\d .* on, and 1 elsewhere"):
        import_bars(store, Settings(), file, AS_OF)
    assert store.tickers("1m") == []


def test_minutes_that_are_lacking_at_random_are_gaps(tmp_path):
    kept = np.flatnonzero(np.random.default_rng(0).random(4000) < 0.1)
    store = BarStore(tmp_path / "bars")
    assert import_bars(store, Settings(), file_of(tmp_path, coin(kept), range(len(kept))), AS_OF).added == len(kept)


def test_a_file_that_gives_fewer_bars_than_it_has_is_damaged(tmp_path):
    """One bit of a footer, which has no checksum, makes a reader leave a whole piece out."""
    merged(tmp_path, coin(range(200)))
    (path,) = tmp_path.glob("*/BTC-USD.parquet")
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    least = struct.pack("<q", (FIRST + pd.Timedelta(minutes=80)).value // 1000)
    later = struct.pack("<q", (FIRST + pd.Timedelta(minutes=90)).value // 1000)
    assert least in content[footer:]
    path.write_bytes(content[:footer] + content[footer:].replace(least, later))
    with pytest.raises(DamagedBars, match="gives"):
        BarStore(tmp_path).merge("BTC-USD", coin(range(200, 210)), interval="1m")


def test_a_stored_file_with_a_bar_twice_is_damaged(tmp_path):
    merged(tmp_path, coin(range(30)))
    (path,) = tmp_path.glob("*/BTC-USD.parquet")
    twice = pd.read_parquet(path)
    pd.concat([twice, twice]).to_parquet(path, index=False)
    with pytest.raises(DamagedBars, match="a bar twice"):
        BarStore(tmp_path).merge("BTC-USD", coin(range(10)), interval="1m")
    assert merged(tmp_path, coin(range(10)), repair=True)[1].added == 10


def test_no_piece_is_left_too_short_to_tell_what_is_usual(tmp_path):
    merged(tmp_path, coin(range(81)))
    assert [len(piece) for piece in BarStore(tmp_path).read_pieces("BTC-USD", "1m")] == [40, 21, 20]
