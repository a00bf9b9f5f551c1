"""The ticker of each row: from --ticker, else from a column, else from the header, else from the name of the file.

`find_tickers` prefers a column even to --ticker, so that `Spool.add_file` can refuse --ticker for several tickers. A
column `name` with both company names and tickers is refused, because a name such as TESLA looks like a ticker.
"""

import re
from pathlib import Path

import pandas as pd

from osiris.core.errors import BadInput
from osiris.market.file_import.options import ImportOptions
from osiris.market.file_import.suffixes import name_without_suffix

FILE_NAME_PATTERN = re.compile(
    r"\^?[A-Z]{1,5}"  # AAPL, ^GSPC
    r"|[A-Z0-9]{1,10}([&-][A-Z0-9]{1,10})?\.(?!US$)[A-Z]{1,3}"  # VOD.L, 0700.HK; not aapl.us of Stooq
    r"|[A-Z0-9]{1,10}-[A-Z]{1,4}"  # BRK-B, BTC-USD
    r"|[A-Z0-9]{1,8}=[XF]"  # EURUSD=X, ES=F
)
NON_TICKER_NAMES = frozenset(
    "bar bars candle chart csv daily data day days export file files hist hour hourly index input list minute month "
    "ohlc ohlcv out price quote stock table temp test tick ticks today week year".upper().split()
)
NON_TICKER_PARTS = NON_TICKER_NAMES | frozenset(
    "bak backup copy old new tmp min mins minutes 1d 1h 1m 5m 1min 5min hist historical history prices quotes "
    "jan feb mar apr may jun jul aug sep oct nov dec".upper().split()
)
"""Words that rule a ticker out if the file's name has several parts: MAR.csv may be Marriott, but 2024-MAR is not."""
INTERVAL_LETTERS = frozenset(["D", "W", "H", "M"])
"""Behind a ticker these letters mostly mean the length of bars, and seldom a class of shares."""
PLAIN_TICKER_PATTERN = re.compile(r"[A-Z]{1,6}([.-][A-Z]{1,3})?")
TICKER_REMEDY = "say --ticker, or add a column ticker"


def ticker_from_file_name(file: Path) -> str:
    """The ticker that the file is named after; raises `BadInput` if its name is no ticker."""
    name = name_without_suffix(file).upper()
    first, *others = re.split(r"[-.]", name)
    words = NON_TICKER_PARTS if others else NON_TICKER_NAMES
    odd = not words.isdisjoint([first, *others]) or ("-" in name and first.isdigit())
    if odd or not INTERVAL_LETTERS.isdisjoint(others) or not FILE_NAME_PATTERN.fullmatch(name):
        got = f"{file}, which has no column ticker or symbol and whose name is no ticker"
        raise BadInput("a ticker for the bars", got, TICKER_REMEDY)
    return name


def _reject_two_names(found: pd.Series, file: Path) -> None:
    """Refuse a file that is named after one ticker and holds another name, such as TSLA.csv with TESLA on each row."""
    names = found.unique()
    if len(names) == 1 and name_without_suffix(file).upper() != names[0]:
        try:
            file_ticker = ticker_from_file_name(file)
        except BadInput:
            return
        got = f"{names[0]} in the column name of {file}, named {file_ticker}"
        raise BadInput("one ticker for the bars", got, TICKER_REMEDY)


def _as_text(values: pd.Series) -> pd.Series:
    # pandas reads a column of Tokyo tickers with a missing value as numbers such as 7203.0.
    if values.dtype.kind == "f" and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return values.astype("str").fillna("").str.strip().str.upper().replace("<NA>", "")


def find_tickers(rows: pd.DataFrame, header_ticker: str, options: ImportOptions, file: Path) -> tuple[pd.Series, bool]:
    """The ticker of each row, shape (n,), and whether the file's name gave it; `header_ticker` may be empty."""
    if "ticker" in rows:
        return _as_text(rows["ticker"]), False
    if "name" in rows and not (header_ticker or options.ticker):
        found = rows["name"].astype("str").fillna("").str.strip()
        looks_like_ticker = found.str.fullmatch(PLAIN_TICKER_PATTERN)
        if looks_like_ticker.all() and len(found):
            _reject_two_names(found, file)
            return found, False
        if looks_like_ticker.any():
            got = f"{found[looks_like_ticker].iloc[0]!r} and {found[~looks_like_ticker].iloc[0]!r} in {file}"
            raise BadInput("tickers in the column name, or none", got, "say --ticker, or call it ticker or title")
    if header_ticker or options.ticker:
        return pd.Series(header_ticker or options.ticker, rows.index, dtype="str"), False
    return pd.Series(ticker_from_file_name(file), rows.index, dtype="str"), True
