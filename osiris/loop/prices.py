"""Prices for the loop: Yahoo first, the local store when Yahoo cannot be asked, one warning and not one a ticker."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from osiris.bar_frames import known_at
from osiris.bar_merge import CONFIRMED, Disagreement, Merged
from osiris.calendars import DAILY, MINUTE, MINUTES, calendar_of, session_edges, sessions_between
from osiris.errors import SourceUnavailable
from osiris.loop.timeline import NO_FINER, Timeline, timeline
from osiris.records import ticker_symbol
from osiris.settings import Settings
from osiris.store.bars import BarStore
from osiris.store.yahoo import LONGEST_REQUEST, REACH, SOURCE, NothingUsable, Yahoo

OVERLAP = timedelta(days=8)
"""Yahoo is asked for that much before the first missing daily bar, so that a changed price basis shows."""
FIRST_UPDATE = timedelta(days=3653)
PAUSE_SECONDS = 900.0
HOURLY = "60m"
FROM_YAHOO = rf"(?:^|\+)(?:{SOURCE}|{CONFIRMED})(?:\+|$)"
"""Sources of a bar that Yahoo need not be asked for."""


@dataclass
class UpdateReport:
    """What an update did: bars added by ticker, why a ticker got none, disagreements with stored bars by ticker."""

    added: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    disputed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class PriceDesk:
    """Where the loop gets its bars.

    `notes` says what a person should know, each thing once. Sessions the store has from Yahoo are not asked for again.
    After Yahoo could not be asked, it is left alone for `pause` seconds, or as long as it said.
    """

    def __init__(self, bars: BarStore, yahoo: Yahoo, settings: Settings, pause: float = PAUSE_SECONDS) -> None:
        """Serve from `bars`, filled from `yahoo` when `prices.source` says so."""
        self._store, self._yahoo, self._settings, self._pause = bars, yahoo, settings, pause
        self._quiet_until = 0.0
        self._asked: dict[tuple[str, str], tuple[pd.Timestamp, pd.Timestamp, float]] = {}
        self.notes: list[str] = []

    @property
    def disputed(self) -> dict[str, str]:
        """Ticker -> where its sources differ."""
        return {ticker: disputed(found) for ticker, found in self._store.disputes().items()}

    def bars(self, ticker: str, start: datetime, end: datetime, as_of: datetime) -> pd.DataFrame:
        """Daily bars that began at or after `start` and were complete at `end` and `as_of`; may be empty.

        Raises `NoPrices` when neither source has the ticker.
        """
        self._refresh([ticker], start, min(end, as_of))
        return known_at(self._store.get(ticker, start, end), as_of)

    def bars_many(
        self, tickers: Iterable[str], start: datetime, end: datetime, as_of: datetime, *, progress: bool = False
    ) -> dict[str, pd.DataFrame]:
        """`bars` of several tickers; one that neither source has is absent, and a note says so."""
        wanted = list(tickers)
        self._refresh(wanted, start, min(end, as_of), progress)
        found = self._store.get_many(wanted, start, min(end, as_of))
        for ticker in wanted:
            if ticker not in found:
                self._note(f"no bars of {ticker} from any source; run: osiris prices import FILE")
        return found

    def timelines(
        self, tickers: Iterable[str], start: datetime, as_of: datetime, *, progress: bool = False
    ) -> dict[str, Timeline]:
        """What ideas on `tickers` are judged on at `as_of`: hourly or finer bars where there are any, else daily ones.

        A ticker that neither source has is absent, and a note says so.
        """
        wanted = list(tickers)
        daily = self.bars_many(wanted, start, as_of, as_of, progress=progress)
        if self._settings.prices.intraday:
            self._refresh(wanted, start, as_of, progress, HOURLY)
        finer = self._finer(wanted, start, as_of)
        disputes = self._store.disputes(wanted)
        return {
            ticker: timeline(
                frame,
                calendar_of(ticker, self._settings.prices),
                start,
                as_of,
                finer=finer.get(ticker, NO_FINER),
                disputes=disputes.get(ticker, ()),
                tolerance=self._settings.outcomes.tolerance,
            )
            for ticker, frame in daily.items()
        }

    def refine(self, moments: Mapping[str, Sequence[datetime]], as_of: datetime) -> set[str]:
        """Ask Yahoo for the finest bars it has of the sessions at `moments`; returns the tickers that got any."""
        if not self._settings.prices.intraday:
            return set()
        return {ticker for ticker, times in moments.items() if any(self._refined(ticker, t, as_of) for t in times)}

    def update(self, tickers: Sequence[str], as_of: datetime, *, progress: bool = False) -> UpdateReport:
        """Fetch what the store lacks up to `as_of` (of a new ticker, ten years), whatever `prices.source` says."""
        report = UpdateReport()
        symbols = [ticker_symbol(ticker) for ticker in tickers]
        for ticker in tracked(symbols, "Updating", progress):
            try:
                report.added[ticker] = self._fetch(ticker, self._update_from(ticker, as_of), as_of, DAILY).added
            except SourceUnavailable as error:
                report.failed[ticker] = str(error)
                if not isinstance(error, NothingUsable):
                    report.failed |= {t: str(error) for t in symbols if t not in report.added}
                    break
        report.disputed = {t: reason for t, reason in self.disputed.items() if t in symbols}
        report.notes = list(self.notes)
        return report

    def _finer(self, tickers: Sequence[str], start: datetime, as_of: datetime) -> dict[str, dict[str, pd.DataFrame]]:
        """Stored bars shorter than a day, by ticker and interval, the longest first."""
        found: dict[str, dict[str, pd.DataFrame]] = {}
        for interval in MINUTES:
            there = set(self._store.tickers(interval)) & set(tickers)
            for ticker, frame in self._store.get_many(sorted(there), start, as_of, interval).items():
                found.setdefault(ticker, {})[interval] = frame
        return found

    def _update_from(self, ticker: str, as_of: datetime) -> datetime:
        known = ticker in self._store.tickers()
        return self._store.coverage(ticker).last - OVERLAP if known else as_of - FIRST_UPDATE

    def _refined(self, ticker: str, moment: datetime, as_of: datetime) -> bool:
        """Fetch the session of `moment` in the shortest bars that Yahoo still has; whether it had any."""
        opens, closes = session_edges(calendar_of(ticker, self._settings.prices))
        session = max(0, int(np.searchsorted(opens, pd.Timestamp(moment).value, side="right")) - 1)
        start, end = (pd.Timestamp(edge[session], tz="UTC").to_pydatetime() for edge in (opens, closes))
        interval = next((i for i in reversed(REACH) if start > datetime.now(UTC) - REACH[i]), HOURLY)
        have = interval == HOURLY or len(self._store.get_many([ticker], start, end, interval).get(ticker, ()))
        return not have and self._ask(ticker, start, min(end, as_of), interval)

    def _refresh(
        self, tickers: Sequence[str], start: datetime, end: datetime, progress: bool = False, interval: str = DAILY
    ) -> None:
        """Ask Yahoo for what the range has and the store has not from it, unless it is being left alone."""
        if interval != DAILY:
            start = max(start, datetime.now(UTC) - REACH[interval])
        if self._settings.prices.source != "yahoo" or start >= end:
            return
        for ticker in tracked(tickers, "Prices", progress):
            missing = self._missing(ticker, start, end, interval)
            if len(missing):
                back = OVERLAP if interval == DAILY else timedelta(days=1)  # `missing` are closes
                self._ask(ticker, max(start, missing[0].to_pydatetime() - back), end, interval, missing)

    def _ask(
        self, ticker: str, start: datetime, end: datetime, interval: str, missing: pd.DatetimeIndex | None = None
    ) -> bool:
        """Fetch and store; whether Yahoo gave anything. What it has just been asked for is not asked for again."""
        now = time.monotonic()
        first, last = (missing[0], missing[-1]) if missing is not None else (pd.Timestamp(start), pd.Timestamp(end))
        if now < self._quiet_until or self._was_asked((ticker, interval), first, last, now):
            return False
        try:
            merged = self._fetch(ticker, start, end, interval)
        except NothingUsable as error:
            self._note(str(error))
            merged = Merged()
        except SourceUnavailable as error:
            self._quiet_until = now + max(self._pause, error.retry_after or 0.0)
            self._note(f"Yahoo is unavailable, the local store is used: {error.came}")
            return False
        self._asked[ticker, interval] = (first, last, now + self._pause)
        return merged.added > 0

    def _fetch(self, ticker: str, start: datetime, end: datetime, interval: str) -> Merged:
        """Merge Yahoo's bars into the store, which takes down where the two differ."""
        calendar = calendar_of(ticker, self._settings.prices)
        if interval == DAILY:
            frame = self._yahoo.fetch(ticker, start, end, as_of=end, calendar=calendar)
        else:
            start = max(start, end - LONGEST_REQUEST.get(interval, end - start))
            splits = self._splits(ticker)
            frame = self._yahoo.fetch_intraday(ticker, start, end, interval, splits, calendar=calendar)
        if frame.empty:
            return Merged()
        return self._store.merge(ticker, frame, self._settings.outcomes.tolerance, interval=interval)

    def _splits(self, ticker: str) -> pd.Series:
        daily = self._store.get(ticker) if ticker in self._store.tickers() else pd.DataFrame({"split": [], "start": []})
        splits = daily[daily["split"] != 1]
        return pd.Series(splits["split"].to_numpy(np.float64), pd.DatetimeIndex(splits["start"], tz="UTC"))

    def _missing(self, ticker: str, start: datetime, end: datetime, interval: str) -> pd.DatetimeIndex:
        """Closes of the sessions between `start` and `end` that the store has not to their end from Yahoo."""
        calendar = calendar_of(ticker, self._settings.prices)
        sessions = sessions_between(calendar, start, end)
        if interval != DAILY:
            sessions = sessions.append(_under_way(calendar, end, MINUTES[interval]))
        stored = self._store.get_many([ticker], start, end, interval).get(ticker)
        if stored is None:
            return sessions
        return sessions.difference(pd.DatetimeIndex(stored["end"][stored["source"].str.contains(FROM_YAHOO)]))

    def _was_asked(self, what: tuple[str, str], first: pd.Timestamp, last: pd.Timestamp, now: float) -> bool:
        asked_first, asked_last, until = self._asked.get(what, (first, first, now))
        return now < until and asked_first <= first and last <= asked_last

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def disputed(found: Sequence[Disagreement]) -> str:
    """Disagreements on one line."""
    more = f" (and {len(found) - 1} more bars)" if len(found) > 1 else ""
    return f"sources differ on {min(found, key=lambda d: d.start)}{more}"


def tracked(items: Sequence, label: str, progress: bool) -> Iterable:
    """The items, with a progress bar on stderr if asked for."""
    return track(items, label, console=Console(stderr=True), transient=True) if progress else items


def _under_way(calendar: str, end: datetime, minutes: int) -> pd.DatetimeIndex:
    """End of the last bar complete at `end` in a session under way then; empty without one."""
    opens, closes = session_edges(calendar)
    now = pd.Timestamp(end).value
    session = int(np.searchsorted(opens, now, side="right")) - 1
    bars = (now - opens[session]) // (minutes * MINUTE) if session >= 0 and now < closes[session] else 0
    moments = [opens[session] + bars * minutes * MINUTE] if bars else []
    return pd.to_datetime(moments, utc=True).as_unit("us")
