"""A long row of bars is read, checked, merged and written in pieces, and what comes of it is the same as in one."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osiris.bar_pieces import beside, edges_of
from osiris.calendars import intraday_frame
from osiris.errors import BadInput, DamagedBars
from osiris.loop.feed import stored_jumps
from osiris.loop.price_files import import_bars
from osiris.row_files import BadRows
from osiris.settings import Prices, Settings
from osiris.store.bar_files import read_bars
from osiris.store.bars import BarStore

AS_OF = datetime(2024, 3, 1, tzinfo=UTC)
FIRST = pd.Timestamp("2024-01-01", tz="UTC")
SMALL = 40


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("osiris.bar_rewrite.PIECE", SMALL)
    monkeypatch.setattr("osiris.store.bar_files.spool.PIECE", SMALL)


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
        patch.setattr("osiris.bar_rewrite.PIECE", 10**6)
        at_once = merged(tmp_path_factory.mktemp("whole"), *frames, replace=replace)
    pd.testing.assert_frame_equal(in_pieces[0], at_once[0])
    assert in_pieces[1:] == at_once[1:]


def test_what_is_offered_in_pieces_is_merged_as_one(tmp_path):
    store, whole = BarStore(tmp_path / "a"), coin(range(300))
    said = store.merge_pieces("BTC-USD", lambda: (whole.iloc[at : at + 90] for at in range(0, 300, 90)), interval="1m")
    assert (said.offered, said.added) == (300, 300)
    pd.testing.assert_frame_equal(store.get("BTC-USD", interval="1m"), whole)
    assert [len(piece) for piece in store.pieces("BTC-USD", "1m")] == [40, 40, 10, 40, 40, 10, 40, 40, 10, 30]


def test_spans_cover_all_time_and_reach_across_no_edge():
    edges = [FIRST + pd.Timedelta(minutes=at) for at in (10, 20, 30)]
    spans = list(beside(edges, [coin([12, 13]), coin([14, 25])]))
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
    assert len(edges_of(path)) == 4
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    path.write_bytes(content)
    store = BarStore(tmp_path)
    with pytest.raises(DamagedBars):
        store.merge("BTC-USD", coin(range(200, 210)), interval="1m")
    said = store.merge("BTC-USD", frame, interval="1m", repair=True)
    assert (said.added, bool(said.aside)) == (200, True)
    pd.testing.assert_frame_equal(store.get("BTC-USD", interval="1m"), frame)


def test_a_jump_between_two_pieces_is_seen_once(tmp_path):
    store, prices = BarStore(tmp_path), np.full(200, 100.0)
    prices[80:] = 10.0
    store.merge("BTC-USD", coin(range(200), prices), interval="1m")
    assert edges_of(tmp_path / "1m" / "BTC-USD.parquet")[1] == FIRST + pd.Timedelta(minutes=80)
    found = stored_jumps(store, "BTC-USD", "24/7", "1m")
    assert [line.split(":")[0] for line in found] == ["BTC-USD 2024-01-01"]
    assert stored_jumps(store, "BTC-USD", "24/7", "1m", FIRST + pd.Timedelta(minutes=80)) == found
    assert stored_jumps(store, "BTC-USD", "24/7", "1m", FIRST + pd.Timedelta(minutes=81)) == []


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
    (bars,) = read_bars(tmp_path / "BTC-USD.csv", Prices(), AS_OF)
    pd.testing.assert_frame_equal(bars.frame, found)


def test_rows_of_one_bar_are_never_apart(tmp_path):
    """Each minute stands twice, once with another price: all are bad, wherever the file is cut."""
    frame = pd.concat([coin(range(150)), coin(range(150), 101.0)], ignore_index=True)
    with pytest.raises(BadRows) as caught:
        read_bars(file_of(tmp_path, frame, range(300)), Prices(), AS_OF)
    assert len(caught.value.bad) == 300
    assert all("2 times with other values" in row.reason for row in caught.value.bad)


def test_bars_of_two_lengths_are_refused_with_the_line_at_which_they_change(tmp_path):
    frame = pd.concat([coin(range(200)), coin(range(200, 1200, 5))], ignore_index=True)
    store = BarStore(tmp_path / "bars")
    with pytest.raises(BadInput, match=r"are of 1m before it and of 5m from here on"):
        import_bars(store, Settings(), file_of(tmp_path, frame, range(400)), AS_OF)
    assert store.tickers("1m") == []
