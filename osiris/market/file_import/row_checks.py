"""Checks of the values of single rows; each reason against a row quotes the value."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import PRICE_COLUMNS
from osiris.market.file_import.numbers import parse_numbers
from osiris.market.file_import.tickers import TICKER_REMEDY

MAX_ROUNDING_ERROR = 1e-3
"""Vendors round each price by itself: a high that is below the close by less than this fraction is corrected."""
ADJUSTED_REASON = (
    "the prices are adjusted for the split {0:g} of the column Stock Splits, and Osiris takes prices as traded; "
    "run: osiris prices update, or write the traded prices with a column split"
)


def check_prices(rows: NDArray[np.void], texts: pd.DataFrame) -> NDArray[np.object_]:
    """The reason against the prices of each row, shape (n,), empty for good ones.

    Highs and lows that are off by less than `MAX_ROUNDING_ERROR` are corrected in place.
    """
    reasons = np.full(len(rows), "", object)
    for name in PRICE_COLUMNS:
        odd = (reasons == "") & ~np.isfinite(rows[name])
        reasons[odd] = [f"{name} {text!r} is no finite number" for text in texts[name][odd].astype("str")]
        low = (reasons == "") & (rows[name] <= 0)
        reasons[low] = [f"{name} {value:g} is not positive" for value in rows[name][low]]
    prices = np.stack([rows[name] for name in PRICE_COLUMNS])
    good = reasons == ""
    top, bottom = prices.max(axis=0), prices.min(axis=0)
    over = good & (top > rows["high"] * (1 + MAX_ROUNDING_ERROR))
    reasons[over] = [f"high {h:.10g} is below open, close or low {t:.10g}" for h, t in _pairs(rows["high"], top, over)]
    under = good & ~over & (bottom < rows["low"] * (1 - MAX_ROUNDING_ERROR))
    reasons[under] = [f"low {v:.10g} is above open or close {b:.10g}" for v, b in _pairs(rows["low"], bottom, under)]
    # From here on high and low bound all prices of a row, as the triple-barrier search requires.
    consistent = good & ~over & ~under
    rows["high"][consistent] = top[consistent]
    rows["low"][consistent] = bottom[consistent]
    return reasons


def _pairs(one: NDArray[Any], other: NDArray[Any], mask: NDArray[np.bool_]) -> Iterator[tuple[Any, Any]]:
    return zip(one[mask], other[mask], strict=True)


def check_adjustment(texts: pd.DataFrame) -> NDArray[np.object_] | None:
    """The reason against each row whose prices are already adjusted for a split, else empty; `None` without the column.

    A vendor that writes a column Stock Splits has divided the earlier prices. Osiris takes prices as traded.
    """
    if "adjusted_split" not in texts:
        return None
    ratio = np.nan_to_num(parse_numbers(texts["adjusted_split"]))
    return np.array([ADJUSTED_REASON.format(value) if value not in (0.0, 1.0) else "" for value in ratio], object)


def check_tickers(names: pd.Series) -> NDArray[np.object_] | None:
    """The reason against each row without a ticker, else empty; `None` if all rows have one."""
    blank = names.to_numpy(object) == ""
    return np.where(blank, f"there is no ticker; {TICKER_REMEDY}", "").astype(object) if blank.any() else None
