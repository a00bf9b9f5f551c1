"""The import of bars from CSV or Parquet files as vendors write them; every row is checked.

A row is a bar: a date or the moment at which the bar began; open, high, low and close as traded; optionally ticker,
volume and split. `options` has the names that these columns may have. `moments` and `numbers` read their values.

Nothing is guessed. Example: `1/3/2024` may be in January or in March, so the file is refused with the option that
settles it (`ImportOptions.date_format`). `docs/how-to/import-bars.md` is the guide for users.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from osiris.config.sections import PricesSettings
from osiris.core.row_files import BadRow, BadRows
from osiris.market.file_import.bar_files import find_bar_files, find_ignored_files
from osiris.market.file_import.calendar_positions import session_opens
from osiris.market.file_import.intervals import SeriesRejected
from osiris.market.file_import.options import ImportOptions
from osiris.market.file_import.series import FileBars, SeriesResult, check_series, join_pieces, to_rejected_series
from osiris.market.file_import.series_profile import profile_series
from osiris.market.file_import.spool import SeriesKey, Spool

__all__ = [
    "FileBars",
    "ImportOptions",
    "SeriesKey",
    "SeriesResult",
    "Spool",
    "find_bar_files",
    "find_ignored_files",
    "join_pieces",
    "read_all_series",
    "read_bars",
    "read_series",
    "reject_bad_rows",
    "scan_bars",
]


def read_all_series(spool: Spool, prices: PricesSettings, as_of: datetime) -> Iterator[SeriesResult]:
    """The good bars and the bad rows of each series in `spool`, ordered by ticker; one at a time is in memory.

    A long series comes in pieces that follow one another in time. A rejected piece is the last one of its series.
    """
    for key in spool.series_keys():
        yield from read_series(spool, key, prices, as_of)


def read_series(spool: Spool, key: SeriesKey, prices: PricesSettings, as_of: datetime) -> Iterator[SeriesResult]:
    """As `read_all_series`, for one series."""
    try:
        profile = profile_series(spool, key, prices)
    except SeriesRejected as error:
        yield to_rejected_series(key, key.ticker, spool.size(key), error)
        return
    outside = 0
    for rows in spool.pieces(key, session_opens(profile.calendar)):
        result = check_series(key, rows, profile, as_of)
        outside += result.outside
        yield result
        if result.rejected:
            return
    spool.report.outside_rows[key] = outside


def scan_bars(
    file: Path, prices: PricesSettings, as_of: datetime, options: ImportOptions = ImportOptions()
) -> tuple[list[FileBars], list[BadRow]]:
    """The good bars of one file, ordered by ticker, and the bad rows by line.

    The `source` of each bar is `file:` and the file's name. Raises `BadInput` for a file that cannot be read, lacks a
    column or has more than one reading.
    """
    with Spool(options) as spool:
        spool.add_file(file)
        results = list(read_all_series(spool, prices, as_of))
        bad = [*spool.report.bad, *(row for result in results for row in result.bad)]
    return join_pieces(result.bars for result in results if result.bars), sorted(bad, key=lambda row: row.line)


def read_bars(
    file: Path, prices: PricesSettings, as_of: datetime, options: ImportOptions = ImportOptions()
) -> list[FileBars]:
    """The bars of one file, ordered by ticker; raises as `scan_bars` does, and `BadRows` for any bad row."""
    bars, bad = scan_bars(file, prices, as_of, options)
    reject_bad_rows(bad)
    return bars


def reject_bad_rows(bad: Sequence[BadRow]) -> None:
    """Raise `BadRows` if there are any."""
    if bad:
        raise BadRows(sorted(bad, key=lambda row: (str(row.file), row.line)))
