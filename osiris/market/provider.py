"""Prices for the learning loop: from Yahoo, or from the local store when Yahoo cannot be asked.

One warning then covers all tickers.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd

from osiris.config.settings import Settings
from osiris.core.errors import DamagedBars, SourceUnavailable
from osiris.core.ideas import parse_ticker
from osiris.core.run_log import collect_warnings
from osiris.market.backfill import EMPTY_BARS, HOURLY, REQUEST_OVERLAP, RETRY_PAUSE_SECONDS, Backfill, track_progress
from osiris.market.bar_disk import damaged_file_error
from osiris.market.bar_store import BarStore
from osiris.market.calendars import BAR_MINUTES, DAILY, calendar_of
from osiris.market.reconcile import Disagreement
from osiris.market.timeline import Timeline, TimelineSources, build_timeline
from osiris.market.yahoo import NoUsableBars, YahooClient

log = logging.getLogger(__name__)

NEW_TICKER_HISTORY = timedelta(days=3653)
"""Ten years, with the leap days."""


@dataclass
class UpdateReport:
    """The result of an update, by ticker: bars added, the reason for none, disagreements with stored bars."""

    added: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    disputed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class BarProvider:
    """Gives the learning loop its bars, and warns of what is missing or damaged."""

    def __init__(
        self, store: BarStore, yahoo: YahooClient, settings: Settings, pause_seconds: float = RETRY_PAUSE_SECONDS
    ) -> None:
        """Serve from `store`, which is filled from `yahoo` if `prices.source` is "yahoo"."""
        self._store, self._settings = store, settings
        self._backfill = Backfill(store, yahoo, settings, pause_seconds)
        self.fetch_finest = self._backfill.fetch_finest

    @property
    def disputes(self) -> dict[str, str]:
        """By ticker, a text that says where its sources differ."""
        prices = self._settings.prices
        return {t: describe_disputes(found, calendar_of(t, prices)) for t, found in self._store.disputes().items()}

    def get_bars(self, ticker: str, start: datetime, end: datetime, as_of: datetime) -> pd.DataFrame:
        """Daily bars that began at or after `start` and were complete at `end` and `as_of`; may be empty.

        Raises `NoPrices` when neither source has the ticker.
        """
        known = min(end, as_of)
        self._backfill.refresh([ticker], start, known)
        return self._store.get(ticker, start, known)

    def get_many_bars(
        self, tickers: Iterable[str], start: datetime, end: datetime, as_of: datetime, *, progress: bool = False
    ) -> dict[str, pd.DataFrame]:
        """`get_bars` of several tickers; a ticker that neither source has is absent, with a warning."""
        wanted, known = list(tickers), min(end, as_of)
        self._backfill.refresh(wanted, start, known, progress)
        found = self._store.get_many(wanted, start, known)
        self._warn_of_absent(set(wanted) - set(found) - self._warn_of_damaged())
        return found

    def get_timelines(
        self, tickers: Iterable[str], start: datetime, as_of: datetime, *, progress: bool = False
    ) -> dict[str, Timeline]:
        """The bars that ideas on `tickers` are judged on at `as_of`: hourly or finer ones if there are any, else daily.

        A ticker that neither source has is absent, with a warning.
        """
        wanted = list(tickers)
        self._backfill.refresh(wanted, start, as_of, progress)
        if self._settings.prices.intraday:
            self._backfill.refresh(wanted, start, as_of, progress, HOURLY)
        # Disputes are read before the bars, because a person who ends one writes the bars first: bars of before would
        # otherwise count as undisputed.
        disputes = self._store.disputes(wanted)
        daily = self._store.get_many(wanted, start, as_of)
        finer = self._read_finer(wanted, start, as_of)
        unreadable = self._warn_of_damaged()
        absent = self._store.absences(wanted)
        found = [t for t in wanted if (t in daily or t in finer) and t not in unreadable]
        self._warn_of_absent(set(wanted) - set(found) - unreadable)
        timelines = {}
        for ticker in found:
            sources = TimelineSources(
                daily.get(ticker, EMPTY_BARS),
                finer.get(ticker, {}),
                disputes.get(ticker, ()),
                absent.get(ticker, ()),
                self._backfill.has_answered(ticker, as_of),
            )
            calendar = calendar_of(ticker, self._settings.prices)
            timelines[ticker] = build_timeline(sources, calendar, start, as_of, self._settings.outcomes.tolerance)
        return timelines

    def update(self, tickers: Sequence[str], as_of: datetime, *, progress: bool = False) -> UpdateReport:
        """Fetch the bars after the stored ones up to `as_of`, for a new ticker those of ten years.

        This asks Yahoo even if `prices.source` is "local".
        """
        report = UpdateReport()
        symbols = [parse_ticker(ticker) for ticker in tickers]
        with collect_warnings() as report.notes:
            for ticker in track_progress(symbols, "Updating", progress):
                try:
                    start = self._update_start(ticker, as_of)
                    report.added[ticker] = self._backfill.fetch(ticker, start, as_of, DAILY).added
                except DamagedBars as error:
                    report.failed[ticker] = str(error)
                except SourceUnavailable as error:
                    report.failed[ticker] = str(error)
                    if not isinstance(error, NoUsableBars):
                        report.failed |= {t: str(error) for t in symbols if t not in report.added}
                        break
        report.disputed = {t: reason for t, reason in self.disputes.items() if t in symbols}
        return report

    def _read_finer(
        self, tickers: Sequence[str], start: datetime, as_of: datetime
    ) -> dict[str, dict[str, pd.DataFrame]]:
        """Stored bars shorter than a day, by ticker and interval, the longest first."""
        finer: dict[str, dict[str, pd.DataFrame]] = {}
        for interval in BAR_MINUTES:
            stored = set(self._store.tickers(interval)) & set(tickers)
            for ticker, frame in self._store.get_many(sorted(stored), start, as_of, interval).items():
                finer.setdefault(ticker, {})[interval] = frame
        return finer

    def _update_start(self, ticker: str, as_of: datetime) -> datetime:
        known = ticker in self._store.tickers()
        return self._store.coverage(ticker).last - REQUEST_OVERLAP if known else as_of - NEW_TICKER_HISTORY

    def _warn_of_damaged(self) -> set[str]:
        """The tickers of files that cannot be read; a warning names each file."""
        for path, reason in sorted(self._store.damaged_files.items()):
            log.warning(str(damaged_file_error(path, reason)))
        return {path.stem for path in self._store.damaged_files}

    def _warn_of_absent(self, tickers: set[str]) -> None:
        for ticker in sorted(tickers):
            log.warning("no bars of %s from any source; run: osiris prices import FILE", ticker)


def describe_disputes(found: Sequence[Disagreement], calendar: str) -> str:
    """The first disagreement, and how many bars more have one, on one line."""
    more = f" (and {len(found) - 1} more bars)" if len(found) > 1 else ""
    return f"sources differ on {min(found, key=lambda d: d.start).describe(calendar)}{more}"
