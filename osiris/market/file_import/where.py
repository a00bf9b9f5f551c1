"""Where rows lie in the calendar of their exchange."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import session_breaks, session_dates, session_edges, timezone_of
from osiris.market.file_import.moments import DAY, NONE

MINUTE = 60_000_000


class Places(NamedTuple):
    """Where rows lie in a calendar, shape (n,) each: `session` their index, -1 for none; microseconds UTC."""

    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    dates: NDArray[np.int64]
    session: NDArray[np.int64]
    local: NDArray[np.int64]

    @property
    def abut(self) -> bool:
        """Whether a session begins where the one before ended."""
        return bool(np.mean(self.opens[1:] == self.closes[:-1]) > 0.5)

    def only(self, chosen: NDArray[np.bool_]) -> "Places":
        """Where the chosen rows lie."""
        return self._replace(session=self.session[chosen], local=self.local[chosen])

    def of(self, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bound of each row's session; `NONE` for a row in none."""
        return np.where(self.session >= 0, bounds[np.maximum(self.session, 0)], NONE)


def session_opens(calendar: str) -> NDArray[np.int64]:
    """When the sessions of a calendar open, microseconds UTC."""
    return session_edges(calendar)[0] // 1000


def places(at: NDArray[np.int64], calendar: str) -> Places:
    """Look moments (microseconds UTC, or `NONE`) up in a calendar; `local` is the exchange's clock, in microseconds."""
    opens, closes = (edges // 1000 for edges in session_edges(calendar))
    dates = session_dates(calendar).as_unit("us").asi8 // DAY
    session = np.searchsorted(opens, at, side="right") - 1
    session[(session < 0) | (at >= closes[np.maximum(session, 0)])] = -1
    times = pd.DatetimeIndex(np.where(at == NONE, 0, at).view("datetime64[us]")).tz_localize("UTC")
    local = times.tz_convert(timezone_of(calendar)).tz_localize(None).asi8
    return Places(opens, closes, dates, session, np.where(at == NONE, NONE, local))


def in_session(at: NDArray[np.int64], where: Places) -> NDArray[np.bool_]:
    """Which rows begin within a session; a date alone does."""
    return (at == NONE) | (where.session >= 0)


def on_grid(at: NDArray[np.int64], where: Places, calendar: str, minutes: int) -> NDArray[np.bool_]:
    """Whether each row of a session begins a multiple of `minutes` after the open or after the lunch break."""
    return on_step(minutes_after(at, np.maximum(where.session, 0), where.opens, calendar), minutes)


def on_step(since: tuple[NDArray[np.float64], NDArray[np.float64]], minutes: int) -> NDArray[np.bool_]:
    """Which bars begin a multiple of `minutes` after the open; those after a break all so, or all after its end."""
    by_open, by_break = (np.isclose(one % minutes, 0) for one in since)
    later = np.isfinite(since[1])
    return np.where(later, by_break, by_open) if by_break[later].sum() > by_open[later].sum() else by_open


def minutes_after(
    at: NDArray[np.int64], session: NDArray[np.int64], opens: NDArray[np.int64], calendar: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minutes since the open and since the end of the lunch break; NaN before that, or without one."""
    ends = session_breaks(calendar)[session]
    since = np.where((ends != NONE) & (at >= ends // 1000), (at - ends // 1000) / MINUTE, np.nan)
    return (at - opens[session]) / MINUTE, since
