"""Bars from files into the local store: all files read and found good before a row of any is written."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from osiris.bar_jumps import jump_texts
from osiris.calendars import calendar_of
from osiris.loop.feed import tracked
from osiris.loop.prices import disputed
from osiris.settings import Settings
from osiris.store.bar_files import bar_files, read_bars
from osiris.store.bars import BarStore


@dataclass
class ImportReport:
    """What an import did: files and rows read, bars added or changed, what differs from stored bars, likely splits.

    `moved_aside` are stored files that could not be read and were replaced.
    """

    files: int = 0
    rows: int = 0
    tickers: list[str] = field(default_factory=list)
    added: int = 0
    changed: int = 0
    disputed: dict[str, str] = field(default_factory=dict)
    suspicious: list[str] = field(default_factory=list)
    moved_aside: list[str] = field(default_factory=list)


def import_bars(
    store: BarStore, settings: Settings, path: Path, as_of: datetime, *, replace: bool = False, progress: bool = False
) -> ImportReport:
    """Import a CSV or Parquet file or a folder of them, daily bars or shorter ones.

    A stored bar that differs is kept and reported, unless `replace`, which is a person's word and stands. Raises as
    `store.bar_files`.
    """
    files = bar_files(Path(path))
    read = [bars for file in tracked(files, "Reading", progress) for bars in read_bars(file, settings.prices, as_of)]
    report = ImportReport(files=len(files), tickers=sorted({bars.ticker for bars in read}))
    for bars in tracked(read, "Storing", progress):
        merged = store.merge(
            bars.ticker,
            bars.frame,
            settings.outcomes.tolerance,
            replace=replace,
            interval=bars.interval,
            repair=True,
        )
        report.moved_aside += [merged.aside] if merged.aside else []
        report.rows += len(bars.frame)
        report.added += merged.added
        report.changed += merged.changed
        if merged.disagreements:
            report.disputed[bars.ticker] = disputed(merged.disagreements, calendar_of(bars.ticker, settings.prices))
    for ticker, interval in sorted({(bars.ticker, bars.interval) for bars in read}):
        stored, calendar = store.get(ticker, interval=interval), calendar_of(ticker, settings.prices)
        report.suspicious += jump_texts(ticker, stored, calendar)
    return report
