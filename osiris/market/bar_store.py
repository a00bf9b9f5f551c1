"""Bars on disk: one Parquet file a ticker and interval, queried through an in-memory DuckDB.

A stored bar is complete and never changes by itself (`osiris.market.reconcile`). Where sources disagree, the
disagreement is kept beside the bars until they agree or a person speaks: `merge(replace=True)` overwrites, `confirm`
keeps. The format of the frames is that of `osiris.market.calendars`.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from osiris.core.errors import NoPrices, NotFound
from osiris.core.ideas import parse_ticker
from osiris.market.bar_disk import (
    DISPUTES_SUFFIX,
    BarReader,
    append_absence,
    damaged_file_error,
    empty_bars,
    lock_for_writing,
    read_absences,
    read_disputes,
    write_disputes,
)
from osiris.market.bar_rewrite import MergeRule, StoredFile, merge_file, rewrite_file
from osiris.market.calendars import BAR_MINUTES, DAILY, session_day, session_on
from osiris.market.reconcile import CONFIRMED, SOURCE_TOLERANCE, Disagreement, MergeResult, join_sources

INTERVAL_FOLDERS = {DAILY: "daily"}


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
        """Use `folder`; it is made on the first write. `damaged_files` are files that `get_many` could not read, and why."""
        self._root = Path(folder)
        self._reader = BarReader(self._root)
        self.damaged_files: dict[Path, str] = {}

    def tickers(self, interval: str = DAILY) -> list[str]:
        """All tickers with bars of that interval, sorted."""
        return sorted(path.stem for path in self._folder(interval).glob("*.parquet"))

    def get(
        self, ticker: str, start: datetime | None = None, end: datetime | None = None, interval: str = DAILY
    ) -> pd.DataFrame:
        """Bars that began at or after `start` and were complete at or before `end`; may be empty.

        Raises `NoPrices` for a ticker the store has nothing of, `DamagedBars` for a file that cannot be read.
        """
        path = self._path(ticker, interval)
        if not os.path.lexists(path):
            raise NoPrices(
                f"bars of {path.stem} in {path.parent}",
                "none",
                f"run: osiris prices import FILE, or: osiris prices update {path.stem}",
            )
        frame, bad = self._reader.read([path], start, end)
        if bad:
            raise damaged_file_error(path, bad[path])
        return frame.drop(columns="ticker")

    def get_many(
        self,
        tickers: Iterable[str],
        start: datetime | None = None,
        end: datetime | None = None,
        interval: str = DAILY,
    ) -> dict[str, pd.DataFrame]:
        """`get` of several tickers in one query; one without bars of that interval, or `damaged_files`, is absent."""
        paths = {path.stem: path for path in (self._path(t, interval) for t in tickers) if os.path.lexists(path)}
        if not paths:
            return {}
        frame, bad = self._reader.read(list(paths.values()), start, end)
        self.damaged_files = {path: why for path, why in self.damaged_files.items() if path not in paths.values()} | bad
        paths = {ticker: path for ticker, path in paths.items() if path not in bad}
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
        tolerance: float = SOURCE_TOLERANCE,
        *,
        replace: bool = False,
        interval: str = DAILY,
        repair: bool = False,
    ) -> MergeResult:
        """Add the bars of `frame` that are not stored yet; see `osiris.market.reconcile` for those that are.

        Bars with NaN prices are dropped. A session of which a person said that it had no bars has them once they come.
        Raises `BadInput` for another format or repeated starts, `WorkspaceError` when the folder cannot be written,
        `DamagedBars` when the stored file cannot be read, unless `repair`, which moves that aside.
        """
        return self.merge_pieces(ticker, lambda: [frame], tolerance, replace=replace, interval=interval, repair=repair)

    def merge_pieces(
        self,
        ticker: str,
        pieces: Callable[[], Iterable[pd.DataFrame]],
        tolerance: float = SOURCE_TOLERANCE,
        *,
        replace: bool = False,
        interval: str = DAILY,
        repair: bool = False,
    ) -> MergeResult:
        """`merge` of frames that follow one another in time, of which one at a time is in memory.

        `pieces` makes them, a second time where the stored file turns out to be damaged.
        """
        path = self._path(ticker, interval)
        with lock_for_writing(path):
            merged, came = merge_file(
                lambda: self._stored(path), pieces, MergeRule(tolerance, replace, interval), repair=repair
            )
        if merged.added:
            self._withdraw_absences(ticker, came, interval)
        return merged

    def read_pieces(self, ticker: str, interval: str = DAILY, since: datetime | None = None) -> Iterator[pd.DataFrame]:
        """All bars, one piece of the file after the other; with `since` from a bar before that moment on."""
        path = self._path(ticker, interval)
        edges, _ = self._reader.read_row_groups(path)
        for low, high in pairwise([None, *edges, None]):
            if since is None or high is None or high >= since:
                yield self._read(path, low, high)

    def disputes(self, tickers: Iterable[str] | None = None) -> dict[str, list[Disagreement]]:
        """Bars on which sources disagree, by ticker (default: all), oldest first; those without are absent."""
        files = sorted(self._root.glob(f"*/*{DISPUTES_SUFFIX}"))
        names = sorted({path.name.removesuffix(DISPUTES_SUFFIX) for path in files})
        wanted = names if tickers is None else sorted(set(names) & set(tickers))
        found = {
            ticker: [d for path in files if path.name == ticker + DISPUTES_SUFFIX for d in read_disputes(path)]
            for ticker in wanted
        }
        return {ticker: sorted(disputes, key=lambda d: d.start) for ticker, disputes in found.items() if disputes}

    def absences(self, tickers: Iterable[str]) -> dict[str, list[datetime]]:
        """Opens of the sessions of which a person said that they had no bars but those there are, by ticker."""
        found = {ticker: sorted(read_absences(self._path(ticker, DAILY))) for ticker in tickers}
        return {ticker: opens for ticker, opens in found.items() if opens}

    def confirm(self, ticker: str, day: str, calendar: str, as_of: datetime | None = None) -> int:
        """Keep the stored bars of `ticker` on `day` for good; where there is no daily bar, say that no others come.

        `day` (YYYY-MM-DD) is the exchange's own date of the session, as in the reasons why ideas stay open. Returns how
        many bars were kept. Raises `NotFound` for a ticker without any bars, and for a day without a session that is
        over at `as_of` (default: now).
        """
        kept, session = {}, session_on(calendar, day)
        if session and session[1] > (as_of or datetime.now(UTC)):
            raise NotFound(f"a session of {parse_ticker(ticker)} that is over", day, "wait for its end")
        for interval in (DAILY, *BAR_MINUTES):
            path = self._path(ticker, interval)
            if os.path.lexists(path):
                kept[interval] = self._confirm(path, day, calendar)
        if not kept or (session is None and not any(kept.values())):
            raise NotFound(f"a day (YYYY-MM-DD) with a session, and any bars of {parse_ticker(ticker)}", day,
                           "see: osiris prices show")  # fmt: skip
        if session and not kept.get(DAILY):
            path = self._path(ticker, DAILY)
            with lock_for_writing(path):
                if session[0] not in read_absences(path):
                    append_absence(path, *session)
        return sum(kept.values())

    def _confirm(self, path: Path, day: str, calendar: str) -> int:
        with lock_for_writing(path):
            frame = self._read(path)
            mine = [session_day(calendar, start) == day for start in frame["start"]]
            frame.loc[mine, "source"] = [join_sources(sources, CONFIRMED) for sources in frame.loc[mine, "source"]]
            if any(mine):
                with rewrite_file(path) as rewrite:
                    rewrite.add(frame)
                    rewrite.publish()
            write_disputes(path, [d for d in read_disputes(path) if session_day(calendar, d.start) != day])
        return sum(mine)

    def _withdraw_absences(self, ticker: str, parts: list[pd.DataFrame], interval: str) -> None:
        """Take back that a session had no other bars: a daily one came, or one of a time that no other bar covers."""
        path = self._path(ticker, DAILY)
        absent = read_absences(path)
        added = pd.concat(parts) if absent else None
        for start, end in absent.items():
            came = added[(added["start"] >= start) & (added["start"] < end)]
            if len(came) and (interval == DAILY or not self._is_covered(ticker, came, interval)):
                with lock_for_writing(path):
                    append_absence(path, start, end, absent=False)

    def _is_covered(self, ticker: str, came: pd.DataFrame, interval: str) -> bool:
        others = [self.get_many([ticker], interval=other).get(ticker) for other in BAR_MINUTES if other != interval]
        known = [bars for bars in others if bars is not None]
        return all(
            any(((bars["start"] <= bar.start) & (bars["end"] >= bar.end)).any() for bars in known)
            for bar in came.itertuples()
        )

    def _folder(self, interval: str) -> Path:
        return self._root / INTERVAL_FOLDERS.get(interval, interval)

    def _path(self, ticker: str, interval: str) -> Path:
        return self._folder(interval) / f"{parse_ticker(ticker)}.parquet"

    def _stored(self, path: Path) -> StoredFile:
        return StoredFile(path, partial(self._read, path), self._reader.read_row_groups(path))

    def _read(self, path: Path, start: datetime | None = None, before: datetime | None = None) -> pd.DataFrame:
        """The bars of one file, none where there is no file; raises `DamagedBars` for one that cannot be read."""
        if not os.path.lexists(path):
            return empty_bars()
        frame, bad = self._reader.read([path], start, before=before)
        if bad:
            raise damaged_file_error(path, bad[path])
        return frame.drop(columns="ticker")
