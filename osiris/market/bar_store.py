"""Bars on disk: one Parquet file per ticker and interval, queried through an in-memory DuckDB.

A stored bar is complete and never changes by itself (`osiris.market.reconcile`). A disagreement of sources is stored
next to the bars until they agree or a person decides: `merge(replace=True)` overwrites the stored bar, `confirm` keeps
it. The format of the frames is that of `osiris.market.calendars`.
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
from osiris.market.bar_disk import BarReader, damaged_file_error, empty_bars, lock_for_writing
from osiris.market.bar_rewrite import MergeRule, StoredFile, merge_file, rewrite_file
from osiris.market.calendars import BAR_MINUTES, DAILY, session_day, session_on
from osiris.market.disputes import DISPUTES_SUFFIX, append_absence, read_absences, read_disputes, write_disputes
from osiris.market.reconcile import CONFIRMED, SOURCE_TOLERANCE, Disagreement, MergeResult, join_sources

INTERVAL_FOLDERS = {DAILY: "daily"}


@dataclass(frozen=True)
class Coverage:
    """The daily bars of a ticker in the store: their number, the time they cover, their splits and sources."""

    ticker: str
    bars: int
    first: datetime
    last: datetime
    splits: int
    sources: list[str]


class BarStore:
    """The Parquet files under `folder` (`data/bars`), one folder per interval; safe for several processes at once."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made on the first write.

        `damaged_files` are the files that `get_many` could not read, each with the reason.
        """
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

        Raises `NoPrices` for a ticker without a file, and `DamagedBars` for a file that cannot be read.
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
        """`get` of several tickers in one query; a ticker without a file, or with a damaged one, is absent."""
        paths = {path.stem: path for path in (self._path(t, interval) for t in tickers) if os.path.lexists(path)}
        if not paths:
            return {}
        frame, bad = self._reader.read(list(paths.values()), start, end)
        requested = set(paths.values())
        self.damaged_files = {
            path: reason for path, reason in self.damaged_files.items() if path not in requested
        } | bad
        paths = {ticker: path for ticker, path in paths.items() if path not in bad}
        names = frame.pop("ticker").to_numpy(dtype=object)
        # The rows are sorted by ticker: an edge is where the name changes, and each end of the rows.
        edges: list[int] = np.flatnonzero(np.r_[True, names[1:] != names[:-1], True]).tolist() if len(names) else []
        parts = {names[a]: frame.iloc[a:b].reset_index(drop=True) for a, b in pairwise(edges)}
        return {ticker: parts.get(ticker, frame.iloc[:0]) for ticker in paths}

    def coverage(self, ticker: str) -> Coverage:
        """The number of bars of `ticker`, the time they cover and their sources; raises as `get`."""
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
        """Add the bars of `frame` that are not stored yet; `osiris.market.reconcile` has the rules for those that are.

        Bars with NaN prices are dropped. If a person said that a session had no bars, a bar that comes takes that back.
        Raises `BadInput` for another format or repeated starts, `WorkspaceError` if the folder cannot be written, and
        `DamagedBars` if the stored file cannot be read. With `repair`, that file is renamed instead.
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

        `pieces` makes the frames; it is called a second time if the stored file turns out to be damaged.
        """
        path = self._path(ticker, interval)
        with lock_for_writing(path):
            merged, added_spans = merge_file(
                lambda: self._stored(path), pieces, MergeRule(tolerance, replace, interval), repair=repair
            )
        # After the lock is free: `_withdraw_absences` locks the file of daily bars, which may be this one.
        if merged.added:
            self._withdraw_absences(ticker, added_spans, interval)
        return merged

    def read_pieces(self, ticker: str, interval: str = DAILY, since: datetime | None = None) -> Iterator[pd.DataFrame]:
        """All bars, one piece of the file after the other; with `since`, without the pieces that end before it."""
        path = self._path(ticker, interval)
        edges, _ = self._reader.read_row_groups(path)
        for low, high in pairwise([None, *edges, None]):
            if since is None or high is None or high >= since:
                yield self._read(path, low, high)

    def disputes(self, tickers: Iterable[str] | None = None) -> dict[str, list[Disagreement]]:
        """Bars on which sources disagree, by ticker (default: all), oldest first; other tickers are absent."""
        files = sorted(self._root.glob(f"*/*{DISPUTES_SUFFIX}"))
        names = sorted({path.name.removesuffix(DISPUTES_SUFFIX) for path in files})
        wanted = names if tickers is None else sorted(set(names) & set(tickers))
        found = {
            ticker: [d for path in files if path.name == ticker + DISPUTES_SUFFIX for d in read_disputes(path)]
            for ticker in wanted
        }
        return {ticker: sorted(disputes, key=lambda d: d.start) for ticker, disputes in found.items() if disputes}

    def absences(self, tickers: Iterable[str]) -> dict[str, list[datetime]]:
        """Opens of the sessions of which a person said that they had no other bars, by ticker."""
        found = {ticker: sorted(read_absences(self._path(ticker, DAILY))) for ticker in tickers}
        return {ticker: opens for ticker, opens in found.items() if opens}

    def confirm(self, ticker: str, day: str, calendar: str, as_of: datetime | None = None) -> int:
        """Keep the stored bars of `ticker` on `day` for good; without a daily bar, record that no others come.

        `day` (YYYY-MM-DD) is the exchange's own date of the session, as in the reasons why ideas stay open. Returns how
        many bars were kept. Raises `NotFound` for a ticker without any bars, and for a day without a session that is
        over at `as_of` (default: now).
        """
        kept: dict[str, int] = {}
        session = session_on(calendar, day)
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
        """Mark the bars of a day in one file as confirmed, and end their disputes; returns their number."""
        with lock_for_writing(path):
            frame = self._read(path)
            on_day = [session_day(calendar, start) == day for start in frame["start"]]
            frame.loc[on_day, "source"] = [join_sources(sources, CONFIRMED) for sources in frame.loc[on_day, "source"]]
            if any(on_day):
                with rewrite_file(path) as rewrite:
                    rewrite.add(frame)
                    rewrite.publish()
            write_disputes(path, [d for d in read_disputes(path) if session_day(calendar, d.start) != day])
        return sum(on_day)

    def _withdraw_absences(self, ticker: str, parts: list[pd.DataFrame], interval: str) -> None:
        """Take back that a session had no other bars, if the added bars show that it had.

        That is a daily bar, or a bar of a time that no bar of another length covers.
        """
        path = self._path(ticker, DAILY)
        absent = read_absences(path)
        if not absent:
            return
        added = pd.concat(parts)
        for start, end in absent.items():
            in_session = added[(added["start"] >= start) & (added["start"] < end)]
            if len(in_session) and (interval == DAILY or not self._is_covered(ticker, in_session, interval)):
                with lock_for_writing(path):
                    append_absence(path, start, end, absent=False)

    def _is_covered(self, ticker: str, added: pd.DataFrame, interval: str) -> bool:
        """Whether each added bar lies within a stored bar of another length, of those shorter than a session."""
        others = [self.get_many([ticker], interval=other).get(ticker) for other in BAR_MINUTES if other != interval]
        known = [bars for bars in others if bars is not None]
        return all(
            any(((bars["start"] <= start) & (bars["end"] >= end)).any() for bars in known)
            for start, end in zip(added["start"], added["end"], strict=True)
        )

    def _folder(self, interval: str) -> Path:
        return self._root / INTERVAL_FOLDERS.get(interval, interval)

    def _path(self, ticker: str, interval: str) -> Path:
        return self._folder(interval) / f"{parse_ticker(ticker)}.parquet"

    def _stored(self, path: Path) -> StoredFile:
        return StoredFile(path, partial(self._read, path), self._reader.read_row_groups(path))

    def _read(self, path: Path, start: datetime | None = None, before: datetime | None = None) -> pd.DataFrame:
        """The bars of one file, none if there is no file; raises `DamagedBars` for a file that cannot be read."""
        if not os.path.lexists(path):
            return empty_bars()
        frame, bad = self._reader.read([path], start, before=before)
        if bad:
            raise damaged_file_error(path, bad[path])
        return frame.drop(columns="ticker")
