from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from osiris.core.errors import NotFound
from osiris.market.bar_frames import adjust_splits
from osiris.market.bar_store import BarStore
from osiris.market.calendars import PRICE_COLUMNS, closes_between
from osiris.market.sample import SAMPLE_TICKERS, load_sample, sample_bars


def test_exactly_the_three_real_splits_are_recorded():
    splits = {
        (ticker, str(row.start.date()), row.split)
        for ticker in SAMPLE_TICKERS
        for row in sample_bars(ticker).itertuples()
        if row.split != 1
    }
    assert splits == {("AAPL", "2000-06-21", 2.0), ("AAPL", "2005-02-28", 2.0), ("MSFT", "2003-02-18", 2.0)}


@pytest.mark.parametrize("ticker", SAMPLE_TICKERS)
def test_every_session_of_the_range_is_there_and_every_bar_is_consistent(ticker):
    bars = sample_bars(ticker)
    sessions = closes_between("XNYS", bars["start"].iloc[0], bars["end"].iloc[-1])
    assert pd.DatetimeIndex(bars["end"]).equals(sessions)
    prices = bars[list(PRICE_COLUMNS)]
    assert (bars["high"] == prices.max(axis=1)).all()
    assert (bars["low"] == prices.min(axis=1)).all()
    assert (prices > 0).all(axis=None)


def test_prices_are_as_traded():
    bars = sample_bars("AAPL").set_index("start")["close"]
    assert bars["2005-02-25 14:30+00:00"] == 88.99
    assert bars["2005-02-28 14:30+00:00"] == 44.86


def test_rebased_returns_agree_with_the_adjusted_close_on_days_without_dividends():
    from bokeh_sampledata import stocks

    ours, theirs = adjust_splits(sample_bars("AAPL"))["close"], np.array(stocks.AAPL["adj_close"])
    before_dividends = slice(0, 3000)
    mine = np.diff(np.log(ours.to_numpy()[before_dividends]))
    np.testing.assert_allclose(mine, np.diff(np.log(theirs[before_dividends])), atol=1e-9)


def test_loading_twice_changes_nothing(tmp_path: Path):
    store = BarStore(tmp_path)
    load_sample(store, ["IBM"])
    file = next(tmp_path.rglob("*.parquet"))
    before = file.stat().st_mtime_ns
    load_sample(store, ["IBM"])
    assert file.stat().st_mtime_ns == before
    assert store.tickers() == ["IBM"]
    pd.testing.assert_frame_equal(store.get("IBM"), sample_bars("IBM"))


def test_another_ticker_is_not_found():
    with pytest.raises(NotFound, match="TSLA"):
        sample_bars("TSLA")
