"""Bars on disk: one Parquet file a ticker and interval, queried through an in-memory DuckDB.

A stored bar is complete and never changes by itself (`osiris.bar_merge`). Where sources disagree, the disagreement is
kept beside the bars until they agree or a person speaks: `merge(replace=True)` overwrites, `confirm` keeps. The format
of the frames is that of `osiris.calendars`.
"""

import json
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
from osiris.calendars import COLUMNS, DAILY
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
            combined, merged = combine(stored, offered, tolerance, replace)
            compared = set(offered["start"])
            earlier = [dispute for dispute in _disputes(path) if dispute.start not in compared]
            _note_disputes(path, [*earlier, *merged.disagreements])
            if not combined.equals(stored):
                _write(combined, path)
        return Merged(merged.added, merged.changed, len(frame) - len(offered), merged.disagreements)

    def disputes(self, tickers: Iterable[str] | None = None) -> dict[str, list[Disagreement]]:
        """Daily bars on which sources disagree, by ticker (default: all), oldest first; those without are absent."""
        noted = {path.name.removesuffix(DISPUTES) for path in self._folder(DAILY).glob(f"*{DISPUTES}")}
        wanted = sorted(noted if tickers is None else noted & set(tickers))
        return {ticker: found for ticker in wanted if (found := _disputes(self._path(ticker, DAILY)))}

    def confirm(self, ticker: str, day: str) -> int:
        """Keep the stored daily bar of `ticker` on `day` (YYYY-MM-DD) for good, whatever other sources say.

        Returns how many disputes that ended. Raises `NotFound` when there is none on that day.
        """
        path = self._path(ticker, DAILY)
        with _changing(path):
            disputes = _disputes(path)
            ended = {dispute.start for dispute in disputes if f"{dispute.start:%Y-%m-%d}" == day}
            if not ended:
                days = ", ".join(f"{dispute.start:%Y-%m-%d}" for dispute in disputes) or "none"
                raise NotFound(f"a day on which bars of {path.stem} are disputed ({days})", day, "name one of them")
            frame = self._read([path]).drop(columns="ticker")
            mine = frame["start"].isin(ended)
            frame.loc[mine, "source"] = [joined(sources, CONFIRMED) for sources in frame.loc[mine, "source"]]
            _write(frame, path)
            _note_disputes(path, [dispute for dispute in disputes if dispute.start not in ended])
        return len(ended)

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
        params = [[str(path) for path in paths], start, end]
        return typed(self._cursor().sql(query, params=params).to_arrow_table().to_pandas())

    def _cursor(self):
        if self._connection is None:
            import duckdb

            self._connection = duckdb.connect(":memory:")
            self._connection.execute("SET TimeZone = 'UTC'")
        return self._connection.cursor()


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
    noted = path.with_suffix(DISPUTES)
    if not noted.exists():
        return []
    rows = json.loads(noted.read_text(encoding="utf-8"))
    return [Disagreement(**row | {"start": datetime.fromisoformat(row["start"])}) for row in rows]


def _note_disputes(path: Path, disputes: Sequence[Disagreement]) -> None:
    """Keep them beside the bars, on disk before any bar of the same merge is."""
    noted = path.with_suffix(DISPUTES)
    if disputes:
        rows = [asdict(d) | {"start": d.start.isoformat()} for d in sorted(disputes, key=lambda d: d.start)]
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
