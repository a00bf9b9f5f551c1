"""The rows of all files on disk, by series: one ticker of one file. A file may be larger than the memory.

Numbers are kept and texts are not, so what is wrong with a text is said here, with the text.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.core.errors import BadInput
from osiris.core.row_files import BadRow, BadRows
from osiris.market.bar_pieces import MAX_PIECE_BARS
from osiris.market.calendars import PRICE_COLUMNS
from osiris.market.file_import.moments import DAY_US, NO_TIME, MomentReader
from osiris.market.file_import.numbers import detect_decimal, is_absent, parse_numbers, parse_splits, parse_volumes
from osiris.market.file_import.options import ImportOptions
from osiris.market.file_import.row_checks import check_adjustment, check_prices, check_tickers
from osiris.market.file_import.tables import BarTableChunk, read_chunks
from osiris.market.file_import.tickers import find_tickers

ROW_DTYPE = np.dtype(
    [("line", "i8"), ("at", "i8"), ("day", "i8"), ("bad", "?")]
    + [(name, "f8") for name in (*PRICE_COLUMNS, "volume", "split", "lasts")]
)
"""`at` and `day` as in `moments.Moments`; `bad` rows only tell how far apart the bars are; `lasts` in seconds."""
TIMES_DTYPE = np.dtype([("at", "i8"), ("day", "i8"), ("lasts", "f8")])
MAX_BAD_ROWS = 10_000


class SeriesKey(NamedTuple):
    """A series: the bars of one ticker in one file; `from_file_name` says that the file's name gave the ticker."""

    ticker: str
    file: Path
    from_file_name: bool = False


@dataclass
class SpoolReport:
    """What reading told: bad rows, rows without prices or outside of the sessions, tickers from the names of files."""

    bad: list[BadRow] = field(default_factory=list)
    unpriced_rows: dict[Path, int] = field(default_factory=dict)
    outside_rows: dict[SeriesKey, int] = field(default_factory=dict)
    file_name_tickers: list[str] = field(default_factory=list)


class Spool:
    """A temporary file of rows; a context manager, which removes it."""

    def __init__(self, options: ImportOptions) -> None:
        """Read files as `form` says."""
        self.options, self.report = options, SpoolReport()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._parts: dict[SeriesKey, list[tuple[int, int]]] = defaultdict(list)
        self._rows = 0

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove what was kept."""
        self._file.close()

    def add_file(self, file: Path) -> None:
        """Read a file to its end; raises `BadInput` for one that cannot be read or is not clear."""
        moments, decimal, symbols, read = MomentReader(self.options, file), self.options.decimal, set(), 0
        for table in read_chunks(file, self.options):
            self.report.bad += table.bad
            if table.rows.empty:
                read += len(table.bad)
                continue
            decimal = decimal or detect_decimal(table.rows[list(PRICE_COLUMNS)], file)
            read += len(table.rows)
            rows, names, by_name = self._check_chunk(file, table, moments, decimal)
            symbols |= set(names.unique())
            if self.options.ticker and len(symbols) > 1:
                came = f"--ticker {self.options.ticker} for {', '.join(sorted(symbols)[:5])} in {file}"
                raise BadInput("a file of one ticker", came, "leave --ticker out")
            self._keep(file, rows, names, by_name)
            if len(self.report.bad) > MAX_BAD_ROWS:  # a list of millions helps nobody, and would not fit into memory
                raise BadRows(self.report.bad)
        if not read:
            raise BadInput("bars", f"no row in {file}", "check the file")

    def series_keys(self) -> Iterator[SeriesKey]:
        """The series, by ticker."""
        return iter(sorted(self._parts))

    def size(self, key: SeriesKey) -> tuple[int, int]:
        """How many rows a series has, and the line of the first."""
        spans = self._parts[key]
        return sum(many for _, many in spans), int(self._read(spans[0][0], 1)["line"][0])

    def read_times(self, key: SeriesKey) -> NDArray[np.void]:
        """When the bars of a series begin and how long they last, `HEAD` each, in the order of the file."""
        names = list(TIMES_DTYPE.names)
        return np.concatenate(
            [self._read(first, many)[names].astype(TIMES_DTYPE) for first, many in _split_spans(self._parts[key])]
        )

    def pieces(self, key: SeriesKey, opens: NDArray[np.int64]) -> Iterator[NDArray[np.void]]:
        """The rows of a series, `ROW` each: all in the order of the file, or of many some at a time.

        Pieces follow one another in time, and each begins at one of `opens`, the opens of sessions.
        """
        spans = self._parts[key]
        count, _ = self.size(key)
        if count <= MAX_PIECE_BARS:
            yield np.concatenate([self._read(first, many) for first, many in spans])
            return
        times = _sort_times(self.read_times(key))
        order = np.argsort(times, kind="stable")
        parts = -(-count // MAX_PIECE_BARS)
        middle = times[order[[count * number // parts for number in range(1, parts)]]]
        session = np.searchsorted(opens, middle, side="right") - 1
        cuts = np.searchsorted(times, opens[session[session >= 0]], sorter=order)
        row_numbers = np.concatenate([np.arange(first, first + many) for first, many in spans])
        del times
        for begin, end in pairwise(sorted({0, *map(int, cuts), count})):
            rows = np.memmap(self._file, ROW_DTYPE, "r")
            yield np.array(rows[row_numbers[np.sort(order[begin:end])]])
            del rows  # what was read of the file is in memory no longer

    def notes(self, ignored_files: Sequence[str] = ()) -> list[str]:
        """What a person should know of the reading: files left out, rows without prices, tickers from file names."""
        named = ", ".join(self.report.file_name_tickers[:5]) + (
            ", ..." if len(self.report.file_name_tickers) > 5 else ""
        )
        found = [f"tickers from the names of files: {named}"] if named else []
        if ignored_files:
            more = ", ..." if len(ignored_files) > 5 else ""
            found.append(f"left out, no files of bars: {', '.join(ignored_files[:5])}{more}")
        outside: Counter[Path] = Counter()
        for key, count in self.report.outside_rows.items():
            outside[key.file] += count
        kinds = {"without prices": self.report.unpriced_rows, "outside of the sessions": outside}
        return found + [
            f"{file.name}: {count} rows {kind} left out"
            for kind, counts in kinds.items()
            for file, count in counts.items()
            if count
        ]

    def _read(self, first: int, count: int) -> NDArray[np.void]:
        self._file.seek(first * ROW_DTYPE.itemsize)
        return np.frombuffer(self._file.read(count * ROW_DTYPE.itemsize), ROW_DTYPE)

    def _keep(self, file: Path, rows: NDArray[np.void], names: pd.Series, by_name: bool) -> None:
        codes, distinct = pd.factorize(names)
        order = np.argsort(codes, kind="stable")
        edges = np.searchsorted(codes[order], np.arange(len(distinct) + 1))
        for ticker, begin, end in zip(distinct, edges[:-1], edges[1:], strict=True):
            key = SeriesKey(self.options.ticker or str(ticker), file, by_name)
            self._parts[key].append((self._rows + int(begin), int(end - begin)))
        self._file.seek(0, 2)
        self._file.write(rows[order].tobytes())
        self._rows += len(rows)

    def _check_chunk(
        self, file: Path, table: BarTableChunk, reader: MomentReader, decimal: str
    ) -> tuple[NDArray[np.void], pd.Series, bool]:
        """The rows of a chunk with prices, their tickers, whether the file's name gave it; notes the bad rows."""
        texts = table.rows
        empty = np.all([is_absent(texts[name]) for name in PRICE_COLUMNS], axis=0)
        if empty.any():
            self.report.unpriced_rows[file] = self.report.unpriced_rows.get(file, 0) + int(empty.sum())
            texts = texts[~empty]
        names, by_name = find_tickers(texts, table.ticker, self.options, file)
        if by_name and names.iloc[:1].tolist() and names.iloc[0] not in self.report.file_name_tickers:
            self.report.file_name_tickers.append(names.iloc[0])
        moments = reader.read(texts["when"], texts.get("clock"))
        rows = np.zeros(len(texts), ROW_DTYPE)
        rows["line"], rows["at"], rows["day"] = texts.index, moments.at, moments.day
        for name in PRICE_COLUMNS:
            rows[name] = parse_numbers(texts[name], decimal)
        rows["volume"] = parse_volumes(texts["volume"], decimal) if "volume" in texts else np.nan
        split, split_reason = parse_splits(texts["split"]) if "split" in texts else (np.nan, None)
        rows["split"] = split
        rows["lasts"] = _durations(rows, texts["until"]) if "until" in texts else np.nan
        reasons = check_prices(rows, texts)
        for more in (split_reason, check_adjustment(texts), moments.reason, check_tickers(names)):
            if more is not None:
                reasons = np.where(reasons == "", more, reasons)
        rows["bad"] = reasons != ""
        self.report.bad += [BadRow(file, int(rows["line"][i]), str(reasons[i])) for i in np.flatnonzero(rows["bad"])]
        return rows, names, by_name


def _split_spans(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same rows, at most `PIECE` at a time."""
    for first, many in spans:
        yield from ((at, min(MAX_PIECE_BARS, first + many - at)) for at in range(first, first + many, MAX_PIECE_BARS))


def _sort_times(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """What rows are ordered by: their moment, else their day; those with neither come first."""
    return np.where(rows["at"] != NO_TIME, rows["at"], np.where(rows["day"] != NO_TIME, rows["day"] * DAY_US, NO_TIME))


def _durations(rows: NDArray[np.void], until: pd.Series) -> NDArray[np.float64]:
    """Seconds to the moment in the column of the bars' ends, to the next whole one; NaN where there is none."""
    end = MomentReader(ImportOptions(), "").read(until).at
    known = (end > 0) & (rows["at"] > 0)
    return np.where(known, np.ceil((end - rows["at"]) / 1e6 - 1e-9), np.nan)
