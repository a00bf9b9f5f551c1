"""Which column of a table is what, by the names in its header."""

from collections.abc import Sequence
from typing import NamedTuple

from osiris.core.errors import BadInput
from osiris.market.calendars import PRICE_COLUMNS
from osiris.market.file_import.options import COLUMN_ALIASES, EPOCH_NAMES, TIME_NAMES, normalize_name

EXPECTED_COLUMNS = "the columns date or ts, open, high, low, close, each once"
BINANCE_COLUMNS = ("when", "open", "high", "low", "close", "volume", "until")
METATRADER_4_COLUMNS = ("when", "clock", "open", "high", "low", "close", "volume")


class ColumnLayout(NamedTuple):
    """The index of each column by what it is; `ticker` is that of all its rows, where the header names it."""

    columns: dict[str, int]
    ticker: str = ""


class HeaderError(ValueError):
    """Why the names are no header of bars."""


def parse_header(names: Sequence[object]) -> ColumnLayout:
    """The layout of a header; raises `HeaderError` that names what is missing or there twice."""
    normalized = [normalize_name(name) for name in names]
    if {"T", "t"} <= set(names):  # Polygon: T is the ticker, t the time
        normalized[list(names).index("T")] = "ticker"
    found = {what: _find_column(normalized, wanted, what) for what, wanted in COLUMN_ALIASES.items()}
    missing = [name for name in PRICE_COLUMNS if found[name] is None]
    if missing:
        raise HeaderError(f"no column {' or '.join(missing)}")
    columns = {what: index for what, index in found.items() if index is not None}
    return ColumnLayout(columns | _time_columns(normalized))


def _time_columns(normalized: list[str]) -> dict[str, int]:
    epoch = _find_column(normalized, EPOCH_NAMES, "time")
    if epoch is not None:
        return {"when": epoch}
    named = [name for name in TIME_NAMES if name in normalized]
    if set(named) == {"date", "time"}:
        return {
            "when": _find_column(normalized, ("date",), "date"),
            "clock": _find_column(normalized, ("time",), "time"),
        }
    if len(named) > 1:
        raise HeaderError(f"several columns of time, {' and '.join(named)}: remove all but one")
    if not named and normalized and normalized[0] == "":  # an index without a name
        return {"when": 0}
    if not named:
        raise HeaderError("no column date or ts")
    return {"when": _find_column(normalized, named, "time")}


def _find_column(normalized: list[str], wanted: Sequence[str], what: str) -> int | None:
    """Where the first of the wanted names that there are stands; raises `HeaderError` where it stands twice."""
    name = next((name for name in wanted if name in normalized), None)
    if name is not None and normalized.count(name) > 1:
        raise HeaderError(f"{normalized.count(name)} columns {name} for the {what}")
    return None if name is None else normalized.index(name)


def parse_wide_header(first: Sequence[str], second: Sequence[str]) -> list[ColumnLayout]:
    """The layouts of a yfinance frame, a column of prices and of tickers each: one layout a ticker.

    Raises `HeaderError` where they are none.
    """
    prices, tickers = (first, second) if "open" in map(normalize_name, first) else (second, first)
    layouts = []
    for ticker in dict.fromkeys(str(name).strip() for name in tickers[1:]):
        mine = [0, *(i for i, name in enumerate(tickers) if i and str(name).strip() == ticker)]
        layout = parse_header(["date", *(prices[i] for i in mine[1:])])
        layouts.append(ColumnLayout({what: mine[index] for what, index in layout.columns.items()}, ticker.upper()))
    return layouts


def headerless_layout(row: Sequence[str]) -> ColumnLayout | None:
    """The layout of a first row that holds values as Binance or MetaTrader 4 export them; `None` for another."""
    if len(row) in (11, 12) and _is_epoch(row[0]) and _is_epoch(row[6]):
        return ColumnLayout({what: index for index, what in enumerate(BINANCE_COLUMNS)})
    if len(row) == 7 and row[0].replace(".", "").isdigit() and row[0].count(".") == 2 and ":" in row[1]:
        return ColumnLayout({what: index for index, what in enumerate(METATRADER_4_COLUMNS)})
    return None


def _is_epoch(text: str) -> bool:
    return text.strip().isdigit() and len(text.strip()) in (10, 13, 16)


def header_error(names: Sequence[object], source: object, why: str) -> BadInput:
    """The error for a table that is none of bars."""
    shown = ", ".join(str(name) for name in names[:20])
    remedy = "name the columns in the first line, and see --delimiter if these are not split where they should be"
    return BadInput(EXPECTED_COLUMNS, f"{shown} in {source}: {why}", remedy)
