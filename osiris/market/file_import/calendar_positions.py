"""Where rows lie in the calendar of their exchange."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import all_session_bounds, lunch_break_ends, session_dates, timezone_of
from osiris.market.file_import.moments import DAY_US, NO_TIME

MINUTE_US = 60_000_000


class CalendarPositions(NamedTuple):
    """Where rows lie in a calendar, shape (n,) each: `session` their index, -1 for none; microseconds UTC."""

    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    dates: NDArray[np.int64]
    session: NDArray[np.int64]
    local: NDArray[np.int64]

    @property
    def is_continuous(self) -> bool:
        """Whether a session begins where the one before ended."""
        return bool(np.mean(self.opens[1:] == self.closes[:-1]) > 0.5)

    def select(self, chosen: NDArray[np.bool_]) -> "CalendarPositions":
        """Where the chosen rows lie."""
        return self._replace(session=self.session[chosen], local=self.local[chosen])

    def by_row(self, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bound of each row's session; `NONE` for a row in none."""
        return np.where(self.session >= 0, bounds[np.maximum(self.session, 0)], NO_TIME)


def session_opens(calendar: str) -> NDArray[np.int64]:
    """When the sessions of a calendar open, microseconds UTC."""
    return all_session_bounds(calendar)[0] // 1000


def locate_rows(at: NDArray[np.int64], calendar: str) -> CalendarPositions:
    """Look moments (microseconds UTC, or `NONE`) up in a calendar; `local` is the exchange's clock, in microseconds."""
    opens, closes = (edges // 1000 for edges in all_session_bounds(calendar))
    dates = session_dates(calendar).as_unit("us").asi8 // DAY_US
    session = np.searchsorted(opens, at, side="right") - 1
    session[(session < 0) | (at >= closes[np.maximum(session, 0)])] = -1
    times = pd.DatetimeIndex(np.where(at == NO_TIME, 0, at).view("datetime64[us]")).tz_localize("UTC")
    local = times.tz_convert(timezone_of(calendar)).tz_localize(None).asi8
    return CalendarPositions(opens, closes, dates, session, np.where(at == NO_TIME, NO_TIME, local))


def is_in_session(at: NDArray[np.int64], positions: CalendarPositions) -> NDArray[np.bool_]:
    """Which rows begin within a session; a date alone does."""
    return (at == NO_TIME) | (positions.session >= 0)


def is_on_grid(at: NDArray[np.int64], positions: CalendarPositions, calendar: str, minutes: int) -> NDArray[np.bool_]:
    """Whether each row of a session begins a multiple of `minutes` after the open or after the lunch break."""
    return is_on_step(minutes_since_open(at, np.maximum(positions.session, 0), positions.opens, calendar), minutes)


def is_on_step(since: tuple[NDArray[np.float64], NDArray[np.float64]], minutes: int) -> NDArray[np.bool_]:
    """Which bars begin a multiple of `minutes` after the open; those after a break all so, or all after its end."""
    by_open, by_break = (np.isclose(one % minutes, 0) for one in since)
    later = np.isfinite(since[1])
    return np.where(later, by_break, by_open) if by_break[later].sum() > by_open[later].sum() else by_open


def minutes_since_open(
    at: NDArray[np.int64], session: NDArray[np.int64], opens: NDArray[np.int64], calendar: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minutes since the open and since the end of the lunch break; NaN before that, or without one."""
    ends = lunch_break_ends(calendar)[session]
    since = np.where((ends != NO_TIME) & (at >= ends // 1000), (at - ends // 1000) / MINUTE_US, np.nan)
    return (at - opens[session]) / MINUTE_US, since
