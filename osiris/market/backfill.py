"""Fills the local store from Yahoo.

Each range is requested once. After Yahoo could not be reached there is a pause. Each warning is given once.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from osiris.config.settings import Settings
from osiris.core.errors import DamagedBars, SourceUnavailable
from osiris.market.bar_disk import empty_bars
from osiris.market.bar_jumps import describe_jumps
from osiris.market.bar_store import BarStore
from osiris.market.calendars import BAR_MINUTES, DAILY, MINUTE_NS, all_session_bounds, calendar_of, closes_between
from osiris.market.reconcile import CONFIRMED, USER_PROVIDED, MergeResult
from osiris.market.yahoo import (
    INTERVAL_HISTORY,
    MAX_REQUEST_SPAN,
    REPORTING_DELAY,
    YAHOO_SOURCE,
    NoBarsFound,
    NoUsableBars,
    YahooClient,
)

log = logging.getLogger(__name__)

REQUEST_OVERLAP = timedelta(days=8)
"""A request begins that long before the first missing daily bar, so that a changed price basis shows."""
RETRY_PAUSE_SECONDS = 900.0
HOURLY = "60m"
MAX_ANSWER_LAG = timedelta(days=7)
"""An answer counts as one up to now if its last session is at most that long ago, which allows for holidays."""
EMPTY_BARS = empty_bars()
FINAL_SOURCE_PATTERN = rf"(?:^|\+)(?:{YAHOO_SOURCE}|{CONFIRMED}|{USER_PROVIDED})(?:\+|$)"
"""Matches the sources of a bar that needs no request: it is from Yahoo, or a person confirmed or brought it."""
_Item = TypeVar("_Item")


class Backfill:
    """Fills `store` from `yahoo`; sessions that the store has from Yahoo are not requested again.

    If Yahoo could not be asked, it is not asked for `pause_seconds`, or as long as it demands if that is longer. A
    warning says so once a run, also in a run that begins during the pause of an earlier one.
    """

    def __init__(
        self, store: BarStore, yahoo: YahooClient, settings: Settings, pause_seconds: float = RETRY_PAUSE_SECONDS
    ) -> None:
        """Store the parts; nothing is requested before the first `refresh`."""
        self._store, self._yahoo, self._settings, self._pause_seconds = store, yahoo, settings, pause_seconds
        self._paused_until = 0.0
        self._pause_reason = ""
        self._unusable: dict[tuple[str, str], str] = {}
        self._requests: dict[tuple[str, str], tuple[pd.Timestamp, pd.Timestamp, float]] = {}
        self._mismatched: set[str] = set()

    def refresh(
        self, tickers: Sequence[str], start: datetime, end: datetime, progress: bool = False, interval: str = DAILY
    ) -> None:
        """Request the bars of the range that the store has not from Yahoo, unless requests are paused."""
        if interval != DAILY:
            start = max(start, datetime.now(UTC) - INTERVAL_HISTORY[interval])
        if self._settings.prices.source != "yahoo" or start >= end:
            return
        for ticker in track_progress(tickers, "Prices", progress):
            missing = self._missing_closes(ticker, start, end, interval)
            if len(missing):
                # `missing` are closes: a day before one lies before the open of its session.
                back = REQUEST_OVERLAP if interval == DAILY else timedelta(days=1)
                self._request(ticker, max(start, missing[0].to_pydatetime() - back), end, interval, missing)

    def fetch_finest(
        self, moments: Mapping[str, Sequence[datetime]], as_of: datetime
    ) -> tuple[set[str], set[tuple[str, datetime]]]:
        """Request the finest bars that Yahoo has of the sessions at `moments`, by ticker.

        Returns the tickers that got any, and each (ticker, moment) for which Yahoo could not be asked.
        """
        if not self._settings.prices.intraday or self._settings.prices.source != "yahoo":
            return set(), set()
        answers = {
            (ticker, t): self._fetch_session(ticker, t, as_of) for ticker, times in moments.items() for t in times
        }
        unanswered = {key for key, new in answers.items() if new is None}
        return {ticker for (ticker, _), new in answers.items() if new}, unanswered

    def fetch(self, ticker: str, start: datetime, end: datetime, interval: str) -> MergeResult:
        """Merge Yahoo's bars into the store, which records where the two differ; prices that jump are a warning.

        Raises `SourceUnavailable`; its subclass `NoUsableBars` is about this ticker alone.
        """
        calendar = calendar_of(ticker, self._settings.prices)
        if interval == DAILY:
            frame = self._yahoo.fetch_daily(ticker, start, end, as_of=end, calendar=calendar)
        else:
            start = max(start, end - MAX_REQUEST_SPAN.get(interval, end - start))
            frame = self._yahoo.fetch_intraday(ticker, start, end, interval, calendar=calendar)
        if frame.empty:
            return MergeResult()
        merged = self._store.merge(ticker, frame, self._settings.outcomes.tolerance, interval=interval)
        if merged.added:
            for text in describe_stored_jumps(self._store, ticker, calendar, interval, frame["start"].iloc[0]):
                log.warning("%s: osiris prices confirm settles it, or import --replace with the right prices", text)
        return merged

    def has_answered(self, ticker: str, as_of: datetime) -> bool:
        """Whether Yahoo answered, in this process, a request for the daily bars of `ticker` up to `as_of`."""
        request = self._requests.get((ticker, DAILY))
        if request is None:
            return False
        _, last, valid_until = request
        return (
            ticker not in self._mismatched
            and time.monotonic() < valid_until
            and last >= pd.Timestamp(as_of) - MAX_ANSWER_LAG
        )

    def _fetch_session(self, ticker: str, moment: datetime, as_of: datetime) -> bool | None:
        """Fetch the session of `moment` in the shortest bars that Yahoo still has; returns as `_request`."""
        opens, closes = all_session_bounds(calendar_of(ticker, self._settings.prices))
        session = max(0, int(np.searchsorted(opens, pd.Timestamp(moment).value, side="right")) - 1)
        start, end = (pd.Timestamp(edge[session], tz="UTC").to_pydatetime() for edge in (opens, closes))
        interval = next(
            (i for i in reversed(INTERVAL_HISTORY) if start > datetime.now(UTC) - INTERVAL_HISTORY[i]), HOURLY
        )
        stored = self._store.get_many([ticker], start, end, interval).get(ticker, EMPTY_BARS)
        have = interval == HOURLY or (stored["end"] >= _last_end(end, as_of, BAR_MINUTES[interval])).any()
        return False if have else self._request(ticker, start, min(end, as_of), interval)

    def _request(
        self, ticker: str, start: datetime, end: datetime, interval: str, missing: pd.DatetimeIndex | None = None
    ) -> bool | None:
        """Fetch and store bars; returns whether Yahoo gave new ones, and `None` if it could not be asked.

        A range that was requested in the last `pause_seconds` is not requested again.
        """
        now = time.monotonic()
        first, last = (missing[0], missing[-1]) if missing is not None else (pd.Timestamp(start), pd.Timestamp(end))
        if self._was_requested((ticker, interval), first, last, now):
            self._warn_again(self._unusable.get((ticker, interval)))
            return False
        if now < self._paused_until:
            self._warn_again(self._pause_reason)
            return None
        self._unusable.pop((ticker, interval), None)
        try:
            merged = self.fetch(ticker, start, end, interval)
        except NoUsableBars as error:
            self._unusable[ticker, interval] = str(error)
            log.warning(str(error))
            merged = MergeResult()
            if not isinstance(error, NoBarsFound):
                self._mismatched.add(ticker)
        except DamagedBars as error:
            log.warning(str(error))
            return False
        except SourceUnavailable as error:
            self._paused_until = now + max(self._pause_seconds, error.retry_after or 0.0)
            self._pause_reason = f"Yahoo is unavailable, the local store is used: {error.actual}"
            log.warning(self._pause_reason)
            return None
        self._requests[ticker, interval] = (first, last, now + self._pause_seconds)
        return merged.added > 0

    def _warn_again(self, text: str | None) -> None:
        if text:
            log.warning(text)

    def _missing_closes(self, ticker: str, start: datetime, end: datetime, interval: str) -> pd.DatetimeIndex:
        """Closes of the sessions between `start` and `end` of which the store has no final bar up to the close."""
        calendar = calendar_of(ticker, self._settings.prices)
        closes = closes_between(calendar, start, end)
        if interval != DAILY:
            closes = pd.DatetimeIndex(closes.append(_open_session_end(calendar, end, BAR_MINUTES[interval])))
        stored = self._store.get_many([ticker], start, end, interval).get(ticker)
        if stored is None:
            return closes
        return closes.difference(pd.DatetimeIndex(stored["end"][stored["source"].str.contains(FINAL_SOURCE_PATTERN)]))

    def _was_requested(self, key: tuple[str, str], first: pd.Timestamp, last: pd.Timestamp, now: float) -> bool:
        """Whether a request for (ticker, interval) that covers the range is still valid."""
        if key not in self._requests:
            return False
        requested_first, requested_last, valid_until = self._requests[key]
        return now < valid_until and requested_first <= first and last <= requested_last


def describe_stored_jumps(
    store: BarStore, ticker: str, calendar: str, interval: str = DAILY, since: pd.Timestamp | None = None
) -> list[str]:
    """`describe_jumps` of the bars in the store that began at or after `since`, one piece in memory after the other."""
    texts: list[str] = []
    before: list[pd.DataFrame] = []
    begin = since
    for piece in store.read_pieces(ticker, interval, since):
        if piece.empty:
            continue
        if before:  # the piece before is there for the usual moves; its own jumps are in the texts already
            first = piece["start"].iloc[0]
            begin = first if since is None else max(first, since)
        texts += describe_jumps(ticker, pd.concat([*before, piece], ignore_index=True), calendar, begin)
        before = [piece]
    return texts


def track_progress(items: Sequence[_Item], label: str, progress: bool) -> Iterable[_Item]:
    """The items, with a progress bar on stderr if `progress` says so."""
    return track(items, label, console=Console(stderr=True), transient=True) if progress else items


def _last_end(close: datetime, as_of: datetime, minutes: int) -> pd.Timestamp:
    """A bar that ends here or later is the last final one of a session, or of its part before `as_of`."""
    return pd.Timestamp(min(close, as_of, datetime.now(UTC) - REPORTING_DELAY)) - pd.Timedelta(minutes=minutes)


def _open_session_end(calendar: str, end: datetime, minutes: int) -> pd.DatetimeIndex:
    """End of the last bar that is complete at `end` in a session under way at `end`; empty without such a session."""
    opens, closes = all_session_bounds(calendar)
    now = pd.Timestamp(end).value
    session = int(np.searchsorted(opens, now, side="right")) - 1
    bars = (now - opens[session]) // (minutes * MINUTE_NS) if session >= 0 and now < closes[session] else 0
    moments = [opens[session] + bars * minutes * MINUTE_NS] if bars else []
    return pd.to_datetime(moments, utc=True).as_unit("us")
