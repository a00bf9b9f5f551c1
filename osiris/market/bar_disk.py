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
from osiris.core.files import sync, write_whole
from osiris.market.calendars import COLUMNS
from osiris.market.reconcile import Disagreement, typed

DISPUTES, ABSENT, ASIDE = ".disputes.json", ".absent.jsonl", ".damaged"


class Reader:
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
        except (*_damages(), OSError, ValueError, TypeError) as error:
            self._connection = None  # an inner error of DuckDB makes it useless
            if len(paths) == 1:
                return _none(), {paths[0]: self._reason(error, paths[0])}
        parts = [self.read([path], start, end, before) for path in paths]
        frames = [frame for frame, _ in parts if len(frame)]
        whole = typed(pd.concat(frames, ignore_index=True)) if frames else _none()
        return whole, {path: why for _, damaged in parts for path, why in damaged.items()}

    def _query(
        self, paths: Sequence[Path], start: datetime | None, end: datetime | None, before: datetime | None
    ) -> pd.DataFrame:
        query = f"""
            SELECT parse_filename(filename, true) AS ticker, {", ".join(f'"{column}"' for column in COLUMNS)}
            FROM read_parquet($1, filename = true)
            WHERE ($2::TIMESTAMPTZ IS NULL OR "start" >= $2) AND ($3::TIMESTAMPTZ IS NULL OR "end" <= $3)
              AND ($4::TIMESTAMPTZ IS NULL OR "start" < $4)
            ORDER BY ticker, "start" """
        with self._held(paths) as held:
            found = (
                self._cursor().sql(query, params=[[str(path) for path in held], start, end, before]).to_arrow_table()
            )
        return typed(found.to_pandas())

    def groups(self, path: Path) -> tuple[list[datetime], int]:
        """Where each row group of a file but the first begins, and how many bars it has; no edges if that is unclear.

        DuckDB tells it: pyarrow ends the process over some damaged footers.
        """
        query = """
            SELECT stats_min_value, row_group_num_rows FROM parquet_metadata($1)
            WHERE path_in_schema = 'start' ORDER BY row_group_id"""
        if not os.path.lexists(path):
            return [], 0
        try:
            with self._held([path]) as held:
                found = self._cursor().sql(query, params=[str(held[0])]).fetchall()
            edges = [pd.to_datetime(first, utc=True).to_pydatetime() for first, _ in found]
            clear = all(one < other for one, other in pairwise(edges))
        except (*_damages(), OSError, ValueError, TypeError, OverflowError, AttributeError):
            self._connection = None
            return [], 0
        return (edges[1:] if clear else []), sum(rows for _, rows in found)

    @contextmanager
    def _held(self, paths: Sequence[Path]) -> Iterator[list[Path]]:
        """The files as they are now, under names that no writer replaces: DuckDB opens a file twice in one query.

        From the footer of one and the data of another it makes an error, or takes the process down.
        """
        try:
            folder = tempfile.TemporaryDirectory(prefix=".read-", dir=self._root)
        except OSError:  # nobody can write here
            yield list(paths)
            return
        with folder as here:
            yield [_alias(path, Path(here) / path.name) for path in paths]

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


def damaged(path: Path, why: str) -> DamagedBars:
    """The error for a file of bars that cannot be read."""
    remedy = f"restore it from a backup, or run: osiris prices import FILE, which moves it aside ({ASIDE})"
    return DamagedBars("a Parquet file of bars", f"{path}, {why}", remedy)


def move_aside(path: Path) -> Path:
    """Give a file of bars that cannot be read another name, which is returned."""
    names = (path.with_name(f"{path.name}{ASIDE}{number or ''}") for number in range(10_000))
    name = next(name for name in names if not os.path.lexists(name))
    path.rename(name)
    sync(path.parent)
    return name


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """One writer a file; raises `WorkspaceError` when its folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            yield
    except OSError as error:
        raise WorkspaceError(
            f"a folder for bars that can be written, {path.parent}", str(error), "free space, or change its rights"
        ) from error


def disputes_of(path: Path) -> list[Disagreement]:
    """What is in dispute about the bars at `path`."""
    noted = path if path.name.endswith(DISPUTES) else path.with_suffix(DISPUTES)
    if not noted.exists():
        return []
    try:
        rows = json.loads(noted.read_text(encoding="utf-8"))
        return [Disagreement(**row | {"start": datetime.fromisoformat(row["start"])}) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        remedy = "remove it once you have looked at it, and run: osiris prices update"
        raise WorkspaceError("a list of disputed bars", f"{error} in {noted}", remedy) from error


def note_disputes(path: Path, disputes: Sequence[Disagreement]) -> None:
    """Keep them beside the bars, one a bar and source."""
    noted = path.with_suffix(DISPUTES)
    if disputes:
        last = {(d.start, d.offered_source): d for d in disputes}
        rows = [asdict(d) | {"start": d.start.isoformat()} for _, d in sorted(last.items())]
        write_whole(noted, json.dumps(rows, indent=1))
    else:
        noted.unlink(missing_ok=True)


def absent_of(path: Path) -> dict[datetime, datetime]:
    """Open and close of the sessions of which a person said that they had no bars but those there are."""
    noted = path.with_suffix(ABSENT)
    found: dict[datetime, datetime] = {}
    if not noted.exists():
        return found
    try:
        for line in noted.read_bytes().split(b"\n")[:-1]:  # what a killed writer left unfinished is no line
            said = json.loads(line)
            start = datetime.fromisoformat(said["start"])
            found.pop(start, None)
            if said["absent"]:
                found[start] = datetime.fromisoformat(said["end"])
    except (ValueError, TypeError, KeyError) as error:
        remedy = "remove it once you have looked at it, and confirm those sessions again"
        raise WorkspaceError("a list of sessions without bars", f"{error} in {noted}", remedy) from error
    return found


def note_absent(path: Path, start: datetime, end: datetime, *, absent: bool = True) -> None:
    """Append that the session had no other bars, or that one came; flushed to disk."""
    noted = path.with_suffix(ABSENT)
    said = {"start": start.isoformat(), "end": end.isoformat(), "absent": absent}
    torn = noted.exists() and not noted.read_bytes().endswith(b"\n") and noted.stat().st_size
    with noted.open("ab") as file:
        file.truncate(noted.read_bytes().rfind(b"\n") + 1) if torn else None
        file.write(json.dumps(said).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync(noted.parent)


def _damages() -> tuple[type[Exception], ...]:
    import duckdb

    return (duckdb.Error,)


def no_bars() -> pd.DataFrame:
    """A frame without a bar, in the format of `osiris.market.calendars`."""
    return _none().drop(columns="ticker")


def _none() -> pd.DataFrame:
    numbers = dict.fromkeys(COLUMNS, 0.0) | dict.fromkeys(("start", "end"), pd.Timestamp(0, tz="UTC"))
    return typed(pd.DataFrame([{"ticker": "", **numbers}]).iloc[:0])


def _alias(path: Path, name: Path) -> Path:
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        shutil.copyfile(path, name)
    return name
