"""Which ticker the rows are of: what the person says, else a column, else the name of the file where it is one."""

import re
from pathlib import Path

import pandas as pd

from osiris.errors import BadInput
from osiris.store.bar_files.endings import stem
from osiris.store.bar_files.form import Form

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
REMEDY = "say --ticker, or add a column ticker"


def ticker_of_name(file: Path) -> str:
    """The ticker that the file is named after; raises `BadInput` where its name is none."""
    name = stem(file).upper()
    if name in NO_TICKERS or not TICKER_NAMED.fullmatch(name):
        came = f"{file}, which has no column ticker or symbol and whose name is no ticker"
        raise BadInput("a ticker for the bars", came, REMEDY)
    return name


def tickers(rows: pd.DataFrame, named: str, form: Form, file: Path) -> tuple[pd.Series, bool]:
    """The ticker of each row, shape (n,), and whether the file's name gave it; `named` is what the header says."""
    if "ticker" in rows:
        found = rows["ticker"].astype("str").fillna("").str.strip().str.upper()
        return found, False
    if named or form.ticker:
        return pd.Series(named or form.ticker, rows.index, dtype="str"), False
    return pd.Series(ticker_of_name(file), rows.index, dtype="str"), True
