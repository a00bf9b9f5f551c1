"""The meaning of each column of a table, by the names in its header."""

from collections.abc import Sequence
from typing import NamedTuple

from osiris.core.errors import BadInput
from osiris.market.calendars import PRICE_COLUMNS
from osiris.market.file_import.options import COLUMN_ALIASES, EPOCH_NAMES, TIME_NAMES, normalize_name

EXPECTED_COLUMNS = "the columns date or ts, open, high, low, close, each once"
BINANCE_COLUMNS = ("when", "open", "high", "low", "close", "volume", "until")
METATRADER_4_COLUMNS = ("when", "clock", "open", "high", "low", "close", "volume")


class ColumnLayout(NamedTuple):
    """The index of each column by its meaning, and the ticker of all rows if the header names one (else empty).

    The meanings are the keys of `COLUMN_ALIASES`, `when` (the moment or the date) and `clock` (the time of day).
    """

    columns: dict[str, int]
    ticker: str = ""


class HeaderError(ValueError):
    """The names are no header of bars; the message says why."""


def parse_header(names: Sequence[object]) -> ColumnLayout:
    """The layout of a header; raises a `HeaderError` that names the missing or repeated columns."""
    normalized = [normalize_name(name) for name in names]
    if {"T", "t"} <= set(names):  # Polygon: T is the ticker, t the time
        normalized[list(names).index("T")] = "ticker"
    found = {what: _find_column(normalized, aliases, what) for what, aliases in COLUMN_ALIASES.items()}
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
            "when": _require_column(normalized, ("date",), "date"),
            "clock": _require_column(normalized, ("time",), "time"),
        }
    if len(named) > 1:
        raise HeaderError(f"several columns of time, {' and '.join(named)}: remove all but one")
    # pandas writes an index without a name as a first column with an empty name.
    if not named and normalized and normalized[0] == "":
        return {"when": 0}
    if not named:
        raise HeaderError("no column date or ts")
    return {"when": _require_column(normalized, named, "time")}


def _require_column(normalized: list[str], aliases: Sequence[str], what: str) -> int:
    """As `_find_column`, and raises `HeaderError` where there is no such column either."""
    index = _find_column(normalized, aliases, what)
    if index is None:
        raise HeaderError(f"no column {' or '.join(aliases)}")
    return index


def _find_column(normalized: list[str], aliases: Sequence[str], what: str) -> int | None:
    """The index of the first alias that is among the names, `None` for none; raises `HeaderError` if it is repeated."""
    name = next((name for name in aliases if name in normalized), None)
    if name is None:
        return None
    if normalized.count(name) > 1:
        raise HeaderError(f"{normalized.count(name)} columns {name} for the {what}")
    return normalized.index(name)


def parse_wide_header(first: Sequence[str], second: Sequence[str]) -> list[ColumnLayout]:
    """The layouts of a yfinance frame, one per ticker.

    Its header has two rows, in either order: the names of the prices and the tickers. Raises `HeaderError` for a header
    of another kind.
    """
    prices, tickers = (first, second) if "open" in map(normalize_name, first) else (second, first)
    layouts = []
    for ticker in dict.fromkeys(str(name).strip() for name in tickers[1:]):
        # Column 0 holds the dates, which all tickers share.
        indices = [0, *(i for i, name in enumerate(tickers) if i and str(name).strip() == ticker)]
        layout = parse_header(["date", *(prices[i] for i in indices[1:])])
        layouts.append(ColumnLayout({what: indices[index] for what, index in layout.columns.items()}, ticker.upper()))
    return layouts


def headerless_layout(row: Sequence[str]) -> ColumnLayout | None:
    """The layout if the first row holds values as Binance or MetaTrader 4 export them; `None` for another row."""
    # Binance: 11 or 12 columns, with the moments of open and close in columns 0 and 6.
    if len(row) in (11, 12) and _is_epoch(row[0]) and _is_epoch(row[6]):
        return ColumnLayout({what: index for index, what in enumerate(BINANCE_COLUMNS)})
    # MetaTrader 4: a date as 2024.01.03 and a time of day, each in a column.
    if len(row) == 7 and row[0].replace(".", "").isdigit() and row[0].count(".") == 2 and ":" in row[1]:
        return ColumnLayout({what: index for index, what in enumerate(METATRADER_4_COLUMNS)})
    return None


def _is_epoch(text: str) -> bool:
    """Whether a text holds seconds, milli- or microseconds since 1970, as they are written from 2001 on."""
    return text.strip().isdigit() and len(text.strip()) in (10, 13, 16)


def header_error(names: Sequence[object], source: object, why: str) -> BadInput:
    """The error for a table without the columns of bars."""
    shown = ", ".join(str(name) for name in names[:20])
    remedy = "name the columns in the first line, and see --delimiter if these are not split where they should be"
    return BadInput(EXPECTED_COLUMNS, f"{shown} in {source}: {why}", remedy)
