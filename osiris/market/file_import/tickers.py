"""Which ticker the rows are of: what the person says, else a column, else the name of the file where it is one."""

import re
from pathlib import Path

import pandas as pd

from osiris.core.errors import BadInput
from osiris.market.file_import.endings import stem
from osiris.market.file_import.form import Form

TICKER_NAMED = re.compile(
    r"\^?[A-Z]{1,5}"  # AAPL, ^GSPC
    r"|[A-Z0-9]{1,10}([&-][A-Z0-9]{1,10})?\.(?!US$)[A-Z]{1,3}"  # VOD.L, 0700.HK; not aapl.us of Stooq
    r"|[A-Z0-9]{1,10}-[A-Z]{1,4}"  # BRK-B, BTC-USD
    r"|[A-Z0-9]{1,8}=[XF]"  # EURUSD=X, ES=F
)
NO_TICKERS = frozenset(
    "bar bars candle chart csv daily data day days export file files hist hour hourly index input list minute month "
    "ohlc ohlcv out price quote stock table temp test tick ticks today week year".upper().split()
)
PARTS = NO_TICKERS | frozenset(
    "bak backup copy old new tmp min mins minutes 1d 1h 1m 5m 1min 5min hist historical history prices quotes "
    "jan feb mar apr may jun jul aug sep oct nov dec".upper().split()
)
"""Words of a name of several parts that make it none of a ticker: MAR.csv may be Marriott's, 2024-MAR is none."""
LENGTHS = frozenset(["D", "W", "H", "M"])
"""What stands behind a ticker for the length of bars, and seldom for a class of shares."""
A_TICKER = re.compile(r"[A-Z]{1,6}([.-][A-Z]{1,3})?")
REMEDY = "say --ticker, or add a column ticker"


def ticker_of_name(file: Path) -> str:
    """The ticker that the file is named after; raises `BadInput` where its name is none."""
    name = stem(file).upper()
    first, *others = re.split(r"[-.]", name)
    words = PARTS if others else NO_TICKERS
    odd = not words.isdisjoint([first, *others]) or ("-" in name and first.isdigit())
    if odd or not LENGTHS.isdisjoint(others) or not TICKER_NAMED.fullmatch(name):
        came = f"{file}, which has no column ticker or symbol and whose name is no ticker"
        raise BadInput("a ticker for the bars", came, REMEDY)
    return name


def _reject_two_names(found: pd.Series, file: Path) -> None:
    """Refuse a file that is named after one ticker and holds the name of one other: TSLA.csv, and TESLA on each row."""
    only = found.unique()
    if len(only) == 1 and stem(file).upper() != only[0]:
        try:
            named = ticker_of_name(file)
        except BadInput:
            return
        raise BadInput("one ticker for the bars", f"{only[0]} in the column name of {file}, named {named}", REMEDY)


def _as_text(values: pd.Series) -> pd.Series:
    if values.dtype.kind == "f" and (values.dropna() % 1 == 0).all():  # 7203.0
        values = values.astype("Int64")
    return values.astype("str").fillna("").str.strip().str.upper().replace("<NA>", "")


def tickers(rows: pd.DataFrame, named: str, form: Form, file: Path) -> tuple[pd.Series, bool]:
    """The ticker of each row, shape (n,), and whether the file's name gave it; `named` is what the header says."""
    if "ticker" in rows:
        return _as_text(rows["ticker"]), False
    if "name" in rows and not (named or form.ticker):
        found = rows["name"].astype("str").fillna("").str.strip()
        like = found.str.fullmatch(A_TICKER)
        if like.all() and len(found):
            _reject_two_names(found, file)
            return found, False
        if like.any():
            came = f"{found[like].iloc[0]!r} and {found[~like].iloc[0]!r} in {file}"
            raise BadInput("tickers in the column name, or none", came, "say --ticker, or call it ticker or title")
    if named or form.ticker:
        return pd.Series(named or form.ticker, rows.index, dtype="str"), False
    return pd.Series(ticker_of_name(file), rows.index, dtype="str"), True
