"""CSV and Parquet files as tables in chunks: each row has its line, each column is named by its meaning."""

import csv
import gzip
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, TextIO, cast

import pandas as pd

from osiris.core.errors import BadInput
from osiris.core.row_files import BadRow, index_to_columns
from osiris.market.file_import.header import (
    ColumnLayout,
    HeaderError,
    header_error,
    headerless_layout,
    parse_header,
    parse_wide_header,
)
from osiris.market.file_import.options import ImportOptions
from osiris.market.file_import.suffixes import PARQUET_SUFFIX, suffix_of

CHUNK_ROWS = 50_000
"""Rows read at a time, which bounds the memory that texts take."""
MAX_HEADER_LINES = 12
"""The header is among so many first lines: some vendors write a title, or a link to themselves, above it."""
FOOTER_PREFIX = "Downloaded from "
"""The start of Barchart's last row, which holds no bar."""
CANDIDATE_DELIMITERS = (",", ";", "\t", "|")
"""The delimiters that are tried, in this order, if the person names none."""


class BarTableChunk(NamedTuple):
    """A chunk of rows with the columns of a `ColumnLayout`; the index is the line (or, in Parquet, the row from 1).

    `ticker` is the ticker of all rows if the header names one, else empty. `bad` rows have too many or too few fields.
    """

    rows: pd.DataFrame
    ticker: str
    bad: list[BadRow]


class _TextFormat(NamedTuple):
    """The format of a text file: data begin after `skip` lines; a row has `min_fields` to `max_fields` fields."""

    encoding: str
    delimiter: str
    skip: int
    min_fields: int
    max_fields: int
    layouts: list[ColumnLayout]


def read_chunks(file: Path, options: ImportOptions) -> Iterator[BarTableChunk]:
    """The chunks of a file; raises `BadInput` for a file that cannot be read or lacks the columns of bars."""
    try:
        yield from _read_parquet_chunks(file) if suffix_of(file) == PARQUET_SUFFIX else _read_text_chunks(file, options)
    except (OSError, EOFError, ValueError, csv.Error) as error:
        remedy = "check it, save it as UTF-8, or convert it"
        raise BadInput(f"a readable {suffix_of(file)} file", f"{file}: {error}", remedy) from error


def has_bar_columns(file: Path) -> bool:
    """Whether a text file has the columns of bars."""
    try:
        return bool(_detect_format(file, ImportOptions()).layouts)
    except (BadInput, OSError, EOFError, ValueError):
        return False


def _read_text_chunks(file: Path, options: ImportOptions) -> Iterator[BarTableChunk]:
    text_format = _detect_format(file, options)
    with _open_text(file, text_format.encoding) as text:
        for _ in range(text_format.skip):
            next(text)
        reader = csv.reader(text, delimiter=text_format.delimiter, strict=True)
        numbered = ((reader.line_num + text_format.skip, row) for row in reader)
        while chunk := list(islice(numbered, CHUNK_ROWS)):
            yield from _to_chunks(file, text_format, [(line, row) for line, row in chunk if any(map(str.strip, row))])


def _to_chunks(file: Path, text_format: _TextFormat, chunk: list[tuple[int, list[str]]]) -> Iterator[BarTableChunk]:
    """The chunk of each layout; blank cells beyond the columns of the header are ignored."""
    complete: list[list[str]] = []
    lines: list[int] = []
    bad: list[BadRow] = []
    for line, row in chunk:
        if row[0].startswith(FOOTER_PREFIX) and not any(cell.strip() for cell in row[1:]):
            continue
        if len(row) >= text_format.min_fields and not any(cell.strip() for cell in row[text_format.max_fields :]):
            complete.append(row)
            lines.append(line)
        else:
            bad.append(BadRow(file, line, f"{len(row)} fields, the header has {text_format.max_fields}"))
    for number, layout in enumerate(text_format.layouts):
        columns = {what: [row[index] for row in complete] for what, index in layout.columns.items()}
        rows = pd.DataFrame(columns, index=pd.Index(lines, dtype="int64"), dtype="str")
        # Of several tickers in one table, one may have no prices on a day on which another traded.
        if len(text_format.layouts) > 1:
            rows = rows[(rows[["open", "high", "low", "close"]] != "").any(axis=1)]
        # The bad rows belong to all layouts, so only the first chunk carries them.
        yield BarTableChunk(rows, layout.ticker, bad if number == 0 else [])


def _detect_format(file: Path, options: ImportOptions) -> _TextFormat:
    """The format of a text file: the first delimiter and line that make a header of bars.

    Raises `BadInput` if there is none; the error is about the row with the most fields, which fits best.
    """
    encoding = _encoding(file)
    with _open_text(file, encoding) as text:
        head = list(islice(text, MAX_HEADER_LINES))
    reasons = {}
    for delimiter in [options.delimiter] if options.delimiter else CANDIDATE_DELIMITERS:
        rows = _split(head, delimiter)
        for number, row in enumerate(rows):
            try:
                layouts, header_rows = _read_header(rows, number)
            except HeaderError as error:
                reasons[len(row), delimiter, -number] = (row, str(error))
                continue
            # A row has to reach the last column that is read, and the last one with a name.
            used = max(max(layout.columns.values()) for layout in layouts) + 1
            named = max((i + 1 for i, name in enumerate(row) if name.strip()), default=0)
            return _TextFormat(encoding, delimiter, number + header_rows, max(used, named), len(row), layouts)
    row, why = reasons[max(reasons)] if reasons else ([], "it is empty")
    raise header_error(row, file, why)


def _read_header(rows: list[list[str]], number: int) -> tuple[list[ColumnLayout], int]:
    """The layouts of the header that begins in this row, and the number of its rows."""
    row, after = rows[number], rows[number + 1 : number + 3]
    if len(after) == 2 and len(row) > 1 and _names_index(after[1]):
        return parse_wide_header(row, after[0]), 3
    if number == 0 and (bare := headerless_layout(row)):
        return [bare], 0
    return [parse_header(row)], 1


def _names_index(row: Sequence[str]) -> bool:
    """Whether a row holds only the name of the index, as yfinance writes the third row of its header."""
    return len(row) > 1 and row[0].strip().lower() in ("date", "datetime") and not any(c.strip() for c in row[1:])


def _split(head: list[str], delimiter: str) -> list[list[str]]:
    """The rows of the first lines, one per line, since no header has a quoted field with a line break in it.

    A line that cannot be split is an empty row.
    """
    rows = []
    for line in head:
        with suppress(csv.Error):
            rows.append(next(csv.reader([line], delimiter=delimiter), []))
            continue
        rows.append([])
    return rows


def _encoding(file: Path) -> str:
    """The encoding of a text file: UTF-16 by its byte order mark or its zero bytes, else UTF-8."""
    with _open_bytes(file) as stream:
        head = stream.read(4096)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    # UTF-16 has a zero byte with each ASCII letter; its place tells the byte order.
    return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be" if head[:1] == b"\0" else "utf-8-sig"


def _open_bytes(file: Path) -> IO[bytes]:
    if file.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(file, "rb"))
    return file.open("rb")


def _open_text(file: Path, encoding: str) -> TextIO:
    if file.suffix.lower() == ".gz":
        return gzip.open(file, "rt", encoding=encoding, newline="")
    return file.open(encoding=encoding, newline="")


def _read_parquet_chunks(file: Path) -> Iterator[BarTableChunk]:
    """The chunks of a Parquet file; its index counts as columns, since it may hold the dates or the ticker."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = 1
    layouts: list[ColumnLayout] | None = None
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(CHUNK_ROWS):
            frame = index_to_columns(pa.Table.from_batches([batch]).to_pandas())
            layouts = layouts or _frame_layouts(frame, file)
            frame.index = pd.RangeIndex(first, first + len(frame))
            first += len(frame)
            for layout in layouts:
                rows = frame.iloc[:, list(layout.columns.values())].set_axis(list(layout.columns), axis=1)
                if len(layouts) > 1:
                    rows = rows[rows[["open", "high", "low", "close"]].notna().any(axis=1)]
                yield BarTableChunk(rows, layout.ticker, [])


def _frame_layouts(frame: pd.DataFrame, file: Path) -> list[ColumnLayout]:
    """The layouts of a frame, whose columns may have two levels as those of yfinance; raises `BadInput` for none."""
    names = list(frame.columns)
    try:
        if frame.columns.nlevels == 2:
            first, second = (list(map(str, level)) for level in zip(*names, strict=True))
            return parse_wide_header(first, second)
        return [parse_header(names)]
    except HeaderError as error:
        raise header_error(names, file, str(error)) from error
