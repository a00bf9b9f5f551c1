"""The file of a ticker and interval, `TICKER.parquet`: read through DuckDB, and replaced as a whole."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from filelock import FileLock

from osiris.core.errors import DamagedBars, WorkspaceError
from osiris.core.files import fsync_path
from osiris.market.calendars import FRAME_COLUMNS
from osiris.market.reconcile import cast_types

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DAMAGED_SUFFIX = ".damaged"


class BarReader:
    """Reads Parquet files of bars; the DuckDB connection is made when it is first needed."""

    def __init__(self, root: Path) -> None:
        """Read files under `root`; nothing is read yet."""
        self._root = root
        self._connection: DuckDBPyConnection | None = None

    def read(
        self,
        paths: Sequence[Path],
        start: datetime | None = None,
        end: datetime | None = None,
        before: datetime | None = None,
    ) -> tuple[pd.DataFrame, dict[Path, str]]:
        """Bars with a column `ticker`, by ticker and start, and the files that cannot be read, with the reason.

        They begin at or after `start` and before `before`, and are complete at `end`.
        """
        try:
            return self._query(paths, start, end, before), {}
        except _read_errors() as error:
            self._connection = None  # after an internal error of DuckDB the connection cannot be used again
            if len(paths) == 1:
                return _empty_with_ticker(), {paths[0]: self._reason(error, paths[0])}
        parts = [self.read([path], start, end, before) for path in paths]
        frames = [frame for frame, _ in parts if len(frame)]
        merged = cast_types(pd.concat(frames, ignore_index=True)) if frames else _empty_with_ticker()
        return merged, {path: reason for _, damaged in parts for path, reason in damaged.items()}

    def _query(
        self, paths: Sequence[Path], start: datetime | None, end: datetime | None, before: datetime | None
    ) -> pd.DataFrame:
        query = f"""
            SELECT parse_filename(filename, true) AS ticker, {", ".join(f'"{column}"' for column in FRAME_COLUMNS)}
            FROM read_parquet($1, filename = true)
            WHERE ($2::TIMESTAMPTZ IS NULL OR "start" >= $2) AND ($3::TIMESTAMPTZ IS NULL OR "end" <= $3)
              AND ($4::TIMESTAMPTZ IS NULL OR "start" < $4)
            ORDER BY ticker, "start" """
        with self._pin_files(paths) as pinned:
            parameters = [[str(path) for path in pinned], start, end, before]
            table = self._cursor().sql(query, params=parameters).to_arrow_table()
        return cast_types(table.to_pandas())

    def read_row_groups(self, path: Path) -> tuple[list[datetime], int]:
        """The first start of each row group except the first group, and the number of bars in the file.

        There are no edges, and no bars, if the file cannot be read. There are no edges if they do not ascend. DuckDB
        reads them and not pyarrow, because pyarrow ends the process over some damaged footers.
        """
        query = """
            SELECT stats_min_value, row_group_num_rows FROM parquet_metadata($1)
            WHERE path_in_schema = 'start' ORDER BY row_group_id"""
        if not os.path.lexists(path):
            return [], 0
        try:
            with self._pin_files([path]) as pinned:
                groups = self._cursor().sql(query, params=[str(pinned[0])]).fetchall()
            edges = [pd.to_datetime(first, utc=True).to_pydatetime() for first, _ in groups]
            ascending = all(one < other for one, other in pairwise(edges))
        except _read_errors(OverflowError, AttributeError):
            self._connection = None
            return [], 0
        return (edges[1:] if ascending else []), sum(rows for _, rows in groups)

    @contextmanager
    def _pin_files(self, paths: Sequence[Path]) -> Iterator[list[Path]]:
        """Links to the files as they are now, under names that no writer replaces.

        DuckDB opens a file twice in one query. If a writer replaces it in between, DuckDB reads the footer of the old
        file and the data of the new one: that is an error, or the end of the process.
        """
        try:
            folder = tempfile.TemporaryDirectory(prefix=".read-", dir=self._root)
        except OSError:  # the folder cannot be written, so no writer can replace a file either
            yield list(paths)
            return
        with folder as name:
            yield [_link_or_copy(path, Path(name) / path.name) for path in paths]

    def _reason(self, error: Exception, path: Path) -> str:
        """The reason why a file cannot be read, on one line and with its own name in place of its link's."""
        alias = rf"{re.escape(str(self._root))}/\.read-[^/]+/"
        return re.sub(alias, lambda _: f"{path.parent}/", str(error).strip().split("\n")[0])

    def _cursor(self) -> "DuckDBPyConnection":
        if self._connection is None:
            import duckdb

            self._connection = duckdb.connect(":memory:")
            self._connection.execute("SET TimeZone = 'UTC'")
        return self._connection.cursor()


def damaged_file_error(path: Path, reason: str) -> DamagedBars:
    """The error for a file of bars that cannot be read."""
    remedy = f"restore it from a backup, or run: osiris prices import FILE, which moves it aside ({DAMAGED_SUFFIX})"
    return DamagedBars("a Parquet file of bars", f"{path}, {reason}", remedy)


def move_aside(path: Path) -> Path:
    """Rename a file of bars that cannot be read, and return its new name."""
    names = (path.with_name(f"{path.name}{DAMAGED_SUFFIX}{number or ''}") for number in range(10_000))
    name = next(name for name in names if not os.path.lexists(name))
    path.rename(name)
    fsync_path(path.parent)
    return name


@contextmanager
def lock_for_writing(path: Path) -> Iterator[None]:
    """Let one process at a time write the file at `path`; raises `WorkspaceError` if its folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            yield
    except OSError as error:
        raise WorkspaceError(
            f"a folder for bars that can be written, {path.parent}", str(error), "free space, or change its rights"
        ) from error


def _read_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """The errors that a file of bars raises if it is damaged or cannot be read, and `more` of them."""
    import duckdb

    return (duckdb.Error, OSError, ValueError, TypeError, *more)


def empty_bars() -> pd.DataFrame:
    """A frame without a bar, in the format of `osiris.market.calendars`."""
    return _empty_with_ticker().drop(columns="ticker")


def _empty_with_ticker() -> pd.DataFrame:
    row = dict.fromkeys(FRAME_COLUMNS, 0.0) | dict.fromkeys(("start", "end"), pd.Timestamp(0, tz="UTC"))
    return cast_types(pd.DataFrame([{"ticker": "", **row}]).iloc[:0])  # a row that is cut off gives the types


def _link_or_copy(path: Path, name: Path) -> Path:
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        shutil.copyfile(path, name)
    return name
