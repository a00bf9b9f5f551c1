"""The rows of all files in one temporary file on disk, by series; a file may be larger than the memory.

A series is one ticker of one file. Only numbers are kept on disk. So each problem with a text is reported here, while
the text is still known.
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
"""One row: `at` and `day` are as in `moments.Moments`, `lasts` is the length of the bar in seconds.

`bad` rows stay, because their times still show how far apart the bars are.
"""
TIMES_COLUMNS = ["at", "day", "lasts"]
TIMES_DTYPE = np.dtype([("at", "i8"), ("day", "i8"), ("lasts", "f8")])
"""The columns of a row that tell when its bar begins and how long it lasts."""
MAX_BAD_ROWS = 10_000
"""Reading stops after so many bad rows: nobody reads a longer list, and one of millions would not fit into memory."""


class SeriesKey(NamedTuple):
    """A series: the bars of one ticker in one file; `from_file_name` says that the file's name gave the ticker."""

    ticker: str
    file: Path
    from_file_name: bool = False


@dataclass
class SpoolReport:
    """The result of reading: bad rows, rows without prices or outside of the sessions, tickers from file names."""

    bad: list[BadRow] = field(default_factory=list)
    unpriced_rows: dict[Path, int] = field(default_factory=dict)
    outside_rows: dict[SeriesKey, int] = field(default_factory=dict)
    file_name_tickers: list[str] = field(default_factory=list)


class Spool:
    """A temporary file of rows, as a context manager that removes the file."""

    def __init__(self, options: ImportOptions) -> None:
        """Read files as `options` say."""
        self.options = options
        self.report = SpoolReport()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._parts: dict[SeriesKey, list[tuple[int, int]]] = defaultdict(list)
        self._rows = 0

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the temporary file."""
        self._file.close()

    def add_file(self, file: Path) -> None:
        """Read a file to its end; raises `BadInput` for one that cannot be read or has more than one reading.

        Raises `BadRows` once there are more than `MAX_BAD_ROWS` bad rows.
        """
        moments = MomentReader(self.options, file)
        decimal = self.options.decimal
        symbols: set[str] = set()
        read = 0
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
                got = f"--ticker {self.options.ticker} for {', '.join(sorted(symbols)[:5])} in {file}"
                raise BadInput("a file of one ticker", got, "leave --ticker out")
            self._keep(file, rows, names, by_name)
            if len(self.report.bad) > MAX_BAD_ROWS:
                raise BadRows(self.report.bad)
        if not read:
            raise BadInput("bars", f"no row in {file}", "check the file")

    def series_keys(self) -> Iterator[SeriesKey]:
        """The series, by ticker."""
        return iter(sorted(self._parts))

    def size(self, key: SeriesKey) -> tuple[int, int]:
        """The number of rows of a series, and the line of the first."""
        spans = self._parts[key]
        return sum(count for _, count in spans), int(self._read(spans[0][0], 1)["line"][0])

    def read_times(self, key: SeriesKey) -> NDArray[np.void]:
        """The begins and lengths of the bars of a series, as `TIMES_DTYPE`, in the order of the file."""
        # Each part is copied before the next is read: the whole rows of a long series are never in memory together.
        spans = _split_spans(self._parts[key])
        return np.concatenate([self._read(first, count)[TIMES_COLUMNS].astype(TIMES_DTYPE) for first, count in spans])

    def pieces(self, key: SeriesKey, opens: NDArray[np.int64]) -> Iterator[NDArray[np.void]]:
        """The rows of a series as `ROW_DTYPE`: in one piece, or in several if there are more than `MAX_PIECE_BARS`.

        Each piece is in the order of the file. Pieces follow one another in time. Each after the first begins at one of
        `opens`, the opens of sessions, so no session and no bar is split between two.
        """
        spans = self._parts[key]
        count, _ = self.size(key)
        if count <= MAX_PIECE_BARS:
            yield np.concatenate([self._read(first, length) for first, length in spans])
            return
        times = _sort_times(self.read_times(key))
        order = np.argsort(times, kind="stable")
        parts = -(-count // MAX_PIECE_BARS)
        # Pieces of equal size would be cut at these moments; each cut moves back to the open of its session.
        middle = times[order[[count * number // parts for number in range(1, parts)]]]
        session = np.searchsorted(opens, middle, side="right") - 1
        cuts = np.searchsorted(times, opens[session[session >= 0]], sorter=order)
        row_numbers = np.concatenate([np.arange(first, first + length) for first, length in spans])
        del times
        for begin, end in pairwise(sorted({0, *map(int, cuts), count})):
            rows = np.memmap(self._file, ROW_DTYPE, "r")
            yield np.array(rows[row_numbers[np.sort(order[begin:end])]])
            del rows  # unmaps the file, so the pages that were read leave the memory

    def notes(self, ignored_files: Sequence[str] = ()) -> list[str]:
        """Notes for the person: files and rows that were left out, and tickers that come from file names."""
        named = ", ".join(self.report.file_name_tickers[:5]) + (
            ", ..." if len(self.report.file_name_tickers) > 5 else ""
        )
        notes = [f"tickers from the names of files: {named}"] if named else []
        if ignored_files:
            more = ", ..." if len(ignored_files) > 5 else ""
            notes.append(f"left out, no files of bars: {', '.join(ignored_files[:5])}{more}")
        outside: Counter[Path] = Counter()
        for key, count in self.report.outside_rows.items():
            outside[key.file] += count
        kinds = {"without prices": self.report.unpriced_rows, "outside of the sessions": outside}
        return notes + [
            f"{file.name}: {count} rows {kind} left out"
            for kind, counts in kinds.items()
            for file, count in counts.items()
            if count
        ]

    def _read(self, first: int, count: int) -> NDArray[np.void]:
        self._file.seek(first * ROW_DTYPE.itemsize)
        return np.frombuffer(self._file.read(count * ROW_DTYPE.itemsize), ROW_DTYPE)

    def _keep(self, file: Path, rows: NDArray[np.void], names: pd.Series, by_name: bool) -> None:
        """Append rows to the temporary file, those of a ticker together, and note where they begin."""
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
        """The rows of a chunk that have prices, their tickers, and whether the file's name gave the ticker.

        Adds the bad rows to the report. Of several reasons against one row the first counts.
        """
        texts = table.rows
        unpriced = np.all([is_absent(texts[name]) for name in PRICE_COLUMNS], axis=0)
        if unpriced.any():
            self.report.unpriced_rows[file] = self.report.unpriced_rows.get(file, 0) + int(unpriced.sum())
            texts = texts[~unpriced]
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
    """The same rows in spans of at most `MAX_PIECE_BARS`; a span is its first row and its length."""
    for first, count in spans:
        end = first + count
        yield from ((at, min(MAX_PIECE_BARS, end - at)) for at in range(first, end, MAX_PIECE_BARS))


def _sort_times(rows: NDArray[np.void]) -> NDArray[np.int64]:
    """The keys by which rows are ordered: their moment, else their day; rows with neither come first."""
    return np.where(rows["at"] != NO_TIME, rows["at"], np.where(rows["day"] != NO_TIME, rows["day"] * DAY_US, NO_TIME))


def _durations(rows: NDArray[np.void], until: pd.Series) -> NDArray[np.float64]:
    """Seconds from the begin of each bar to its end as a column names it, rounded up; NaN where either is missing."""
    # Binance writes the last millisecond of a bar as its end. The small term keeps whole numbers from rounding up.
    end = MomentReader(ImportOptions(), "").read(until).at
    known = (end > 0) & (rows["at"] > 0)
    return np.where(known, np.ceil((end - rows["at"]) / 1e6 - 1e-9), np.nan)
