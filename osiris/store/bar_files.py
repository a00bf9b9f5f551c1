"""Bars that a person brings: CSV or Parquet files, checked row by row.

Columns: `date` (YYYY-MM-DD) or `ts` (ISO 8601 with offset; at midnight its own date counts, else the exchange's),
`open`, `high`, `low`, `close` as traded, optionally `ticker` (else the file's name is the ticker), `volume`, `split`.
Other columns are ignored. A ticker with several `ts` in one session has bars shorter than a day: each began at its `ts`
and lasts as long as most of them are apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from osiris.calendars import (
    DAILY,
    MINUTES,
    PRICE_COLUMNS,
    calendar_of,
    daily_frame,
    intraday_frame,
    non_sessions,
    session_bounds,
    timezone_of,
)
from osiris.clock import YEARS
from osiris.errors import BadInput, NotFound
from osiris.records import ticker_symbol
from osiris.row_files import SUFFIXES, BadRow, BadRows, read_rows
from osiris.settings import Prices

MOST = 0.8


@dataclass(frozen=True)
class FileBars:
    """Bars of one ticker and interval (`1d` or a name of `calendars.MINUTES`), in the format of `osiris.calendars`."""

    ticker: str
    interval: str
    frame: pd.DataFrame


def bar_files(path: Path) -> list[Path]:
    """The files to read: `path` itself, or the CSV and Parquet files in that folder, sorted."""
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    if not files or not path.exists():
        came = "a folder without one" if path.exists() else "no such file or folder"
        raise NotFound("a .csv or .parquet file of bars", f"{path}, {came}", "check the path")
    if files[0].suffix.lower() not in SUFFIXES:
        raise BadInput("a .csv or .parquet file of bars", str(path), "convert it")
    return files


def read_bars(file: Path, prices: Prices, as_of: datetime) -> list[FileBars]:
    """Bars of one file by ticker; `source` is `file:` and its name.

    Raises `BadInput` for a file that cannot be read or lacks a column, `BadRows` for any bad row.
    """
    bars, bad = scan_bars(file, prices, as_of)
    if bad:
        raise BadRows(bad)
    return bars


def scan_bars(file: Path, prices: Prices, as_of: datetime) -> tuple[list[FileBars], list[BadRow]]:
    """The good bars of one file by ticker, and the bad rows by line.

    Bad is: not a number, not finite, not positive, high or low not the extreme, bad or repeated moment, no session,
    not complete at `as_of`. Raises `BadInput` for a file that cannot be read or lacks a column.
    """
    rows, odd = _rows(file)
    bars, bad = [], odd
    for name, group in rows.groupby("ticker", sort=True):
        found, good = _one_ticker(str(name), group, prices, as_of, file)
        bad += [BadRow(file, int(line), reason) for line, reason in found]
        bars += good
    return bars, sorted(bad, key=lambda row: row.line)


def _one_ticker(
    name: str, rows: pd.DataFrame, prices: Prices, as_of: datetime, file: Path
) -> tuple[list[tuple[int, str]], list[FileBars]]:
    """The bad rows of a ticker as (line, reason), and its good bars."""
    try:
        ticker = ticker_symbol(name)
    except BadInput as error:
        return [(line, f"ticker {error.came} is no symbol") for line in rows["line"]], []
    calendar = calendar_of(ticker, prices)
    zone = ZoneInfo(timezone_of(calendar))
    moments = rows["when"].map({value: _moment(value) for value in rows["when"].unique()})
    dates = pd.to_datetime(moments.map({m: _session_date(m, zone) for m in moments.dropna().unique()}))
    dates = dates.astype("datetime64[us]")
    values = rows[[*PRICE_COLUMNS, "volume", "split"]].apply(pd.to_numeric, errors="coerce")
    interval = _interval(moments, dates, calendar)
    if interval is None:
        return [(line, f"the bars last none of {', '.join(MINUTES)}, a day") for line in rows["line"]], []
    when = dates if interval == DAILY else pd.to_datetime(moments, utc=True)
    reasons: dict[int, str] = {}
    for mask, reason in _problems(rows, values, when, dates, calendar, as_of, interval):
        reasons |= {line: reason for line in rows["line"][mask] if line not in reasons}
    good = ~rows["line"].isin(reasons)
    source = f"file:{file.name}".replace("+", " ")
    if not good.any():
        return list(reasons.items()), []
    if interval == DAILY:
        frame = daily_frame(pd.DatetimeIndex(dates[good]), values[good], calendar, source)
    else:
        frame = intraday_frame(pd.DatetimeIndex(when[good]), values[good], calendar, interval, source)
    return list(reasons.items()), [FileBars(ticker, interval, frame)]


def _interval(moments: pd.Series, dates: pd.Series, calendar: str) -> str | None:
    """The length of the bars: a day, unless a session has several.

    Else the longest of `MINUTES` at whose multiples after the open most bars begin, if the closest two of those are as
    far apart; `None` for any other length.
    """
    known = dates.notna() & ~dates.isin(non_sessions(calendar, pd.DatetimeIndex(dates.dropna())))
    rows = pd.DataFrame({"at": pd.to_datetime(moments[known], utc=True), "day": dates[known]})
    rows = rows.drop_duplicates("at").sort_values("at")
    if not rows["day"].duplicated().any():
        return DAILY
    opens, _ = session_bounds(calendar, pd.DatetimeIndex(rows["day"]))
    after = (pd.DatetimeIndex(rows["at"]) - opens) / pd.Timedelta(minutes=1)
    for name, minutes in MINUTES.items():
        on_step = np.isclose(after % minutes, 0)
        if on_step.mean() >= MOST:
            apart = rows[on_step].groupby("day")["at"].diff().min() / pd.Timedelta(minutes=1)
            return name if apart == minutes else None
    return None


def _problems(
    rows: pd.DataFrame,
    values: pd.DataFrame,
    when: pd.Series,
    dates: pd.Series,
    calendar: str,
    as_of: datetime,
    interval: str,
) -> Iterator[tuple[pd.Series, str]]:
    """Masks of bad rows with the reason, the gravest first."""
    for name in values:
        absent = (rows[name].astype(str).str.strip() == "") & (name in ("volume", "split"))
        yield ~np.isfinite(values[name]) & ~absent, f"{name} is no finite number"
        yield (values[name] < 0) if name == "volume" else (values[name] <= 0), f"{name} is not positive"
    yield values["high"] < values[["open", "close", "low"]].max(axis=1), "high is below open, close or low"
    yield values["low"] > values[["open", "close"]].min(axis=1), "low is above open or close"
    yield dates.isna(), "the date is no YYYY-MM-DD nor a moment with an offset"
    yield when.duplicated() & dates.notna(), f"the {'date' if interval == DAILY else 'moment'} is there twice"
    closed = dates.isin(non_sessions(calendar, pd.DatetimeIndex(dates.dropna())))
    yield closed, f"the date is no session of {calendar}"
    usable = dates.notna() & ~closed
    opens, closes = (
        pd.Series(b, dates.index[usable]) for b in session_bounds(calendar, pd.DatetimeIndex(dates[usable]))
    )
    if interval == DAILY:
        ends = closes
    else:
        starts = when[usable]
        outside = (starts < opens) | (starts >= closes)
        yield outside.reindex(dates.index, fill_value=False), f"the bar begins outside of the session of {calendar}"
        off = ((starts - opens) % pd.Timedelta(minutes=MINUTES[interval])) != pd.Timedelta(0)
        yield (
            off.reindex(dates.index, fill_value=False),
            f"the bar does not begin a multiple of {interval} after the open",
        )
        ends = (starts + pd.Timedelta(minutes=MINUTES[interval])).clip(upper=closes)
    unfinished = (ends > pd.Timestamp(as_of)).reindex(dates.index, fill_value=False)
    yield unfinished, f"the bar is not complete at {as_of.isoformat()}"


def _moment(value: object) -> datetime | None:
    """A date or an aware moment; `None` for anything else."""
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None
    usable = (moment.tzinfo or moment == _midnight(moment)) and moment.year in YEARS
    return moment if usable else None


def _session_date(moment: datetime, zone: ZoneInfo) -> datetime:
    day = moment if moment == _midnight(moment) else moment.astimezone(zone)
    return _midnight(day).replace(tzinfo=None)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _rows(file: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    """The rows as they stand (what is absent is empty): ticker, when, prices, volume, split, line; and the odd ones."""
    rows, odd = read_rows(file)
    moments = [name for name in ("date", "ts") if name in rows]
    missing = [name for name in PRICE_COLUMNS if name not in rows]
    if missing or len(moments) != 1 or rows.columns.duplicated().any():
        raise BadInput(
            "the columns date or ts, open, high, low, close, each once",
            f"{', '.join(rows.columns)} in {file}",
            "name the columns in the first line",
        )
    if rows.empty and not odd:
        raise BadInput("bars", f"no row in {file}", "check the file")
    read = {name: rows[name] for name in PRICE_COLUMNS} | {"when": rows[moments[0]], "line": rows.index}
    read |= {name: rows.get(name, "") for name in ("volume", "split")}
    read["ticker"] = rows["ticker"].astype(str).str.strip().str.upper() if "ticker" in rows else file.stem.upper()
    return pd.DataFrame(read, index=rows.index), odd
