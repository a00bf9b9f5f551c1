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
from osiris.core.row_files import BadRow, with_index
from osiris.market.file_import.endings import PARQUET, kind
from osiris.market.file_import.form import Form
from osiris.market.file_import.header import HeaderError, Layout, layout_of, refusal, wide_layouts, without_header

CHUNK = 50_000
HEAD = 12
"""Lines among which the header is looked for: some vendors write a title, or a link to themselves, above it."""
SAID = "Downloaded from "
"""A row that holds no bar: Barchart's last one."""
TRIED = (",", ";", "\t", "|")


class Table(NamedTuple):
    """A chunk: `rows` by line (or row, from 1) with the columns of a `Layout`; `odd` have too many or few fields.

    `ticker` is that of all rows, where the header names it.
    """

    rows: pd.DataFrame
    ticker: str
    odd: list[BadRow]


class _Shape(NamedTuple):
    """How a text file is written: data begin after `skip` lines; a row has `least` to `width` fields."""

    encoding: str
    delimiter: str
    skip: int
    least: int
    width: int
    layouts: list[Layout]


def tables(file: Path, form: Form) -> Iterator[Table]:
    """The chunks of a file; raises `BadInput` for one that cannot be read or has no such columns."""
    try:
        yield from _parquet_tables(file) if kind(file) == PARQUET else _text_tables(file, form)
    except (OSError, EOFError, ValueError, csv.Error) as error:
        remedy = "check it, save it as UTF-8, or convert it"
        raise BadInput(f"a readable {kind(file)} file", f"{file}: {error}", remedy) from error


def is_table(file: Path) -> bool:
    """Whether a text file has the columns of bars."""
    try:
        return bool(_shape(file, Form()).layouts)
    except (BadInput, OSError, EOFError, ValueError):
        return False


def _text_tables(file: Path, form: Form) -> Iterator[Table]:
    shape = _shape(file, form)
    with _opened(file, shape.encoding) as text:
        for _ in range(shape.skip):
            next(text)
        reader = csv.reader(text, delimiter=shape.delimiter, strict=True)
        numbered = ((reader.line_num + shape.skip, row) for row in reader)
        while chunk := list(islice(numbered, CHUNK)):
            yield from _cut(file, shape, [(line, row) for line, row in chunk if any(map(str.strip, row))])


def _cut(file: Path, shape: _Shape, chunk: list[tuple[int, list[str]]]) -> Iterator[Table]:
    """The columns of each layout; cells beyond the header's are none where they are blank."""
    whole, lines, odd = [], [], []
    for line, row in chunk:
        if row[0].startswith(SAID) and not any(cell.strip() for cell in row[1:]):
            continue
        if len(row) >= shape.least and not any(cell.strip() for cell in row[shape.width :]):
            whole.append(row)
            lines.append(line)
        else:
            odd.append(BadRow(file, line, f"{len(row)} fields, the header has {shape.width}"))
    for number, layout in enumerate(shape.layouts):
        columns = {what: [row[index] for row in whole] for what, index in layout.columns.items()}
        rows = pd.DataFrame(columns, index=pd.Index(lines, dtype="int64"), dtype="str")
        if len(shape.layouts) > 1:  # a day on which only others of the table traded
            rows = rows[(rows[["open", "high", "low", "close"]] != "").any(axis=1)]
        yield Table(rows, layout.ticker, odd if number == 0 else [])


def _shape(file: Path, form: Form) -> _Shape:
    encoding = _encoding(file)
    with _opened(file, encoding) as text:
        head = list(islice(text, HEAD))
    reasons = {}
    for delimiter in [form.delimiter] if form.delimiter else TRIED:
        rows = _split(head, delimiter)
        for number, row in enumerate(rows):
            try:
                found = _header(rows, number)
            except HeaderError as error:
                reasons[len(row), delimiter, -number] = (row, str(error))
                continue
            layouts, header = found
            least = max(max(layout.columns.values()) for layout in layouts) + 1
            named = max((i + 1 for i, name in enumerate(row) if name.strip()), default=0)
            return _Shape(encoding, delimiter, number + header, max(least, named), len(row), layouts)
    row, why = reasons[max(reasons)] if reasons else ([], "it is empty")
    raise refusal(row, file, why)


def _header(rows: list[list[str]], number: int) -> tuple[list[Layout], int]:
    """The layouts of the header that begins in this row, and how many rows it has."""
    row, after = rows[number], rows[number + 1 : number + 3]
    if len(after) == 2 and len(row) > 1 and _names_index(after[1]):
        return wide_layouts(row, after[0]), 3
    if number == 0 and (bare := without_header(row)):
        return [bare], 0
    return [layout_of(row)], 1


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
    with _bytes(file) as stream:
        head = stream.read(4096)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be" if head[:1] == b"\0" else "utf-8-sig"


def _bytes(file: Path):
    return gzip.open(file, "rb") if file.suffix.lower() == ".gz" else file.open("rb")


def _opened(file: Path, encoding: str) -> TextIO:
    if file.suffix.lower() == ".gz":
        return gzip.open(file, "rt", encoding=encoding, newline="")
    return file.open(encoding=encoding, newline="")


def _parquet_tables(file: Path) -> Iterator[Table]:
    """The rows with their index, which may be what holds the dates or the ticker."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first, layouts = 1, None
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(CHUNK):
            frame = with_index(pa.Table.from_batches([batch]).to_pandas())
            layouts = layouts or _frame_layouts(frame, file)
            frame.index = pd.RangeIndex(first, first + len(frame))
            first += len(frame)
            for layout in layouts:
                rows = frame.iloc[:, list(layout.columns.values())].set_axis(list(layout.columns), axis=1)
                if len(layouts) > 1:
                    rows = rows[rows[["open", "high", "low", "close"]].notna().any(axis=1)]
                yield Table(rows, layout.ticker, [])


def _frame_layouts(frame: pd.DataFrame, file: Path) -> list[Layout]:
    names = list(frame.columns)
    try:
        if frame.columns.nlevels == 2:
            first, second = (list(map(str, level)) for level in zip(*names, strict=True))
            return wide_layouts(first, second)
        return [layout_of(names)]
    except HeaderError as error:
        raise refusal(names, file, str(error)) from error
