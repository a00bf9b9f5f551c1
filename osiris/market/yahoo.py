"""Yahoo's bars through yfinance, daily and shorter: raw prices with recorded splits, complete bars only.

Covers: Yahoo's split adjustment, which is undone; NaN bars; unfinished bars; 429 and 401; an absent network; timeouts;
empty and broken answers. Does not cover: splits that Yahoo itself never recorded. They show as a disagreement with the
local store or in `osiris.market.bar_jumps.find_jumps`. No answer is ever taken for a delisting.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.core.errors import SourceUnavailable
from osiris.market.calendars import DAILY, PRICE_COLUMNS, daily_frame, intraday_frame, non_session_dates, timezone_of

YAHOO_SOURCE = "yahoo"
REQUEST_NUMBERS = count(1)
ROUNDING_TOLERANCE = 1e-3
"""Yahoo rounds each price by itself: a high below the close by less than this, relatively, is corrected."""
INTERVAL_HISTORY = {"60m": timedelta(days=729), "5m": timedelta(days=59), "1m": timedelta(days=29)}
"""How far back from now Yahoo has bars of these lengths, the longest first."""
MAX_REQUEST_SPAN = {"1m": timedelta(days=7)}
"""The longest range of one request, for the lengths that have a limit."""
SPLIT_CACHE_SECONDS = 900.0
REPORTING_DELAY = timedelta(minutes=30)
"""A bar is final so long after its end: its last trades are reported late, and some exchanges report with a delay."""


class NoUsableBars(SourceUnavailable):
    """Yahoo answered without usable bars of this ticker; that means nothing for other tickers, and no delisting."""


class NoBarsFound(NoUsableBars):
    """Yahoo knows no bars of this ticker in that range."""


class _YahooSession(Protocol):
    """The parts of the session for yfinance that `YahooClient` reads; `_session` makes it."""

    status: int
    retry_after: float | None


class YahooClient:
    """Asks Yahoo, or a server at `base_url` in place of all its hosts; `timeout` is in seconds per request."""

    def __init__(self, base_url: str = "", timeout: float = 10.0) -> None:
        """Store the address; nothing is asked and yfinance is not imported before the first `fetch_daily`."""
        self._base_url, self._timeout = base_url, timeout
        self._session: _YahooSession | None = None
        self._known_splits: dict[str, tuple[float, datetime, pd.Series | None]] = {}

    def fetch_daily(
        self, ticker: str, start: datetime, end: datetime, *, as_of: datetime, calendar: str = "XNYS"
    ) -> pd.DataFrame:
        """Bars that began at or after `start` and were complete at `end` and `as_of`, in the format of `calendars`.

        One request, which always reaches to the present: the splits after `end` are needed to undo Yahoo's adjustment.
        The frame is empty if Yahoo has bars but none of the range. Raises `SourceUnavailable` if Yahoo cannot be asked;
        do not ask for the other tickers of a batch then. Raises its subclass `NoUsableBars` if Yahoo answered.
        """
        answer = self._history(ticker, start, None, calendar, DAILY)
        zone = timezone_of(calendar)
        self._known_splits[ticker] = (time.monotonic(), start, self._split_dates(answer))
        times = _bar_times(answer)
        midnight = times.tz_convert(zone)
        if not calendar.startswith("24/") and (midnight != midnight.normalize()).any():
            raise NoUsableBars(
                f"bars of {ticker} in days of {calendar} ({zone})",
                f"days of {times.tz}",
                f"name the exchange of {ticker} under [prices.calendars]",
            )
        frame = _undo_adjustment(answer, calendar)
        inside = (frame["start"] >= pd.Timestamp(start)) & (
            frame["end"] <= pd.Timestamp(min(end, as_of, _final_until()))
        )
        return frame[inside].reset_index(drop=True)

    def fetch_intraday(
        self, ticker: str, start: datetime, end: datetime, interval: str, *, calendar: str = "XNYS"
    ) -> pd.DataFrame:
        """Bars of `interval` (a key of `INTERVAL_HISTORY`) that began at or after `start` and were complete at `end`.

        Yahoo's adjustment is undone by the splits of its daily answer, which is a second request. That answer reaches
        to the present, so it has the splits that a short range lacks, today's too. Raises as `fetch_daily`.
        """
        splits = self._splits(ticker, start, calendar)
        answer = self._history(ticker, start, end, calendar, interval)
        values = answer.rename(columns=str.lower)
        days = _bar_times(values).tz_convert(timezone_of(calendar)).tz_localize(None).normalize()
        # Of each bar, the product of the splits after its day, shape (n,): Yahoo divided the price by it.
        later = np.array([splits[splits.index > day].prod() for day in days.unique()])[days.factorize()[0]]
        values[list(PRICE_COLUMNS)] = values[list(PRICE_COLUMNS)].mul(later, axis=0)
        values["volume"] = values["volume"] / later
        values["split"] = splits.reindex(days).fillna(1.0).where(~days.duplicated(), 1.0).to_numpy()
        values, good = _fix_rounding(values)
        frame = intraday_frame(_bar_times(values)[good], values[good], calendar, interval, YAHOO_SOURCE)
        inside = (frame["start"] >= pd.Timestamp(start)) & (frame["end"] <= pd.Timestamp(min(end, _final_until())))
        return frame[inside & ~frame["start"].duplicated()].reset_index(drop=True)

    def _splits(self, ticker: str, start: datetime, calendar: str) -> pd.Series:
        """Split ratios by date (naive), from before `start` to now; asked for once in `SPLIT_CACHE_SECONDS`."""
        requested_at, first, splits = self._known_splits.get(ticker, (0.0, start, None))
        if splits is None or first > start or time.monotonic() - requested_at > SPLIT_CACHE_SECONDS:
            first = start - timedelta(days=7)
            splits = self._split_dates(self._history(ticker, first, None, calendar, DAILY))
            self._known_splits[ticker] = (time.monotonic(), first, splits)
        return splits

    def _split_dates(self, daily: pd.DataFrame) -> pd.Series:
        splits = daily["Stock Splits"].replace(0, 1).fillna(1).astype(float)
        splits.index = _bar_times(daily).tz_localize(None).normalize().as_unit("ns")
        return splits[splits != 1].groupby(level=0).prod()

    def _history(
        self, ticker: str, start: datetime, end: datetime | None, calendar: str, interval: str
    ) -> pd.DataFrame:
        """Yahoo's answer from yfinance: split-adjusted, daily bars at the exchange's midnight, sorted, never empty."""
        import yfinance
        from yfinance.exceptions import YFException, YFRateLimitError, YFTickerMissingError

        yfinance.config.debug.hide_exceptions = False
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # it raises an exception for what it would log
        session = self._session = self._session or _session(self._base_url, self._timeout)
        request = yfinance.Ticker(ticker, session=session)
        request._tz = timezone_of(calendar)  # saves the request by which yfinance would ask for it
        first = pd.Timestamp(start).tz_convert(request._tz)
        # yfinance caches the answer to a request with the same arguments: the timeout makes each request different.
        try:
            answer = request.history(
                start=first.date() if interval == DAILY else first, end=end, interval=interval,
                auto_adjust=False, back_adjust=False, repair=False, actions=True,
                timeout=self._timeout + next(REQUEST_NUMBERS) * 1e-6,
            )  # fmt: skip
        except YFRateLimitError as error:
            raise _unavailable(
                "HTTP 429, too many requests", "wait before asking again", session.retry_after
            ) from error
        except YFTickerMissingError as error:
            if session.status not in (200, 404):
                raise _unavailable(f"HTTP {session.status}", "try again later") from error
            raise _no_bars_found(ticker, "no data for this symbol and range") from error
        except (YFException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            actual = f"{type(error).__name__}: {str(error).split('. See http')[0]}"
            raise _unavailable(actual, "check the network, or try again later") from error
        if answer.empty:
            raise _no_bars_found(ticker, "an empty table")
        bars: pd.DataFrame = answer.sort_index()
        return bars


def _bar_times(answer: pd.DataFrame) -> pd.DatetimeIndex:
    """The index of an answer; yfinance has no type annotations, so mypy does not know that it consists of times."""
    return cast("pd.DatetimeIndex", answer.index)


def _undo_adjustment(answer: pd.DataFrame, calendar: str) -> pd.DataFrame:
    """Undo the split adjustment: a price of bar t was multiplied by cum_t / cum_last, its volume divided by it.

    Bars that are NaN, inconsistent or on no session of `calendar` are left out. A split on one of them moves to the
    next bar that is kept.
    """
    values = answer.rename(columns=str.lower)
    cumulative = values["stock splits"].replace(0, 1).fillna(1).to_numpy(np.float64).cumprod()
    since = cumulative[-1] / cumulative
    values[list(PRICE_COLUMNS)] = values[list(PRICE_COLUMNS)].mul(since, axis=0)
    values["volume"] = values["volume"] / since
    values, good = _fix_rounding(values)
    dates = _bar_times(values).tz_localize(None).normalize()
    kept = good & ~dates.isin(non_session_dates(calendar, dates))
    values = values[kept]
    # The ratio of two kept bars' cumulative splits. It is rounded because exp(log 3) is 3.0000000000000004.
    values["split"] = np.diff(np.log(cumulative[kept]), prepend=0.0)
    values["split"] = np.exp(values["split"]).round(9)
    return daily_frame(dates[kept], values, calendar, YAHOO_SOURCE)


def _final_until() -> datetime:
    """The moment up to which Yahoo's bars are final."""
    return datetime.now(UTC) - REPORTING_DELAY


def _fix_rounding(values: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The bars with corrected highs and lows, and the mask of the usable ones, shape (n,).

    A bar is usable if its prices are finite and positive and the correction is less than `ROUNDING_TOLERANCE`.
    """
    prices = values[list(PRICE_COLUMNS)]
    top, bottom = prices.max(axis=1), prices.min(axis=1)
    good = (bottom > 0) & np.isfinite(prices.to_numpy()).all(axis=1)
    good &= (top / prices["high"] - 1 < ROUNDING_TOLERANCE) & (1 - bottom / prices["low"] < ROUNDING_TOLERANCE)
    return values.assign(high=top, low=bottom), good.to_numpy()


def _session(base_url: str, timeout: float) -> _YahooSession:
    """A session for yfinance that keeps to `timeout`, remembers the last status and can ask another server."""
    from curl_cffi.requests import Session

    class _Redirected(Session[Any]):
        status: int = 0
        retry_after: float | None = None

        # yfinance passes all options by name; the 35 options of curl_cffi are not repeated here.
        def request(self, method: Any, url: str, **options: Any) -> Any:  # type: ignore[override]
            self.status = 0
            self.retry_after = None
            options["timeout"] = min(options.get("timeout") or timeout, timeout)
            if base_url:
                url = urlunsplit(urlsplit(base_url)[:2] + urlsplit(url)[2:])
            response = super().request(method, url, **options)
            self.status = response.status_code
            self.retry_after = _retry_seconds(response.headers.get("Retry-After"))
            return response

    return _Redirected(impersonate="chrome")


def _retry_seconds(retry_after: str | None) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110: seconds or a date); `None` without a valid one."""
    if retry_after is None or retry_after.isdigit():
        return float(retry_after) if retry_after else None
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _unavailable(actual: str, remedy: str, retry_after: float | None = None) -> SourceUnavailable:
    error = SourceUnavailable("an answer from Yahoo", actual, f"{remedy}; imported bars are used meanwhile")
    error.retry_after = retry_after
    return error


def _no_bars_found(ticker: str, actual: str) -> NoBarsFound:
    return NoBarsFound(f"bars of {ticker} from Yahoo", actual, "check the symbol, or import bars from a file")
