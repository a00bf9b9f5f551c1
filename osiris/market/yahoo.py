"""Yahoo's bars through yfinance, daily and shorter: raw prices with recorded splits, complete bars only.

Covers: split adjustment undone, NaN bars, unfinished bars, 429, 401, an absent network, timeouts, empty and broken
answers. Does not cover: splits that Yahoo itself never recorded (they show as a disagreement with the local store or
in `osiris.market.bar_jumps.find_jumps`). No answer is ever taken for a delisting.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.core.errors import SourceUnavailable
from osiris.market.calendars import DAILY, PRICE_COLUMNS, daily_frame, intraday_frame, non_session_dates, timezone_of

YAHOO_SOURCE = "yahoo"
REQUEST_NUMBERS = count(1)
ROUNDING_TOLERANCE = 1e-3
"""Yahoo rounds each price by itself: a high below the close by less than this, relatively, is set right."""


INTERVAL_HISTORY = {"60m": timedelta(days=729), "5m": timedelta(days=59), "1m": timedelta(days=29)}
"""How far back, from its present, Yahoo has bars of these lengths, the longest first."""
MAX_REQUEST_SPAN = {"1m": timedelta(days=7)}
SPLIT_CACHE_SECONDS = 900.0
REPORTING_DELAY = timedelta(minutes=30)
"""A bar is taken only so long after its end: its last trades are reported late, and some exchanges delayed."""


class NoUsableBars(SourceUnavailable):
    """Yahoo answered, but without usable bars of this ticker; says nothing about other tickers, nor of a delisting."""


class NoBarsFound(NoUsableBars):
    """Yahoo knows no bars of this ticker in that range."""


class YahooClient:
    """Asks Yahoo, or a server at `base_url` that speaks for all of its hosts; `timeout` in seconds a request."""

    def __init__(self, base_url: str = "", timeout: float = 10.0) -> None:
        """Remember where to ask; nothing is asked and yfinance is not imported before the first `fetch`."""
        self._base_url, self._timeout, self._session = base_url, timeout, None
        self._known_splits: dict[str, tuple[float, datetime, pd.Series | None]] = {}

    def fetch_daily(
        self, ticker: str, start: datetime, end: datetime, *, as_of: datetime, calendar: str = "XNYS"
    ) -> pd.DataFrame:
        """Bars that began at or after `start` and were complete at `end` and `as_of`, in the format of `calendars`.

        One request; it always reaches to the present, because the splits since are needed to undo Yahoo's adjustment.
        May be empty when Yahoo has bars but none of the range. Raises `SourceUnavailable` when Yahoo cannot be asked
        (stop asking for the whole batch) and its subclass `NothingUsable` when it can.
        """
        answer, zone = self._history(ticker, start, None, calendar, DAILY), timezone_of(calendar)
        self._known_splits[ticker] = (time.monotonic(), start, self._split_dates(answer))
        midnight = answer.index.tz_convert(zone)
        if not calendar.startswith("24/") and (midnight != midnight.normalize()).any():
            raise NoUsableBars(
                f"bars of {ticker} in days of {calendar} ({zone})",
                f"days of {answer.index.tz}",
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
        """Bars of `interval` (a key of `REACH`) that began at or after `start` and were complete at `end`.

        Yahoo's adjustment is undone by the splits of its own daily answer, which reaches to the present and so has
        those that a short range does not tell, today's too; that is a second request. Raises as `fetch`.
        """
        splits = self._splits(ticker, start, calendar)
        answer = self._history(ticker, start, end, calendar, interval)
        values = answer.rename(columns=str.lower)
        days = values.index.tz_convert(timezone_of(calendar)).tz_localize(None).normalize()
        later = np.array([splits[splits.index > day].prod() for day in days.unique()])[days.factorize()[0]]
        values[list(PRICE_COLUMNS)] = values[list(PRICE_COLUMNS)].mul(later, axis=0)
        values["volume"] = values["volume"] / later
        values["split"] = splits.reindex(days).fillna(1.0).where(~days.duplicated(), 1.0).to_numpy()
        values, good = _fix_rounding(values)
        frame = intraday_frame(values.index[good], values[good], calendar, interval, YAHOO_SOURCE)
        inside = (frame["start"] >= pd.Timestamp(start)) & (frame["end"] <= pd.Timestamp(min(end, _final_until())))
        return frame[inside & ~frame["start"].duplicated()].reset_index(drop=True)

    def _splits(self, ticker: str, start: datetime, calendar: str) -> pd.Series:
        """Split ratios by date (naive), from before `start` to the present; asked for once in a quarter of an hour."""
        requested_at, first, splits = self._known_splits.get(ticker, (0.0, start, None))
        if splits is None or first > start or time.monotonic() - requested_at > SPLIT_CACHE_SECONDS:
            first = start - timedelta(days=7)
            splits = self._split_dates(self._history(ticker, first, None, calendar, DAILY))
            self._known_splits[ticker] = (time.monotonic(), first, splits)
        return splits

    def _split_dates(self, daily: pd.DataFrame) -> pd.Series:
        splits = daily["Stock Splits"].replace(0, 1).fillna(1).astype(float)
        splits.index = splits.index.tz_localize(None).normalize().as_unit("ns")
        return splits[splits != 1].groupby(level=0).prod()

    def _history(
        self, ticker: str, start: datetime, end: datetime | None, calendar: str, interval: str
    ) -> pd.DataFrame:
        """Yahoo's answer as yfinance gives it: split-adjusted, daily bars at exchange midnight, sorted, never empty."""
        import yfinance
        from yfinance.exceptions import YFException, YFRateLimitError, YFTickerMissingError

        yfinance.config.debug.hide_exceptions = False
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # whatever it would log comes back as an exception
        self._session = self._session or _session(self._base_url, self._timeout)
        request = yfinance.Ticker(ticker, session=self._session)
        request._tz = timezone_of(calendar)  # known, so one request less; yfinance would ask for it
        first = pd.Timestamp(start).tz_convert(request._tz)
        try:
            answer = request.history(
                start=first.date() if interval == DAILY else first, end=end, interval=interval,
                auto_adjust=False, back_adjust=False, repair=False, actions=True,
                timeout=self._timeout + next(REQUEST_NUMBERS) * 1e-6,  # yfinance keeps the answers to a question asked before
            )  # fmt: skip
        except YFRateLimitError as error:
            raise _unavailable(
                "HTTP 429, too many requests", "wait before asking again", self._session.retry_after
            ) from error
        except YFTickerMissingError as error:
            if self._session.status not in (200, 404):
                raise _unavailable(f"HTTP {self._session.status}", "try again later") from error
            raise _no_bars_found(ticker, "no data for this symbol and range") from error
        except (YFException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            came = f"{type(error).__name__}: {str(error).split('. See http')[0]}"
            raise _unavailable(came, "check the network, or try again later") from error
        if answer.empty:
            raise _no_bars_found(ticker, "an empty table")
        return answer.sort_index()


def _undo_adjustment(answer: pd.DataFrame, calendar: str) -> pd.DataFrame:
    """Undo the split adjustment: a price of bar t was multiplied by cum_t / cum_last, its volume divided by it.

    Bars that are NaN, inconsistent or on no session of `calendar` are left out; a split on one of them moves to the
    next bar that is kept.
    """
    values = answer.rename(columns=str.lower)
    cumulative = values["stock splits"].replace(0, 1).fillna(1).to_numpy(np.float64).cumprod()
    since = cumulative[-1] / cumulative
    values[list(PRICE_COLUMNS)] = values[list(PRICE_COLUMNS)].mul(since, axis=0)
    values["volume"] = values["volume"] / since
    values, good = _fix_rounding(values)
    dates = values.index.tz_localize(None).normalize()
    kept = good & ~dates.isin(non_session_dates(calendar, dates))
    values = values[kept]
    values["split"] = np.diff(np.log(cumulative[kept]), prepend=0.0)
    values["split"] = np.exp(values["split"]).round(9)
    return daily_frame(dates[kept], values, calendar, YAHOO_SOURCE)


def _final_until() -> datetime:
    """Until when Yahoo's bars are taken for final."""
    return datetime.now(UTC) - REPORTING_DELAY


def _fix_rounding(values: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """The bars with highs and lows set right where they are off by no more than `NOISE`, and which are usable."""
    prices = values[list(PRICE_COLUMNS)]
    top, bottom = prices.max(axis=1), prices.min(axis=1)
    good = np.isfinite(prices).all(axis=1) & (bottom > 0)
    good &= (top / prices["high"] - 1 < ROUNDING_TOLERANCE) & (1 - bottom / prices["low"] < ROUNDING_TOLERANCE)
    return values.assign(high=top, low=bottom), good.to_numpy()


def _session(base_url: str, timeout: float):
    """A session for yfinance that keeps to `timeout`, remembers the last status and can ask another server."""
    from curl_cffi.requests import Session

    class _Redirected(Session):
        status, retry_after = 0, None

        def request(self, method: str, url: str, **options):
            self.status, self.retry_after = 0, None
            options["timeout"] = min(options.get("timeout") or timeout, timeout)
            if base_url:
                url = urlunsplit(urlsplit(base_url)[:2] + urlsplit(url)[2:])
            response = super().request(method, url, **options)
            self.status = response.status_code
            self.retry_after = _retry_seconds(response.headers.get("Retry-After"))
            return response

    return _Redirected(impersonate="chrome")


def _retry_seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header asks for (RFC 9110: seconds or a date); `None` for none or nonsense."""
    if retry_after is None or retry_after.isdigit():
        return float(retry_after) if retry_after else None
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _unavailable(came: str, remedy: str, retry_after: float | None = None) -> SourceUnavailable:
    error = SourceUnavailable("an answer from Yahoo", came, f"{remedy}; imported bars are used meanwhile")
    error.retry_after = retry_after
    return error


def _no_bars_found(ticker: str, came: str) -> NoBarsFound:
    return NoBarsFound(f"bars of {ticker} from Yahoo", came, "check the symbol, or import bars from a file")
