"""Bars on disk: one Parquet file a ticker and interval, queried through an in-memory DuckDB.

A stored bar is complete and never changes by itself (`osiris.bar_merge`). Where sources disagree, the disagreement is
kept beside the bars until they agree or a person speaks: `merge(replace=True)` overwrites, `confirm` keeps. The format
of the frames is that of `osiris.calendars`.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from osiris.bar_merge import CONFIRMED, SAME_PRICE, Disagreement, Merged, checked, combine, joined, typed
from osiris.calendars import COLUMNS, DAILY, MINUTES, session_day
from osiris.errors import NoPrices, NotFound, WorkspaceError
from osiris.files import sync, write_whole
from osiris.records import ticker_symbol

FOLDERS = {DAILY: "daily"}
DISPUTES = ".disputes.json"


@dataclass(frozen=True)
class Coverage:
    """What the store has of a ticker."""

    ticker: str
    bars: int
    first: datetime
    last: datetime
    splits: int
    sources: list[str]


class BarStore:
    """The Parquet files under `folder` (`data/bars`), a folder an interval; safe for several processes at once."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`; it is made on the first write."""
        self._root = Path(folder)
        self._connection = None

    def tickers(self, interval: str = DAILY) -> list[str]:
        """All tickers with bars of that interval, sorted."""
        return sorted(path.stem for path in self._folder(interval).glob("*.parquet"))

    def get(
        self, ticker: str, start: datetime | None = None, end: datetime | None = None, interval: str = DAILY
    ) -> pd.DataFrame:
        """Bars that began at or after `start` and were complete at or before `end`; may be empty.

        Raises `NoPrices` for a ticker the store has nothing of.
        """
        path = self._path(ticker, interval)
        if not path.exists():
            raise NoPrices(
                f"bars of {path.stem} in {path.parent}",
                "none",
                f"run: osiris prices import FILE, or: osiris prices update {path.stem}",
            )
        return self._read([path], start, end).drop(columns="ticker")

    def get_many(
        self,
        tickers: Iterable[str],
        start: datetime | None = None,
        end: datetime | None = None,
        interval: str = DAILY,
    ) -> dict[str, pd.DataFrame]:
        """`get` of several tickers in one query; a ticker without bars of that interval is absent."""
        paths = {path.stem: path for path in (self._path(t, interval) for t in tickers) if path.exists()}
        if not paths:
            return {}
        frame = self._read(list(paths.values()), start, end)
        names = frame.pop("ticker").to_numpy(dtype=object)
        edges = np.flatnonzero(np.r_[True, names[1:] != names[:-1], True]) if len(names) else []
        parts = {names[a]: frame.iloc[a:b].reset_index(drop=True) for a, b in pairwise(edges)}
        return {ticker: parts.get(ticker, frame.iloc[:0]) for ticker in paths}

    def coverage(self, ticker: str) -> Coverage:
        """How many bars of `ticker` there are, from when to when, from which sources."""
        frame = self.get(ticker)
        names = {name for sources in frame["source"].unique() for name in sources.split("+")}
        first, last = frame["start"].iloc[0].to_pydatetime(), frame["end"].iloc[-1].to_pydatetime()
        return Coverage(ticker, len(frame), first, last, int((frame["split"] != 1).sum()), sorted(names))

    def merge(
        self,
        ticker: str,
        frame: pd.DataFrame,
        tolerance: float = SAME_PRICE,
        *,
        replace: bool = False,
        interval: str = DAILY,
    ) -> Merged:
        """Add the bars of `frame` that are not stored yet; see `osiris.bar_merge` for those that are.

        Bars with NaN prices are dropped. Raises `BadInput` for another format or repeated starts, `WorkspaceError` when
        the folder cannot be written.
        """
        path = self._path(ticker, interval)
        offered = checked(frame)
        with _changing(path):
            stored = self._read([path]).drop(columns="ticker") if path.exists() else offered.iloc[:0]
            combined, merged = combine(stored, offered, tolerance, replace, interval)
            spoken = set(zip(offered["start"], offered["source"], strict=True))
            starts = set(offered["start"]) if replace else set()
            earlier = _disputes(path)
            standing = [d for d in earlier if d.start not in starts and (d.start, d.offered_source) not in spoken]
            _note_disputes(path, [*earlier, *merged.disagreements])  # before the bars, those that ended after them
            if not combined.equals(stored):
                _write(combined, path)
            _note_disputes(path, [*standing, *merged.disagreements])
        return Merged(merged.added, merged.changed, len(frame) - len(offered), merged.disagreements)

    def disputes(self, tickers: Iterable[str] | None = None) -> dict[str, list[Disagreement]]:
        """Bars on which sources disagree, by ticker (default: all), oldest first; those without are absent."""
        noted = sorted(self._root.glob(f"*/*{DISPUTES}"))
        names = sorted({path.name.removesuffix(DISPUTES) for path in noted})
        wanted = names if tickers is None else sorted(set(names) & set(tickers))
        found = {
            ticker: [d for path in noted if path.name == ticker + DISPUTES for d in _disputes(path)]
            for ticker in wanted
        }
        return {ticker: sorted(disputes, key=lambda d: d.start) for ticker, disputes in found.items() if disputes}

    def confirm(self, ticker: str, day: str, calendar: str) -> int:
        """Keep the stored bars of `ticker` on `day` for good, whatever other sources or jumps say.

        `day` (YYYY-MM-DD) is the exchange's own date of the session, as in the reasons why ideas stay open.

        Returns how many bars. Raises `NotFound` when there is none on that day.
        """
        kept = 0
        for interval in (DAILY, *MINUTES):
            path = self._path(ticker, interval)
            if not path.exists():
                continue
            with _changing(path):
                frame = self._read([path]).drop(columns="ticker")
                mine = [session_day(calendar, start) == day for start in frame["start"]]
                frame.loc[mine, "source"] = [joined(sources, CONFIRMED) for sources in frame.loc[mine, "source"]]
                if any(mine):
                    _write(frame, path)
                _note_disputes(path, [d for d in _disputes(path) if session_day(calendar, d.start) != day])
                kept += sum(mine)
        if not kept:
            raise NotFound(f"a day (YYYY-MM-DD) with bars of {ticker_symbol(ticker)}", day, "see: osiris prices show")
        return kept

    def _folder(self, interval: str) -> Path:
        return self._root / FOLDERS.get(interval, interval)

    def _path(self, ticker: str, interval: str) -> Path:
        return self._folder(interval) / f"{ticker_symbol(ticker)}.parquet"

    def _read(self, paths: Sequence[Path], start: datetime | None = None, end: datetime | None = None) -> pd.DataFrame:
        query = f"""
            SELECT parse_filename(filename, true) AS ticker, {", ".join(f'"{column}"' for column in COLUMNS)}
            FROM read_parquet($1, filename = true)
            WHERE ($2::TIMESTAMPTZ IS NULL OR "start" >= $2) AND ($3::TIMESTAMPTZ IS NULL OR "end" <= $3)
            ORDER BY ticker, "start" """
        with self._held(paths) as held:
            found = self._cursor().sql(query, params=[[str(path) for path in held], start, end]).to_arrow_table()
        return typed(found.to_pandas())

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

    def _cursor(self):
        if self._connection is None:
            import duckdb

            self._connection = duckdb.connect(":memory:")
            self._connection.execute("SET TimeZone = 'UTC'")
        return self._connection.cursor()


def _alias(path: Path, name: Path) -> Path:
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        shutil.copyfile(path, name)
    return name


@contextmanager
def _changing(path: Path) -> Iterator[None]:
    """One writer a file; raises `WorkspaceError` when its folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            yield
    except OSError as error:
        raise WorkspaceError(
            f"a folder for bars that can be written, {path.parent}", str(error), "free space, or change its rights"
        ) from error


def _disputes(path: Path) -> list[Disagreement]:
    noted = path if path.name.endswith(DISPUTES) else path.with_suffix(DISPUTES)
    if not noted.exists():
        return []
    try:
        rows = json.loads(noted.read_text(encoding="utf-8"))
        return [Disagreement(**row | {"start": datetime.fromisoformat(row["start"])}) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        remedy = "remove it once you have looked at it, and run: osiris prices update"
        raise WorkspaceError("a list of disputed bars", f"{error} in {noted}", remedy) from error


def _note_disputes(path: Path, disputes: Sequence[Disagreement]) -> None:
    """Keep them beside the bars, one a bar and source."""
    noted = path.with_suffix(DISPUTES)
    if disputes:
        last = {(d.start, d.offered_source): d for d in disputes}
        rows = [asdict(d) | {"start": d.start.isoformat()} for _, d in sorted(last.items())]
        write_whole(noted, json.dumps(rows, indent=1))
    else:
        noted.unlink(missing_ok=True)


def _write(frame: pd.DataFrame, path: Path) -> None:
    """Publish the whole file or nothing: written beside, flushed to disk, renamed."""
    unfinished = path.with_suffix(".tmp")
    frame.to_parquet(unfinished, index=False)
    sync(unfinished)
    unfinished.replace(path)
    sync(path.parent)
