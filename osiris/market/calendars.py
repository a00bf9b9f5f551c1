"""Exchange calendars: the moments at which bars begin and are complete, on half days and at clock changes too.

Everywhere in Osiris, the bars of a ticker are a DataFrame with the columns `FRAME_COLUMNS`, sorted by `start`:

- `start`, `end`: aware UTC datetime64; for a daily bar the session's open and close.
- `open`, `high`, `low`, `close`: raw prices in the instrument's currency.
- `volume`: in shares.
- `split`: the ratio that takes effect at this bar's open (2.0 for 2:1 on the ex-date, else 1.0).
- `source`: a name.
"""

import re
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.core.errors import BadInput, SettingsError

if TYPE_CHECKING:
    from osiris.config.sections import PricesSettings

FRAME_COLUMNS = ("start", "end", "open", "high", "low", "close", "volume", "split", "source")
PRICE_COLUMNS = ("open", "high", "low", "close")
FIRST_YEAR = 1990
DAILY = "1d"
MINUTE_NS = 60_000_000_000
BAR_MINUTES = {"60m": 60, "30m": 30, "15m": 15, "5m": 5, "2m": 2, "1m": 1}
"""Lengths of the bars shorter than a session, by their names, the longest first."""
TRADING_PAUSES = {
    "CMES": ("America/Chicago", 16, 17, range(5)),
    "us_futures": ("America/New_York", 17, 18, range(5)),
    "24/5": ("America/New_York", 17, 24, [4]),
}
"""By calendar: a time zone, and the hours there (from, to) in which nothing trades, on these weekdays (0: Monday).

A weekday is that of the session's date.
"""
CRYPTO_PATTERN = re.compile(r"-(USD|EUR|GBP|USDT|USDC|BTC)$")
CURRENCY_PATTERN = re.compile(r"=X$")


def calendar_of(ticker: str, prices: "PricesSettings") -> str:
    """Name of a ticker's calendar: from the settings, else 24/7 for coins, 24/5 for currencies, else the default."""
    if ticker in prices.calendars:
        return prices.calendars[ticker]
    if CRYPTO_PATTERN.search(ticker):
        return "24/7"
    return "24/5" if CURRENCY_PATTERN.search(ticker) else prices.calendar


def session_bounds(calendar: str, dates: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Open and close of the sessions on `dates` (naive, midnight), both shape (n,), aware UTC, microseconds.

    Raises `BadInput` with the first date that is no session, and `SettingsError` for an unknown calendar.
    """
    dates = pd.DatetimeIndex(dates).as_unit("ns")
    closed = non_session_dates(calendar, dates)
    if len(closed):
        raise BadInput(
            f"sessions of {calendar}",
            f"{describe_non_session(calendar, closed[0])}"
            + (f" ({len(closed)} such dates)" if len(closed) > 1 else ""),
            "correct the dates, or name the ticker's calendar under [prices.calendars]",
        )
    loaded = _load(calendar)
    opens, closes = (pd.DatetimeIndex(bound.reindex(dates)).as_unit("us") for bound in (loaded.opens, loaded.closes))
    return opens, closes


def non_session_dates(calendar: str, dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Those of `dates` (naive, midnight) on which `calendar` has no session, in their order."""
    dates = pd.DatetimeIndex(dates)
    return dates[~dates.isin(_load(calendar).sessions)]


def describe_non_session(calendar: str, date: pd.Timestamp) -> str:
    """The reason why `date` (naive, midnight) is no session: `calendar` does not cover it, or has none."""
    first, last = _load(calendar).first_session, _load(calendar).last_session
    if date < first:
        return f"{date:%Y-%m-%d} is before {first:%Y-%m-%d}, where the calendar {calendar} begins; it is not covered"
    if date > last:
        return f"{date:%Y-%m-%d} is after {last:%Y-%m-%d}, where the calendar {calendar} ends; it is not covered yet"
    return f"{date:%Y-%m-%d} is no session of {calendar}"


def closes_between(calendar: str, start: datetime, end: datetime) -> pd.DatetimeIndex:
    """Closes (aware UTC) of all sessions that opened at or after `start` and closed at or before `end`."""
    loaded = _load(calendar)
    opens, closes = pd.DatetimeIndex(loaded.opens), pd.DatetimeIndex(loaded.closes)
    return closes[(opens >= pd.Timestamp(start)) & (closes <= pd.Timestamp(end))].as_unit("us")


def all_session_bounds(calendar: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Opens and closes of all sessions known, each shape (n,), ascending int64 nanoseconds UTC."""
    return _edges(calendar)


def day_bounds(calendar: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The begin of each session's day, and the session's close, both shape (n,), ascending int64 nanoseconds UTC.

    A day begins at midnight of the exchange, or at the open of a session that opens on the evening before. It never
    begins before the close of the session before it.
    """
    opens, closes = _edges(calendar)
    loaded = _load(calendar)
    midnights = loaded.sessions.tz_localize(loaded.tz, ambiguous=True, nonexistent="shift_forward").as_unit("ns").asi8
    begins = np.minimum(opens, midnights)
    begins[1:] = np.maximum(begins[1:], closes[:-1])
    return begins, closes


def session_dates(calendar: str) -> pd.DatetimeIndex:
    """Dates of all sessions known (naive, midnight), shape (n,), in the order of `all_session_bounds`."""
    return pd.DatetimeIndex(_load(calendar).sessions)


def lunch_break_ends(calendar: str) -> NDArray[np.int64]:
    """Ends of the lunch breaks of all sessions known, shape (n,), int64 nanoseconds UTC; NaT's integer for none."""
    return pd.DatetimeIndex(_load(calendar).break_ends).as_unit("ns").asi8


@cache
def session_pauses(calendar: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begin and end of the pause in each session, both shape (n,), int64 nanoseconds UTC; the close twice for none.

    A pause is a lunch break, or a time that the calendar counts as open although nothing trades (`TRADING_PAUSES`).
    """
    loaded = _load(calendar)
    _, closes = _edges(calendar)
    starts, ends = (
        np.where(pd.isna(edge), closes, pd.DatetimeIndex(edge).as_unit("ns").asi8)
        for edge in (loaded.break_starts, loaded.break_ends)
    )
    if calendar in TRADING_PAUSES:
        zone, begin, end, weekdays = TRADING_PAUSES[calendar]
        dates = session_dates(calendar)
        moments = (
            (dates + pd.Timedelta(hours=hour)).tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
            for hour in (begin, end)
        )
        begins, stops = (moment.as_unit("ns").asi8 for moment in moments)
        paused = np.isin(dates.weekday, weekdays)
        starts, ends = np.where(paused, begins, starts), np.where(paused, np.minimum(stops, closes), ends)
    return starts, ends


def next_sessions(calendar: str, moment: datetime, count: int) -> pd.DatetimeIndex:
    """The exchange's dates of the next `count` sessions that open at or after `moment`; fewer where the calendar ends.

    The dates are midnights without a zone.
    """
    opens, _ = _edges(calendar)
    first = int(np.searchsorted(opens, pd.Timestamp(moment).value, side="left"))
    return pd.DatetimeIndex(_load(calendar).sessions[first : first + count])


def session_day(calendar: str, moment: datetime) -> str:
    """The exchange's date (YYYY-MM-DD) of the session in which `moment` lies, or of the last session before it."""
    opens, _ = _edges(calendar)
    session = int(np.searchsorted(opens, pd.Timestamp(moment).value, side="right")) - 1
    return f"{_load(calendar).sessions[max(session, 0)]:%Y-%m-%d}"


def session_on(calendar: str, day: str) -> tuple[datetime, datetime] | None:
    """Open and close (aware UTC) of the session with the exchange's date `day` (YYYY-MM-DD); `None` without one."""
    dates = pd.DatetimeIndex([pd.to_datetime(day, format="%Y-%m-%d", errors="coerce")])
    if dates.strftime("%Y-%m-%d")[0] != day or len(non_session_dates(calendar, dates)):
        return None
    opened, closed = session_bounds(calendar, dates)
    return opened[0].to_pydatetime(), closed[0].to_pydatetime()


def intraday_frame(
    starts: pd.DatetimeIndex, values: pd.DataFrame, calendar: str, interval: str, source: str
) -> pd.DataFrame:
    """Bars that began at `starts` (aware) in the common format; bars outside of the sessions are left out.

    A bar lasts `interval` (a name of `BAR_MINUTES`) but never beyond its session's close. `values` are those of
    `daily_frame`.
    """
    starts = pd.DatetimeIndex(starts).tz_convert("UTC").as_unit("ns")
    opens, closes = _edges(calendar)
    at = starts.asi8
    session = np.searchsorted(opens, at, side="right") - 1
    inside = (session >= 0) & (at < closes[session])
    ends = np.minimum(at + BAR_MINUTES[interval] * MINUTE_NS, closes[session])[inside]
    return _frame(starts[inside], pd.to_datetime(ends, utc=True), values[inside], source)


def timezone_of(calendar: str) -> str:
    """Name of the time zone in which the calendar's dates are counted, e.g. `America/New_York`."""
    return str(_load(calendar).tz)


def daily_frame(dates: pd.DatetimeIndex, values: pd.DataFrame, calendar: str, source: str) -> pd.DataFrame:
    """Daily bars in the common format from `values` (open, high, low, close[, volume][, split]), shape (n,) each.

    Missing volume is 0, a missing split 1. Raises as `session_bounds`; checks nothing else.
    """
    return _frame(*session_bounds(calendar, dates), values, source)


def _frame(start: pd.DatetimeIndex, end: pd.DatetimeIndex, values: pd.DataFrame, source: str) -> pd.DataFrame:
    columns = {name: values[name].to_numpy(np.float64) for name in PRICE_COLUMNS}
    for name, default in (("volume", 0.0), ("split", 1.0)):
        given = values[name].to_numpy(np.float64) if name in values else np.full(len(values), default)
        columns[name] = np.where(np.isnan(given), default, given)
    frame = pd.DataFrame(
        {"start": start.as_unit("us"), "end": end.as_unit("us"), **columns, "source": source},
        columns=list(FRAME_COLUMNS),
    )
    return frame.sort_values("start", ignore_index=True)


@cache
def _edges(calendar: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    loaded = _load(calendar)
    opens, closes = (pd.DatetimeIndex(bound).as_unit("ns").asi8 for bound in (loaded.opens, loaded.closes))
    return opens, closes


@cache
def _load(name: str) -> Any:
    """The calendar from `FIRST_YEAR`, or from the first year that the package knows (Tokyo: 1997).

    The type is `Any` because `exchange_calendars` has no type annotations.
    """
    import exchange_calendars

    first = f"{FIRST_YEAR}-01-01"
    try:
        try:
            return exchange_calendars.get_calendar(name, start=first)
        except ValueError:
            known = exchange_calendars.get_calendar(name).bound_min()
            if known is None:
                raise
            return exchange_calendars.get_calendar(name, start=max(known, pd.Timestamp(first)))
    except (exchange_calendars.errors.InvalidCalendarName, NotImplementedError, ValueError) as error:
        raise SettingsError(
            "the name of an exchange calendar that works, such as XNYS, XLON, XTKS or 24/7",
            repr(name),
            "correct prices.calendar or prices.calendars",
        ) from error
