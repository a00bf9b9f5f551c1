"""Real daily bars for the demo and the tests: the `bokeh_sampledata` package, five US stocks, 2000-03-01 to 2013-03-01.

Open, high, low, close and volume are as traded, and every date is an XNYS session. Every bar is consistent, which is
checked on each load, since a broken bar would settle ideas wrongly. The splits are not in the package. They show as
jumps of close / adj_close, where dividends show too, but smaller.
"""

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.core.errors import BadInput, NotFound
from osiris.market.calendars import PRICE_COLUMNS, daily_frame

SAMPLE_TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
SAMPLE_CALENDAR = "XNYS"
SAMPLE_SOURCE = "sample"
MIN_SPLIT_RATIO = 1.5
SPLIT_TOLERANCE = 0.01
"""Largest relative distance of a jump from a multiple of 1/2 that still makes it a split; the data's own: 1e-13."""


class SupportsMerge(Protocol):
    """A store into which bars can be merged, such as `osiris.market.bar_store.BarStore`."""

    def merge(self, ticker: str, frame: pd.DataFrame) -> object:
        """Add bars of a ticker."""
        ...


def sample_bars(ticker: str) -> pd.DataFrame:
    """Raw daily bars with recorded splits, in the format of `osiris.market.calendars`.

    Raises `NotFound` for a ticker that is not in the package, and `BadInput` if the installed data is broken.
    """
    if ticker not in SAMPLE_TICKERS:
        raise NotFound(f"one of the sample tickers {', '.join(SAMPLE_TICKERS)}", repr(ticker), "choose one of them")
    from bokeh_sampledata import stocks

    values = pd.DataFrame(getattr(stocks, ticker))
    _check_consistency(ticker, values)
    values["split"] = _splits(values["close"].to_numpy(np.float64), values["adj_close"].to_numpy(np.float64))
    return daily_frame(pd.DatetimeIndex(values["date"]), values, SAMPLE_CALENDAR, SAMPLE_SOURCE)


def load_sample(bar_store: SupportsMerge, tickers: Iterable[str] = SAMPLE_TICKERS) -> None:
    """Merge the sample bars of `tickers` into a store; a second time changes nothing."""
    for ticker in tickers:
        bar_store.merge(ticker, sample_bars(ticker))


def _splits(close: NDArray[np.float64], adjusted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Split at each bar, shape (n,): a jump of close / adjusted to a multiple of 1/2 from 1.5 up, else 1."""
    jump = np.ones(len(close))
    jump[1:] = (close[:-1] / adjusted[:-1]) / (close[1:] / adjusted[1:])
    nearest = np.round(jump * 2) / 2
    return np.where((nearest >= MIN_SPLIT_RATIO) & (np.abs(jump / nearest - 1) < SPLIT_TOLERANCE), nearest, 1.0)


def _check_consistency(ticker: str, values: pd.DataFrame) -> None:
    prices = values[list(PRICE_COLUMNS)]
    good = (prices > 0).all(axis=1) & np.isfinite(prices.to_numpy()).all(axis=1)
    good &= (values["high"] == prices.max(axis=1)) & (values["low"] == prices.min(axis=1))
    if not good.all():
        raise BadInput(
            f"consistent sample bars of {ticker}",
            f"{int((~good).sum())} broken ones, the first on {values['date'][~good].iloc[0]}",
            "reinstall bokeh_sampledata at the version in constraints.txt",
        )
