"""Bars that a person brings: CSV or Parquet files as vendors write them, checked row by row.

A row is a bar: a date or the moment at which it began, open, high, low and close as traded, optionally ticker, volume
and split. `form` has the names that these columns may have, `moments` and `numbers` how they may be written. Nothing is
guessed: what is open is refused with the option that settles it (`Form`). `docs/bar-files.md` tells a person of it.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from osiris.config.settings import Prices
from osiris.core.row_files import BadRow, BadRows
from osiris.market.file_import.decided import about
from osiris.market.file_import.form import Form
from osiris.market.file_import.lengths import Refused
from osiris.market.file_import.places import bar_files, left_out
from osiris.market.file_import.series import FileBars, Series, joined_pieces, refused, series_of
from osiris.market.file_import.spool import Key, Spool
from osiris.market.file_import.where import session_opens

__all__ = [
    "FileBars",
    "Form",
    "Key",
    "Series",
    "Spool",
    "bar_files",
    "check_bars",
    "each_series",
    "joined_pieces",
    "left_out",
    "one_series",
    "read_bars",
    "scan_bars",
]


def each_series(spool: Spool, prices: Prices, as_of: datetime) -> Iterator[Series]:
    """The good bars and the bad rows of each series in `spool`, by ticker: one at a time is in memory.

    A long series comes in pieces that follow one another in time, and ends with one that is refused.
    """
    for key in spool.series():
        yield from one_series(spool, key, prices, as_of)


def one_series(spool: Spool, key: Key, prices: Prices, as_of: datetime) -> Iterator[Series]:
    """As `each_series`, of one series."""
    try:
        told = about(spool, key, prices)
    except Refused as error:
        yield refused(key, key.ticker, spool.size(key), error)
        return
    outside = 0
    for rows in spool.pieces(key, session_opens(told.calendar)):
        found = series_of(key, rows, told, as_of)
        outside += found.outside
        yield found
        if found.refused:
            return
    spool.found.outside[key] = outside


def scan_bars(file: Path, prices: Prices, as_of: datetime, form: Form = Form()) -> tuple[list[FileBars], list[BadRow]]:
    """The good bars of one file by ticker, and the bad rows by line; `source` is `file:` and the file's name.

    Raises `BadInput` for a file that cannot be read, lacks a column or is open to more than one reading.
    """
    with Spool(form) as spool:
        spool.add(file)
        found = list(each_series(spool, prices, as_of))
        bad = [*spool.found.bad, *(row for one in found for row in one.bad)]
    return joined_pieces(one.bars for one in found if one.bars), sorted(bad, key=lambda row: row.line)


def read_bars(file: Path, prices: Prices, as_of: datetime, form: Form = Form()) -> list[FileBars]:
    """The bars of one file by ticker; raises as `scan_bars`, and `BadRows` for any bad row."""
    bars, bad = scan_bars(file, prices, as_of, form)
    check_bars(bad)
    return bars


def check_bars(bad: Sequence[BadRow]) -> None:
    """Raise `BadRows` if there are any."""
    if bad:
        raise BadRows(sorted(bad, key=lambda row: (str(row.file), row.line)))
