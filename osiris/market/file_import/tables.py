"""CSV and Parquet files as tables in chunks: rows with their lines, columns named by what they are."""

import csv
import gzip
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO

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
MAX_HEADER_LINES = 12
"""Lines among which the header is looked for: some vendors write a title, or a link to themselves, above it."""
FOOTER_PREFIX = "Downloaded from "
"""A row that holds no bar: Barchart's last one."""
CANDIDATE_DELIMITERS = (",", ";", "\t", "|")


class BarTableChunk(NamedTuple):
    """A chunk: `rows` by line (or row, from 1) with the columns of a `Layout`; `bad` have too many or few fields.

    `ticker` is that of all rows, where the header names it.
    """

    rows: pd.DataFrame
    ticker: str
    bad: list[BadRow]


class _TextFormat(NamedTuple):
    """How a text file is written: data begin after `skip` lines; a row has `min_fields` to `max_fields` fields."""

    encoding: str
    delimiter: str
    skip: int
    min_fields: int
    max_fields: int
    layouts: list[ColumnLayout]


def read_chunks(file: Path, options: ImportOptions) -> Iterator[BarTableChunk]:
    """The chunks of a file; raises `BadInput` for one that cannot be read or has no such columns."""
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
    """The columns of each layout; cells beyond the header's are none where they are blank."""
    whole, lines, odd = [], [], []
    for line, row in chunk:
        if row[0].startswith(FOOTER_PREFIX) and not any(cell.strip() for cell in row[1:]):
            continue
        if len(row) >= text_format.min_fields and not any(cell.strip() for cell in row[text_format.max_fields :]):
            whole.append(row)
            lines.append(line)
        else:
            odd.append(BadRow(file, line, f"{len(row)} fields, the header has {text_format.max_fields}"))
    for number, layout in enumerate(text_format.layouts):
        columns = {what: [row[index] for row in whole] for what, index in layout.columns.items()}
        rows = pd.DataFrame(columns, index=pd.Index(lines, dtype="int64"), dtype="str")
        if len(text_format.layouts) > 1:  # a day on which only others of the table traded
            rows = rows[(rows[["open", "high", "low", "close"]] != "").any(axis=1)]
        yield BarTableChunk(rows, layout.ticker, odd if number == 0 else [])


def _detect_format(file: Path, options: ImportOptions) -> _TextFormat:
    encoding = _encoding(file)
    with _open_text(file, encoding) as text:
        head = list(islice(text, MAX_HEADER_LINES))
    reasons = {}
    for delimiter in [options.delimiter] if options.delimiter else CANDIDATE_DELIMITERS:
        rows = _split(head, delimiter)
        for number, row in enumerate(rows):
            try:
                found = _read_header(rows, number)
            except HeaderError as error:
                reasons[len(row), delimiter, -number] = (row, str(error))
                continue
            layouts, header = found
            least = max(max(layout.columns.values()) for layout in layouts) + 1
            named = max((i + 1 for i, name in enumerate(row) if name.strip()), default=0)
            return _TextFormat(encoding, delimiter, number + header, max(least, named), len(row), layouts)
    row, why = reasons[max(reasons)] if reasons else ([], "it is empty")
    raise header_error(row, file, why)


def _read_header(rows: list[list[str]], number: int) -> tuple[list[ColumnLayout], int]:
    """The layouts of the header that begins in this row, and how many rows it has."""
    row, after = rows[number], rows[number + 1 : number + 3]
    if len(after) == 2 and len(row) > 1 and _names_index(after[1]):
        return parse_wide_header(row, after[0]), 3
    if number == 0 and (bare := headerless_layout(row)):
        return [bare], 0
    return [parse_header(row)], 1


def _names_index(row: Sequence[str]) -> bool:
    return len(row) > 1 and row[0].strip().lower() in ("date", "datetime") and not any(c.strip() for c in row[1:])


def _split(head: list[str], delimiter: str) -> list[list[str]]:
    """The rows of the first lines, one a line: a quoted field with a line's end in it belongs to no header."""
    rows = []
    for line in head:
        with suppress(csv.Error):
            rows.append(next(csv.reader([line], delimiter=delimiter), []))
            continue
        rows.append([])
    return rows


def _encoding(file: Path) -> str:
    with _open_bytes(file) as stream:
        head = stream.read(4096)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be" if head[:1] == b"\0" else "utf-8-sig"


def _open_bytes(file: Path):
    return gzip.open(file, "rb") if file.suffix.lower() == ".gz" else file.open("rb")


def _open_text(file: Path, encoding: str) -> TextIO:
    if file.suffix.lower() == ".gz":
        return gzip.open(file, "rt", encoding=encoding, newline="")
    return file.open(encoding=encoding, newline="")


def _read_parquet_chunks(file: Path) -> Iterator[BarTableChunk]:
    """The rows with their index, which may be what holds the dates or the ticker."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first, layouts = 1, None
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
    names = list(frame.columns)
    try:
        if frame.columns.nlevels == 2:
            first, second = (list(map(str, level)) for level in zip(*names, strict=True))
            return parse_wide_header(first, second)
        return [parse_header(names)]
    except HeaderError as error:
        raise header_error(names, file, str(error)) from error
