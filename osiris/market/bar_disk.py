"""What lies on disk for a ticker and interval: a Parquet file of bars, its disputes, and sessions without bars.

`TICKER.parquet` is read through DuckDB and published whole; `TICKER.disputes.json` lists where sources disagree;
`TICKER.absent.jsonl` is append-only: of which sessions a person said that they had no other bars, and where one came.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pandas as pd
from filelock import FileLock

from osiris.core.errors import DamagedBars, WorkspaceError
from osiris.core.files import fsync_path, write_atomically
from osiris.market.calendars import FRAME_COLUMNS
from osiris.market.reconcile import Disagreement, cast_types

DISPUTES_SUFFIX, ABSENT_SUFFIX, DAMAGED_SUFFIX = ".disputes.json", ".absent.jsonl", ".damaged"


class BarReader:
    """Reads Parquet files of bars; the connection is made when first needed."""

    def __init__(self, root: Path) -> None:
        """Keep what is needed while reading under `root`."""
        self._root, self._connection = root, None

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
        except (*_duckdb_errors(), OSError, ValueError, TypeError) as error:
            self._connection = None  # an inner error of DuckDB makes it useless
            if len(paths) == 1:
                return _empty_with_ticker(), {paths[0]: self._reason(error, paths[0])}
        parts = [self.read([path], start, end, before) for path in paths]
        frames = [frame for frame, _ in parts if len(frame)]
        whole = cast_types(pd.concat(frames, ignore_index=True)) if frames else _empty_with_ticker()
        return whole, {path: why for _, damaged in parts for path, why in damaged.items()}

    def _query(
        self, paths: Sequence[Path], start: datetime | None, end: datetime | None, before: datetime | None
    ) -> pd.DataFrame:
        query = f"""
            SELECT parse_filename(filename, true) AS ticker, {", ".join(f'"{column}"' for column in FRAME_COLUMNS)}
            FROM read_parquet($1, filename = true)
            WHERE ($2::TIMESTAMPTZ IS NULL OR "start" >= $2) AND ($3::TIMESTAMPTZ IS NULL OR "end" <= $3)
              AND ($4::TIMESTAMPTZ IS NULL OR "start" < $4)
            ORDER BY ticker, "start" """
        with self._pin_files(paths) as held:
            found = (
                self._cursor().sql(query, params=[[str(path) for path in held], start, end, before]).to_arrow_table()
            )
        return cast_types(found.to_pandas())

    def read_row_groups(self, path: Path) -> tuple[list[datetime], int]:
        """Where each row group of a file but the first begins, and how many bars it has; no edges if that is unclear.

        DuckDB tells it: pyarrow ends the process over some damaged footers.
        """
        query = """
            SELECT stats_min_value, row_group_num_rows FROM parquet_metadata($1)
            WHERE path_in_schema = 'start' ORDER BY row_group_id"""
        if not os.path.lexists(path):
            return [], 0
        try:
            with self._pin_files([path]) as held:
                found = self._cursor().sql(query, params=[str(held[0])]).fetchall()
            edges = [pd.to_datetime(first, utc=True).to_pydatetime() for first, _ in found]
            clear = all(one < other for one, other in pairwise(edges))
        except (*_duckdb_errors(), OSError, ValueError, TypeError, OverflowError, AttributeError):
            self._connection = None
            return [], 0
        return (edges[1:] if clear else []), sum(rows for _, rows in found)

    @contextmanager
    def _pin_files(self, paths: Sequence[Path]) -> Iterator[list[Path]]:
        """The files as they are now, under names that no writer replaces: DuckDB opens a file twice in one query.

        From the footer of one and the data of another it makes an error, or takes the process down.
        """
        try:
            folder = tempfile.TemporaryDirectory(prefix=".read-", dir=self._root)
        except OSError:  # nobody can write here
            yield list(paths)
            return
        with folder as here:
            yield [_link_or_copy(path, Path(here) / path.name) for path in paths]

    def _reason(self, error: Exception, path: Path) -> str:
        """Why it cannot be read, on one line; the name under which it was read is no more."""
        alias = rf"{re.escape(str(self._root))}/\.read-[^/]+/"
        return re.sub(alias, lambda _: f"{path.parent}/", str(error).strip().split("\n")[0])

    def _cursor(self):
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
    """Give a file of bars that cannot be read another name, which is returned."""
    names = (path.with_name(f"{path.name}{DAMAGED_SUFFIX}{number or ''}") for number in range(10_000))
    name = next(name for name in names if not os.path.lexists(name))
    path.rename(name)
    fsync_path(path.parent)
    return name


@contextmanager
def lock_for_writing(path: Path) -> Iterator[None]:
    """One writer a file; raises `WorkspaceError` when its folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            yield
    except OSError as error:
        raise WorkspaceError(
            f"a folder for bars that can be written, {path.parent}", str(error), "free space, or change its rights"
        ) from error


def read_disputes(path: Path) -> list[Disagreement]:
    """What is in dispute about the bars at `path`."""
    file = path if path.name.endswith(DISPUTES_SUFFIX) else path.with_suffix(DISPUTES_SUFFIX)
    if not file.exists():
        return []
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return [Disagreement(**row | {"start": datetime.fromisoformat(row["start"])}) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        remedy = "remove it once you have looked at it, and run: osiris prices update"
        raise WorkspaceError("a list of disputed bars", f"{error} in {file}", remedy) from error


def write_disputes(path: Path, disputes: Sequence[Disagreement]) -> None:
    """Keep them beside the bars, one a bar and source."""
    file = path.with_suffix(DISPUTES_SUFFIX)
    if disputes:
        last = {(d.start, d.offered_source): d for d in disputes}
        rows = [asdict(d) | {"start": d.start.isoformat()} for _, d in sorted(last.items())]
        write_atomically(file, json.dumps(rows, indent=1))
    else:
        file.unlink(missing_ok=True)


def read_absences(path: Path) -> dict[datetime, datetime]:
    """Open and close of the sessions of which a person said that they had no bars but those there are."""
    file = path.with_suffix(ABSENT_SUFFIX)
    found: dict[datetime, datetime] = {}
    if not file.exists():
        return found
    try:
        for line in file.read_bytes().split(b"\n")[:-1]:  # what a killed writer left unfinished is no line
            entry = json.loads(line)
            start = datetime.fromisoformat(entry["start"])
            found.pop(start, None)
            if entry["absent"]:
                found[start] = datetime.fromisoformat(entry["end"])
    except (ValueError, TypeError, KeyError) as error:
        remedy = "remove it once you have looked at it, and confirm those sessions again"
        raise WorkspaceError("a list of sessions without bars", f"{error} in {file}", remedy) from error
    return found


def append_absence(path: Path, start: datetime, end: datetime, *, absent: bool = True) -> None:
    """Append that the session had no other bars, or that one came; flushed to disk."""
    noted = path.with_suffix(ABSENT_SUFFIX)
    entry = {"start": start.isoformat(), "end": end.isoformat(), "absent": absent}
    torn = noted.exists() and not noted.read_bytes().endswith(b"\n") and noted.stat().st_size
    with noted.open("ab") as file:
        file.truncate(noted.read_bytes().rfind(b"\n") + 1) if torn else None
        file.write(json.dumps(entry).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fsync_path(noted.parent)


def _duckdb_errors() -> tuple[type[Exception], ...]:
    import duckdb

    return (duckdb.Error,)


def empty_bars() -> pd.DataFrame:
    """A frame without a bar, in the format of `osiris.market.calendars`."""
    return _empty_with_ticker().drop(columns="ticker")


def _empty_with_ticker() -> pd.DataFrame:
    numbers = dict.fromkeys(FRAME_COLUMNS, 0.0) | dict.fromkeys(("start", "end"), pd.Timestamp(0, tz="UTC"))
    return cast_types(pd.DataFrame([{"ticker": "", **numbers}]).iloc[:0])


def _link_or_copy(path: Path, name: Path) -> Path:
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        shutil.copyfile(path, name)
    return name
