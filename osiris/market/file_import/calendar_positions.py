"""The positions of rows in the calendar of their exchange."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import all_session_bounds, lunch_break_ends, session_dates, timezone_of
from osiris.market.file_import.moments import DAY_US, NO_TIME

MINUTE_US = 60_000_000
"""Microseconds in a minute."""


class CalendarPositions(NamedTuple):
    """The positions of n rows in a calendar of m sessions.

    `opens` and `closes` are the bounds of the sessions in microseconds UTC and `dates` their days since 1970, each of
    shape (m,). `session` is the index of the session that holds each row, or -1. `local` is the time of the row on the
    clock of the exchange, in microseconds, or `NO_TIME`. Both are of shape (n,).
    """

    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    dates: NDArray[np.int64]
    session: NDArray[np.int64]
    local: NDArray[np.int64]

    @property
    def is_continuous(self) -> bool:
        """Whether most sessions begin where the one before ended, so that trading goes on around the clock."""
        return bool(np.mean(self.opens[1:] == self.closes[:-1]) > 0.5)

    def select(self, chosen: NDArray[np.bool_]) -> "CalendarPositions":
        """The positions of the chosen rows; the sessions stay."""
        return self._replace(session=self.session[chosen], local=self.local[chosen])

    def by_row(self, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
        """The value of each row's session, of `bounds` with one per session; `NO_TIME` for a row in no session."""
        return np.where(self.session >= 0, bounds[np.maximum(self.session, 0)], NO_TIME)


def session_opens(calendar: str) -> NDArray[np.int64]:
    """The opens of the sessions of a calendar, in microseconds UTC."""
    return all_session_bounds(calendar)[0] // 1000


def locate_rows(at: NDArray[np.int64], calendar: str) -> CalendarPositions:
    """The positions of moments (microseconds UTC, or `NO_TIME`) in a calendar."""
    opens, closes = (edges // 1000 for edges in all_session_bounds(calendar))
    dates = session_dates(calendar).as_unit("us").asi8 // DAY_US
    # The session that opened last holds a moment unless it has closed: bars begin before the close, never at it.
    session = np.searchsorted(opens, at, side="right") - 1
    session[(session < 0) | (at >= closes[np.maximum(session, 0)])] = -1
    times = pd.DatetimeIndex(np.where(at == NO_TIME, 0, at).view("datetime64[us]")).tz_localize("UTC")
    local = times.tz_convert(timezone_of(calendar)).tz_localize(None).asi8
    return CalendarPositions(opens, closes, dates, session, np.where(at == NO_TIME, NO_TIME, local))


def is_in_session(at: NDArray[np.int64], positions: CalendarPositions) -> NDArray[np.bool_]:
    """Whether each row begins within a session; a date alone counts as one that does."""
    return np.asarray((at == NO_TIME) | (positions.session >= 0))


def is_on_grid(at: NDArray[np.int64], positions: CalendarPositions, calendar: str, minutes: int) -> NDArray[np.bool_]:
    """Whether each row of a session begins a multiple of `minutes` after the open or after the lunch break."""
    return is_on_step(minutes_since_open(at, np.maximum(positions.session, 0), positions.opens, calendar), minutes)


def is_on_step(since: tuple[NDArray[np.float64], NDArray[np.float64]], minutes: int) -> NDArray[np.bool_]:
    """Whether each bar begins a multiple of `minutes` after the open, `since` as from `minutes_since_open`.

    Vendors count the bars after a lunch break either from the open or from the end of the break. The way that fits more
    of these bars holds for all of them.
    """
    by_open, by_break = (np.isclose(elapsed % minutes, 0) for elapsed in since)
    later = np.isfinite(since[1])
    return np.where(later, by_break, by_open) if by_break[later].sum() > by_open[later].sum() else by_open


def minutes_since_open(
    at: NDArray[np.int64], session: NDArray[np.int64], opens: NDArray[np.int64], calendar: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minutes since the open and since the end of the lunch break, shape (n,) each.

    The second is NaN before the end of the break, and in a session without one.
    """
    ends = lunch_break_ends(calendar)[session]
    since = np.where((ends != NO_TIME) & (at >= ends // 1000), (at - ends // 1000) / MINUTE_US, np.nan)
    return (at - opens[session]) / MINUTE_US, since
