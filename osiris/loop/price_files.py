"""Bars from files into the local store: all files read and found good before a row of any is written."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from osiris.bar_jumps import jump_texts
from osiris.calendars import calendar_of
from osiris.loop.feed import tracked
from osiris.loop.prices import disputed
from osiris.settings import Settings
from osiris.store.bar_files import FileBars, Form, Spool, bar_files, check_bars, each_series, left_out
from osiris.store.bars import BarStore


@dataclass
class ImportReport:
    """What an import did: files and rows read, bars added or changed, what differs from stored bars, likely splits.

    `notes` tells what was left out, and which tickers come from the names of files. `moved_aside` are stored files that
    could not be read and were replaced.
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


def import_bars(
    store: BarStore,
    settings: Settings,
    path: Path,
    as_of: datetime,
    *,
    form: Form = Form(),
    replace: bool = False,
    progress: bool = False,
) -> ImportReport:
    """Import a CSV or Parquet file or a folder of them, daily bars or shorter ones.

    A stored bar that differs is kept and reported, unless `replace`, which is a person's word and stands. Rows wait on
    disk until all are found good, and are stored ticker by ticker. Raises as `store.bar_files`.
    """
    files = bar_files(Path(path))
    with Spool(form) as spool:
        for file in tracked(files, "Reading", progress):
            spool.add(file)
        bad = list(spool.found.bad)
        for series in each_series(spool, settings.prices, as_of, daily=form.daily):
            bad += series.bad
        check_bars(bad)
        report = ImportReport(files=len(files), notes=spool.notes(left_out(Path(path), files)))
        for series in tracked(each_series(spool, settings.prices, as_of, daily=form.daily), "Storing", progress):
            _merge(store, series.bars, settings, replace, report)
    report.tickers.sort()
    return report


def _merge(store: BarStore, bars: FileBars | None, settings: Settings, replace: bool, report: ImportReport) -> None:
    """Store the bars of a series and add to the report what came of it."""
    if bars is None:
        return
    calendar, tolerance = calendar_of(bars.ticker, settings.prices), settings.outcomes.tolerance
    merged = store.merge(bars.ticker, bars.frame, tolerance, replace=replace, interval=bars.interval, repair=True)
    report.moved_aside += [merged.aside] if merged.aside else []
    report.rows += len(bars.frame)
    report.added += merged.added
    report.changed += merged.changed
    if merged.disagreements:
        report.disputed[bars.ticker] = disputed(merged.disagreements, calendar)
    found = jump_texts(bars.ticker, store.get(bars.ticker, interval=bars.interval), calendar)
    report.suspicious += [line for line in found if line not in report.suspicious]
    if bars.ticker not in report.tickers:
        report.tickers.append(bars.ticker)
