"""Bars that a person brings: CSV or Parquet files of daily bars, checked row by row, all of them good or none used.

Columns: `date` (YYYY-MM-DD) or `ts` (ISO 8601 with offset; at midnight its own date counts, else the exchange's),
`open`, `high`, `low`, `close` as traded, optionally `ticker` (else the file's name is the ticker), `volume`, `split`.
Other columns are ignored.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from osiris.calendars import PRICE_COLUMNS, calendar_of, daily_frame, non_sessions, session_bounds, timezone_of
from osiris.errors import BadInput, NotFound
from osiris.records import ticker_symbol
from osiris.settings import Prices

SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: `line` in the CSV file (1 is the header), or row of the Parquet file, from 1."""

    file: Path
    line: int
    reason: str


class BadRows(BadInput):
    """Some rows of the files are bad; `bad` lists them all."""

    def __init__(self, bad: list[BadRow]) -> None:
        """Name the first row and the number of them."""
        first, more = bad[0], f" (and {len(bad) - 1} more bad rows)" if len(bad) > 1 else ""
        super().__init__(
            "files of good daily bars",
            f"line {first.line} of {first.file}: {first.reason}{more}",
            "correct the file; nothing of it was imported",
        )
        self.bad = bad


def bar_files(path: Path) -> list[Path]:
    """The files to read: `path` itself, or the CSV and Parquet files in that folder, sorted."""
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    if not files or not path.exists():
        came = "a folder without one" if path.exists() else "no such file or folder"
        raise NotFound("a .csv or .parquet file of bars", f"{path}, {came}", "check the path")
    if files[0].suffix.lower() not in SUFFIXES:
        raise BadInput("a .csv or .parquet file of bars", str(path), "convert it")
    return files


def read_bars(file: Path, prices: Prices, as_of: datetime) -> dict[str, pd.DataFrame]:
    """Bars of one file by ticker, in the format of `osiris.calendars`, `source` is `file:` and its name.

    Raises `BadInput` for a file that cannot be read or lacks a column, `BadRows` for bad rows: not a number, not
    finite, not positive, high or low not the extreme, bad or repeated date, no session, not complete at `as_of`.
    """
    rows = _rows(file)
    bad, frames = [], {}
    for name, group in rows.groupby("ticker", sort=True):
        found, frame = _one_ticker(str(name), group, prices, as_of, file)
        bad += [BadRow(file, int(line), reason) for line, reason in found]
        frames[str(name).strip().upper()] = frame
    if bad:
        raise BadRows(sorted(bad, key=lambda row: row.line))
    return frames


def _one_ticker(
    name: str, rows: pd.DataFrame, prices: Prices, as_of: datetime, file: Path
) -> tuple[list[tuple[int, str]], pd.DataFrame | None]:
    """The bad rows of a ticker as (line, reason), and its bars when there is none."""
    try:
        ticker = ticker_symbol(name)
    except BadInput as error:
        return [(line, f"ticker {error.came} is no symbol") for line in rows["line"]], None
    calendar = calendar_of(ticker, prices)
    zone = ZoneInfo(timezone_of(calendar))
    dates = rows["when"].map({value: _session_date(value, zone) for value in rows["when"].unique()})
    dates = pd.to_datetime(dates).astype("datetime64[us]")
    values = rows[[*PRICE_COLUMNS, "volume", "split"]].apply(pd.to_numeric, errors="coerce")
    bad = list(_problems(rows, values, dates, calendar, as_of))
    reasons = {line: reason for mask, reason in reversed(bad) for line in rows["line"][mask]}
    if reasons:
        return list(reasons.items()), None
    return [], daily_frame(pd.DatetimeIndex(dates), values, calendar, f"file:{file.name}".replace("+", " "))


def _problems(
    rows: pd.DataFrame, values: pd.DataFrame, dates: pd.Series, calendar: str, as_of: datetime
) -> Iterator[tuple[pd.Series, str]]:
    """Masks of bad rows with the reason, the gravest first."""
    for name in values:
        absent = (rows[name].astype(str).str.strip() == "") & (name in ("volume", "split"))
        yield ~np.isfinite(values[name]) & ~absent, f"{name} is no finite number"
        yield (values[name] < 0) if name == "volume" else (values[name] <= 0), f"{name} is not positive"
    yield values["high"] < values[["open", "close", "low"]].max(axis=1), "high is below open, close or low"
    yield values["low"] > values[["open", "close"]].min(axis=1), "low is above open or close"
    yield dates.isna(), "the date is no YYYY-MM-DD nor a moment with an offset"
    yield dates.duplicated() & dates.notna(), "the date is there twice"
    closed = dates.isin(non_sessions(calendar, pd.DatetimeIndex(dates.dropna())))
    yield closed, f"the date is no session of {calendar}"
    unfinished = pd.Series(False, index=dates.index)
    open_days = dates[dates.notna() & ~closed]
    _, ends = session_bounds(calendar, pd.DatetimeIndex(open_days))
    unfinished[open_days.index] = ends > pd.Timestamp(as_of)
    yield unfinished, f"the bar is not complete at {as_of.isoformat()}"


def _session_date(value: object, zone: ZoneInfo) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if moment != midnight:
        if moment.tzinfo is None:
            return None
        midnight = moment.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.replace(tzinfo=None)


def _rows(file: Path) -> pd.DataFrame:
    """The rows as they stand: ticker, when, open, high, low, close, volume, split, line; what is absent is empty."""
    try:
        rows = _csv_rows(file) if file.suffix.lower() == ".csv" else _parquet_rows(file)
    except (OSError, ValueError, csv.Error) as error:
        raise BadInput(f"a readable {file.suffix.lower()} file", f"{file}: {error}", "check or convert it") from error
    rows.columns = [str(column).strip().lower() for column in rows.columns]
    moments = [name for name in ("date", "ts") if name in rows]
    missing = [name for name in PRICE_COLUMNS if name not in rows]
    if missing or len(moments) != 1 or rows.columns.duplicated().any():
        raise BadInput(
            "the columns date or ts, open, high, low, close, each once",
            f"{', '.join(rows.columns)} in {file}",
            "name the columns in the first line",
        )
    if rows.empty:
        raise BadInput("bars", f"no row in {file}", "check the file")
    read = {name: rows[name] for name in PRICE_COLUMNS} | {"when": rows[moments[0]], "line": rows.index}
    read |= {name: rows.get(name, "") for name in ("volume", "split")}
    read["ticker"] = rows["ticker"].astype(str).str.strip().str.upper() if "ticker" in rows else file.stem.upper()
    return pd.DataFrame(read, index=rows.index)


def _csv_rows(file: Path) -> pd.DataFrame:
    """All fields as text, indexed by line number."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        header = next(reader, [])
        rows = {}
        for row in filter(None, reader):
            rows[reader.line_num] = row
    odd = [
        BadRow(file, line, f"{len(row)} fields, the header has {len(header)}")
        for line, row in rows.items()
        if len(row) != len(header)
    ]
    if odd:
        raise BadRows(odd)
    return pd.DataFrame.from_dict(rows, orient="index", columns=header, dtype=object)


def _parquet_rows(file: Path) -> pd.DataFrame:
    """The table as it is, null the empty string, indexed from 1."""
    rows = pd.read_parquet(file).reset_index(drop=True).astype(object)
    rows.index += 1
    return rows.where(rows.notna(), "")
