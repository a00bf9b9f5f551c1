"""Which column of a table is what, by the names in its header."""

from collections.abc import Sequence
from typing import NamedTuple

from osiris.core.errors import BadInput
from osiris.market.calendars import PRICE_COLUMNS
from osiris.market.file_import.form import EPOCH_NAMES, NAMES, TIME_NAMES, plain_name

EXPECTED = "the columns date or ts, open, high, low, close, each once"
BINANCE = ("when", "open", "high", "low", "close", "volume", "until")
META_TRADER_4 = ("when", "clock", "open", "high", "low", "close", "volume")


class Layout(NamedTuple):
    """The index of each column by what it is; `ticker` is that of all its rows, where the header names it."""

    columns: dict[str, int]
    ticker: str = ""


class HeaderError(ValueError):
    """Why the names are no header of bars."""


def layout_of(names: Sequence[object]) -> Layout:
    """The layout of a header; raises `HeaderError` that names what is missing or there twice."""
    plain = [plain_name(name) for name in names]
    if {"T", "t"} <= set(names):  # Polygon: T is the ticker, t the time
        plain[list(names).index("T")] = "ticker"
    found = {what: _only(plain, wanted, what) for what, wanted in NAMES.items()}
    missing = [name for name in PRICE_COLUMNS if found[name] is None]
    if missing:
        raise HeaderError(f"no column {' or '.join(missing)}")
    columns = {what: index for what, index in found.items() if index is not None}
    return Layout(columns | _time_columns(plain))


def _time_columns(plain: list[str]) -> dict[str, int]:
    epoch = _only(plain, EPOCH_NAMES, "time")
    if epoch is not None:
        return {"when": epoch}
    named = [name for name in TIME_NAMES if name in plain]
    if set(named) == {"date", "time"}:
        return {"when": _only(plain, ("date",), "date"), "clock": _only(plain, ("time",), "time")}
    if len(named) > 1:
        raise HeaderError(f"several columns of time, {' and '.join(named)}: remove all but one")
    if not named and plain and plain[0] == "":  # an index without a name
        return {"when": 0}
    if not named:
        raise HeaderError("no column date or ts")
    return {"when": _only(plain, named, "time")}


def _only(plain: list[str], wanted: Sequence[str], what: str) -> int | None:
    """Where the first of the wanted names that there are stands; raises `HeaderError` where it stands twice."""
    name = next((name for name in wanted if name in plain), None)
    if name is not None and plain.count(name) > 1:
        raise HeaderError(f"{plain.count(name)} columns {name} for the {what}")
    return None if name is None else plain.index(name)


def wide_layouts(first: Sequence[str], second: Sequence[str]) -> list[Layout]:
    """The layouts of a yfinance frame, a column of prices and of tickers each: one layout a ticker.

    Raises `HeaderError` where they are none.
    """
    prices, tickers = (first, second) if "open" in map(plain_name, first) else (second, first)
    layouts = []
    for ticker in dict.fromkeys(str(name).strip() for name in tickers[1:]):
        mine = [0, *(i for i, name in enumerate(tickers) if i and str(name).strip() == ticker)]
        layout = layout_of(["date", *(prices[i] for i in mine[1:])])
        layouts.append(Layout({what: mine[index] for what, index in layout.columns.items()}, ticker.upper()))
    return layouts


def without_header(row: Sequence[str]) -> Layout | None:
    """The layout of a first row that holds values as Binance or MetaTrader 4 export them; `None` for another."""
    if len(row) in (11, 12) and _is_epoch(row[0]) and _is_epoch(row[6]):
        return Layout({what: index for index, what in enumerate(BINANCE)})
    if len(row) == 7 and row[0].replace(".", "").isdigit() and row[0].count(".") == 2 and ":" in row[1]:
        return Layout({what: index for index, what in enumerate(META_TRADER_4)})
    return None


def _is_epoch(text: str) -> bool:
    return text.strip().isdigit() and len(text.strip()) in (10, 13, 16)


def refusal(names: Sequence[object], where: object, why: str) -> BadInput:
    """The error for a table that is none of bars."""
    shown = ", ".join(str(name) for name in names[:20])
    remedy = "name the columns in the first line, and see --delimiter if these are not split where they should be"
    return BadInput(EXPECTED, f"{shown} in {where}: {why}", remedy)
