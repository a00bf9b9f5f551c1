"""Rows of the CSV and Parquet files that people import. Each keeps its line number, so that errors can name it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from osiris.core.errors import BadInput

ROW_FILE_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used. `line` is its line in the CSV file (1 is the header) or its row in Parquet, from 1."""

    file: Path
    line: int
    reason: str


class BadRows(BadInput):
    """Some rows of the files are bad. `bad` lists all of them."""

    def __init__(self, bad: list[BadRow]) -> None:
        """Name the first bad row and count the rest."""
        first = bad[0]
        more = f" (and {len(bad) - 1} more bad rows)" if len(bad) > 1 else ""
        super().__init__(
            "a file of good rows",
            f"line {first.line} of {first.file}: {first.reason}{more}",
            "correct the file; nothing of it was imported",
        )
        self.bad = bad


def read_rows(file: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    """Read a CSV or Parquet file without converting its fields.

    The frame is indexed by line number (Parquet: by row, from 1) and has lower-case column names. The list has the
    rows of a CSV file that have more or fewer fields than its header. Raises `BadInput` for a file that cannot be read.
    """
    try:
        rows, bad_rows = _csv_rows(file) if file.suffix.lower() == ".csv" else (_parquet_rows(file), [])
    except (OSError, ValueError, csv.Error) as error:
        raise BadInput(f"a readable {file.suffix.lower()} file", f"{file}: {error}", "check or convert it") from error
    rows.columns = [str(column).strip().lower() for column in rows.columns]
    return rows, bad_rows


def index_to_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its index as columns. An index that only counts the rows is dropped."""
    counts = isinstance(frame.index, pd.RangeIndex) or (
        frame.index.nlevels == 1 and frame.index.name is None and pd.api.types.is_integer_dtype(frame.index)
    )
    if counts:
        return frame.reset_index(drop=True)
    names = [name if name is not None else "" for name in frame.index.names]
    return frame.reset_index(names=names)


def _csv_rows(file: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    """Return all fields as text, indexed by line number, and the rows with more or fewer fields than the header."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        header = next(reader, [])
        rows = {}
        for row in filter(None, reader):
            rows[reader.line_num] = row
    bad_rows = [
        BadRow(file, line, f"{len(row)} fields, the header has {len(header)}")
        for line, row in rows.items()
        if len(row) != len(header)
    ]
    good_rows = {line: row for line, row in rows.items() if len(row) == len(header)}
    return pd.DataFrame.from_dict(good_rows, orient="index", columns=header, dtype=object), bad_rows


def _parquet_rows(file: Path) -> pd.DataFrame:
    """Return the table with unchanged values, indexed from 1. A null becomes the empty string."""
    rows = index_to_columns(pd.read_parquet(file)).astype(object)
    rows.index += 1
    return rows.where(rows.notna(), "")
