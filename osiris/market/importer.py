"""Import the bars of files into the local store: all files are read and checked before a row of any is written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import pandas as pd

from osiris.config.sections import PricesSettings
from osiris.config.settings import Settings
from osiris.core.ideas import parse_ticker
from osiris.market.backfill import describe_stored_jumps, track_progress
from osiris.market.bar_store import BarStore
from osiris.market.calendars import calendar_of
from osiris.market.file_import import (
    ImportOptions,
    SeriesKey,
    Spool,
    find_bar_files,
    find_ignored_files,
    read_series,
    reject_bad_rows,
)
from osiris.market.provider import describe_disputes


@dataclass
class ImportReport:
    """The result of an import.

    It counts the files and rows that were read and the bars that were added or changed. `disputed` has the bars that
    differ from stored ones, `suspicious` the likely splits. `notes` says which rows were left out, and which tickers
    come from the names of files. `moved_aside` are stored files that could not be read and were replaced.
    """

    files: int = 0
    rows: int = 0
    tickers: list[str] = field(default_factory=list)
    added: int = 0
    changed: int = 0
    disputed: dict[str, str] = field(default_factory=dict)
    suspicious: list[str] = field(default_factory=list)
    moved_aside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ImportMode:
    """How an import is done: `replace` overwrites stored bars that differ, `progress` shows progress bars on stderr."""

    replace: bool = False
    progress: bool = False


def import_bars(
    store: BarStore,
    settings: Settings,
    path: Path,
    as_of: datetime,
    options: ImportOptions = ImportOptions(),
    mode: ImportMode = ImportMode(),
) -> ImportReport:
    """Import a CSV or Parquet file or a folder of them, daily bars or shorter ones.

    A stored bar that differs is kept and reported. With `mode.replace` it is overwritten, because a person says that
    the file is right. Rows are kept in a temporary file until all are checked, then they are stored ticker by ticker.
    Raises as `osiris.market.file_import`.
    """
    files = find_bar_files(Path(path))
    with Spool(options) as spool:
        for file in track_progress(files, "Reading", mode.progress):
            spool.add_file(file)
        bad = list(spool.report.bad)
        intervals: dict[SeriesKey, str] = {}
        for key in spool.series_keys():
            for series in read_series(spool, key, settings.prices, as_of):
                bad += series.bad
                intervals |= {key: series.bars.interval} if series.bars else {}
        reject_bad_rows(bad)
        report = ImportReport(files=len(files), notes=spool.notes(find_ignored_files(Path(path), files)))
        for key in track_progress(list(intervals), "Storing", mode.progress):
            frames = partial(_frames, spool, key, settings.prices, as_of)
            _merge(store, (parse_ticker(key.ticker), intervals[key]), frames, settings, mode.replace, report)
    report.tickers.sort()
    return report


def _frames(spool: Spool, key: SeriesKey, prices: PricesSettings, as_of: datetime) -> Iterator[pd.DataFrame]:
    """The good bars of a series, in pieces."""
    return (series.bars.frame for series in read_series(spool, key, prices, as_of) if series.bars)


def _merge(
    store: BarStore,
    series: tuple[str, str],
    frames: Callable[[], Iterator[pd.DataFrame]],
    settings: Settings,
    replace: bool,
    report: ImportReport,
) -> None:
    """Store the bars of a series (ticker, interval) and add the result to the report."""
    ticker, interval = series
    calendar, tolerance = calendar_of(ticker, settings.prices), settings.outcomes.tolerance
    merged = store.merge_pieces(ticker, frames, tolerance, replace=replace, interval=interval, repair=True)
    report.moved_aside += [merged.moved_to] if merged.moved_to else []
    report.rows += merged.offered
    report.added += merged.added
    report.changed += merged.changed
    if merged.disagreements:
        report.disputed[ticker] = describe_disputes(merged.disagreements, calendar)
    jumps = describe_stored_jumps(store, ticker, calendar, interval)
    report.suspicious += [line for line in jumps if line not in report.suspicious]
    if ticker not in report.tickers:
        report.tickers.append(ticker)
