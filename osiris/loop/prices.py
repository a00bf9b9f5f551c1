"""Prices for the loop: Yahoo first, the local store when Yahoo cannot be asked, one warning and not one a ticker."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import track

from osiris.calendars import calendar_of, sessions_between
from osiris.errors import NoPrices, SourceUnavailable
from osiris.records import ticker_symbol
from osiris.settings import Settings
from osiris.store.bar_files import bar_files, read_bars
from osiris.store.bars import BarStore, Disagreement, Merged, known_at, suspicious_jumps
from osiris.store.yahoo import SOURCE, NothingUsable, Yahoo

OVERLAP = timedelta(days=8)
"""Yahoo is asked for that much before the first missing bar, so that a changed price basis shows."""
FIRST_UPDATE = timedelta(days=3653)
PAUSE_SECONDS = 900.0
FROM_YAHOO = rf"(?:^|\+){SOURCE}(?:\+|$)"


@dataclass
class UpdateReport:
    """What an update did: bars added by ticker, why a ticker got none, disagreements with stored bars by ticker."""

    added: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    disputed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class ImportReport:
    """What an import did: files and rows read, bars added or changed, what differs from stored bars, likely splits."""

    files: int = 0
    rows: int = 0
    tickers: list[str] = field(default_factory=list)
    added: int = 0
    changed: int = 0
    disputed: dict[str, str] = field(default_factory=dict)
    suspicious: list[str] = field(default_factory=list)


class PriceDesk:
    """Where the loop gets its bars.

    `notes` says what a person should know, each thing once; `disputed` names the tickers on whose bars Yahoo and the
    local store differ by more than `outcomes.tolerance`, with the first such bar. Sessions the store has from Yahoo are
    not asked for again. After Yahoo could not be asked, it is left alone for `pause` seconds.
    """

    def __init__(self, bars: BarStore, yahoo: Yahoo, settings: Settings, pause: float = PAUSE_SECONDS) -> None:
        """Serve from `bars`, filled from `yahoo` when `prices.source` says so."""
        self._store, self._yahoo, self._settings, self._pause = bars, yahoo, settings, pause
        self._quiet_until = 0.0
        self._asked: dict[str, tuple[pd.Timestamp, pd.Timestamp, float]] = {}
        self._disputes: dict[str, dict[datetime, Disagreement]] = {}
        self.notes: list[str] = []

    @property
    def disputed(self) -> dict[str, str]:
        """Ticker -> where its sources differ."""
        return {ticker: _summary(list(found.values())) for ticker, found in sorted(self._disputes.items()) if found}

    def bars(self, ticker: str, start: datetime, end: datetime, as_of: datetime) -> pd.DataFrame:
        """Bars that began at or after `start` and were complete at `end` and `as_of`; format of `osiris.calendars`.

        May be empty. Raises `NoPrices` when neither source has the ticker.
        """
        if self._settings.prices.source == "yahoo":
            self._refresh(ticker, start, min(end, as_of))
        return known_at(self._store.get(ticker, start, end), as_of)

    def bars_many(
        self, tickers: Iterable[str], start: datetime, end: datetime, as_of: datetime, *, progress: bool = False
    ) -> dict[str, pd.DataFrame]:
        """`bars` of several tickers; one that neither source has is absent, and a note says so."""
        found = {}
        for ticker in _tracked(list(tickers), "Prices", progress):
            try:
                found[ticker] = self.bars(ticker, start, end, as_of)
            except NoPrices as error:
                self._note(str(error))
        return found

    def update(self, tickers: Sequence[str], as_of: datetime, *, progress: bool = False) -> UpdateReport:
        """Fetch what the store lacks up to `as_of` (of a new ticker, ten years), whatever `prices.source` says."""
        report = UpdateReport()
        symbols = [ticker_symbol(ticker) for ticker in tickers]
        for ticker in _tracked(symbols, "Updating", progress):
            try:
                report.added[ticker] = self._fetch(ticker, self._update_from(ticker, as_of), as_of).added
            except SourceUnavailable as error:
                report.failed[ticker] = str(error)
                if not isinstance(error, NothingUsable):
                    report.failed |= {t: str(error) for t in symbols if t not in report.added}
                    break
        report.disputed = {t: reason for t, reason in self.disputed.items() if t in symbols}
        report.notes = list(self.notes)
        return report

    def import_file(
        self, path: Path, as_of: datetime, *, replace: bool = False, progress: bool = False
    ) -> ImportReport:
        """Import a CSV or Parquet file or a folder of them; nothing is written before every row of all is found good.

        A stored bar that differs is kept and reported, unless `replace`. Raises as `store.bar_files`.
        """
        files = bar_files(Path(path))
        read = [
            item
            for file in _tracked(files, "Reading", progress)
            for item in read_bars(file, self._settings.prices, as_of).items()
        ]
        report = ImportReport(files=len(files), tickers=sorted({ticker for ticker, _ in read}))
        for ticker, frame in _tracked(read, "Storing", progress):
            merged = self._store.merge(ticker, frame, self._settings.outcomes.tolerance, replace=replace)
            report.rows += len(frame)
            report.added += merged.added
            report.changed += merged.changed
            if merged.disagreements:
                report.disputed[ticker] = _summary(merged.disagreements)
        for ticker in report.tickers:
            jumps = suspicious_jumps(self._store.get(ticker))
            report.suspicious += [
                f"{ticker} {jump.start:%Y-%m-%d}: close changes by {jump.ratio:.3g} to 1 without a recorded split"
                for jump in jumps.itertuples()
            ]
        return report

    def _update_from(self, ticker: str, as_of: datetime) -> datetime:
        known = ticker in self._store.tickers()
        return self._store.coverage(ticker).last - OVERLAP if known else as_of - FIRST_UPDATE

    def _refresh(self, ticker: str, start: datetime, end: datetime) -> None:
        """Ask Yahoo for the sessions of the range that the store has not from it, unless it is being left alone."""
        missing = self._missing(ticker, start, end)
        now = time.monotonic()
        if not len(missing) or now < self._quiet_until or self._was_asked(ticker, missing, now):
            return
        try:
            self._fetch(ticker, max(start, missing[0].to_pydatetime() - OVERLAP), end)
            self._asked[ticker] = (missing[0], missing[-1], now + self._pause)
        except NothingUsable as error:
            self._asked[ticker] = (missing[0], missing[-1], now + self._pause)
            self._note(str(error))
        except SourceUnavailable as error:
            self._quiet_until = now + self._pause
            self._note(f"Yahoo is unavailable, the local store is used: {error.came}")

    def _fetch(self, ticker: str, start: datetime, end: datetime) -> Merged:
        """Merge Yahoo's bars into the store and take down where the two differ."""
        calendar = calendar_of(ticker, self._settings.prices)
        frame = self._yahoo.fetch(ticker, start, end, as_of=end, calendar=calendar)
        if frame.empty:
            return Merged()
        merged = self._store.merge(ticker, frame, self._settings.outcomes.tolerance)
        first, last = frame["start"].iloc[0], frame["start"].iloc[-1]
        earlier = self._disputes.get(ticker, {})
        outside = {moment: found for moment, found in earlier.items() if not first <= moment <= last}
        self._disputes[ticker] = outside | {found.start: found for found in merged.disagreements}
        return merged

    def _missing(self, ticker: str, start: datetime, end: datetime) -> pd.DatetimeIndex:
        """Closes of the sessions between `start` and `end` that the store has no bar of from Yahoo."""
        sessions = sessions_between(calendar_of(ticker, self._settings.prices), start, end)
        if ticker not in self._store.tickers():
            return sessions
        stored = self._store.get(ticker, start, end)
        return sessions.difference(pd.DatetimeIndex(stored["end"][stored["source"].str.contains(FROM_YAHOO)]))

    def _was_asked(self, ticker: str, missing: pd.DatetimeIndex, now: float) -> bool:
        first, last, until = self._asked.get(ticker, (missing[0], missing[0], now))
        return now < until and first <= missing[0] and missing[-1] <= last

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _summary(found: Sequence[Disagreement]) -> str:
    more = f" (and {len(found) - 1} more bars)" if len(found) > 1 else ""
    return f"sources differ on {min(found, key=lambda d: d.start)}{more}"


def _tracked(items: list, label: str, progress: bool) -> Iterable:
    """The items, with a progress bar on stderr if asked for."""
    return track(items, label, console=Console(stderr=True), transient=True) if progress else items
