"""The length of the bars of a series, from the moments at which they begin.

If hourly bars were taken for 5-minute bars, each would count as known 55 minutes before it ended. So a series whose
length is in doubt is refused, and the error says what its bars look like.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import BAR_MINUTES, DAILY
from osiris.market.file_import.calendar_positions import MINUTE_US, CalendarPositions, is_on_step, minutes_since_open
from osiris.market.file_import.moments import DAY_US, NO_TIME

MAJORITY_SHARE = 0.8
"""A rule that so many of the rows keep holds for the series; single rows that break it are bad by themselves."""
STEP_MINUTES = (720, 480, 360, 240, 195, 180, 130, 120, 90, 65, 60, 45, 30, 20, 15, 10, 6, 5, 4, 3, 2, 1)
"""Lengths in minutes that files have, the longest first; those in `calendars.BAR_MINUTES` can be used."""
CLOSE_TOLERANCE_US = MINUTE_US
"""A row so shortly before the close is stamped at the close: some vendors write the end of a day as 23:59:59.999."""
LONG_INTERVAL_DAYS = {
    "weekly": (5, 9),
    "two-weekly": (12, 17),
    "monthly": (26, 33),
    "quarterly": (80, 100),
    "yearly": (350, 380),
}
"""The fewest and the most days from one bar to the next; weekends and holidays move the dates."""
DAILY_HINT = "if each is the bar of one session, say --daily"


class SeriesRejected(ValueError):
    """The bars of a series cannot be used; the message says why."""


def row_days(at: NDArray[np.int64], day: NDArray[np.int64], positions: CalendarPositions) -> NDArray[np.int64]:
    """The day that each row names: its own, or the exchange's if it begins at midnight there; else `NO_TIME`."""
    midnight = (day == NO_TIME) & (at != NO_TIME) & (positions.local % DAY_US == 0)
    return np.where(midnight, positions.local // DAY_US, day)


def is_dated(at: NDArray[np.int64], day: NDArray[np.int64], positions: CalendarPositions) -> bool:
    """Whether most rows name a day, with `day` as from `row_days`."""
    known = (at != NO_TIME) | (day != NO_TIME)
    # Around the clock one bar of each day begins at midnight, so a date there is weaker evidence.
    least = MAJORITY_SHARE if positions.is_continuous else 0.5
    return bool((day != NO_TIME).sum() >= least * known.sum())


def detect_interval(
    at: NDArray[np.int64], day: NDArray[np.int64], positions: CalendarPositions, calendar: str, *, daily: bool
) -> tuple[str, NDArray[np.int64]]:
    """The length of the bars (`1d` or a name of `BAR_MINUTES`) and the day of each, shape (n,).

    `day` is as from `row_days`. In a daily series, a moment inside or after a session names its day too. `daily` says
    that the person calls the bars daily. Raises `SeriesRejected` for bars of another length or of one in doubt.
    """
    known = (at != NO_TIME) | (day != NO_TIME)
    if is_dated(at, day, positions):
        days = np.where((day == NO_TIME) & known, positions.local // DAY_US, day)
        if not daily:
            _reject_sparse(days[known], positions)
            _reject_opens(at, positions)
        _reject_shifted(at, calendar, positions, known)
        return DAILY, days
    # No two moments are on one day of the exchange.
    if len(np.unique(positions.local[at != NO_TIME] // DAY_US)) == (at != NO_TIME).sum():
        days = _days_of_single_bars(at, day, positions, daily)
        if not daily:
            _reject_sparse(days[days != NO_TIME], positions)
        return DAILY, days
    return _detect_step(at, positions, calendar), np.where(
        positions.session >= 0, positions.dates[np.maximum(positions.session, 0)], NO_TIME
    )


def _reject_sparse(days: NDArray[np.int64], positions: CalendarPositions) -> None:
    """Refuse bars that are further apart than sessions are, such as weekly and monthly bars or every second day."""
    days = np.unique(days[(days >= positions.dates[0]) & (days <= positions.dates[-1])])
    apart = np.diff(np.searchsorted(positions.dates, days))
    if not len(apart) or (len(apart) == 1 and not _is_step(days, positions)):
        return
    if np.median(apart) >= 2 and np.mean(apart <= 1) <= 1 / 3:
        raise SeriesRejected(f"are {_describe_spacing(np.diff(days), apart)} bars, not daily ones; {DAILY_HINT}")
    # Weekly bars among daily ones: four in a row at least three sessions apart, or eight at least two apart.
    for run, least in ((4, 3), (8, 2)):
        if len(apart) >= run:
            wide = np.lib.stride_tricks.sliding_window_view(apart >= least, run).all(axis=1)
            if wide.any():
                first = int(np.argmax(wide))
                kind = _describe_spacing(np.diff(days)[first : first + run], apart[first : first + run])
                raise SeriesRejected(f"are {kind} bars from {_date(days[first])} on, not daily ones; {DAILY_HINT}")


def _reject_opens(at: NDArray[np.int64], positions: CalendarPositions) -> None:
    """Refuse moments that name a day by midnight in UTC and are the open of a session too, as 09:00 in Tokyo is."""
    moments = at != NO_TIME
    if positions.is_continuous or not moments.any():
        return
    if (at == positions.by_row(positions.opens))[moments].mean() >= MAJORITY_SHARE:
        raise _open_or_daily_error(_clock(positions.local[moments][:1]))


def _is_step(days: NDArray[np.int64], positions: CalendarPositions) -> bool:
    """Whether two dates may be one step apart. A date on which the exchange was closed is rather an error of the file.

    Whole weeks, and spans of a month or more, are steps on any dates: vendors date weeks by Sundays and by holidays.
    """
    apart = int(days[1] - days[0])
    return bool(np.isin(days, positions.dates).all()) or apart % 7 == 0 or apart >= LONG_INTERVAL_DAYS["monthly"][0]


def _describe_spacing(days: NDArray[np.int64], sessions: NDArray[np.int64]) -> str:
    """The kind of bars by their usual distance in days and in sessions."""
    usual = float(np.median(days))
    apart = int(np.median(sessions))
    named = next(
        (kind for kind, (least, most) in LONG_INTERVAL_DAYS.items() if least <= usual <= most and apart > 2), None
    )
    return named or f"every-{apart}-sessions"


def _reject_shifted(
    at: NDArray[np.int64], calendar: str, positions: CalendarPositions, known: NDArray[np.bool_]
) -> None:
    """Refuse days around the clock that do not begin at midnight UTC: each would hold prices of two sessions.

    Calendar 24/5 allows an hour, because Yahoo's currencies follow London's summer time.
    """
    moments = at[known & (at != NO_TIME)]
    if not calendar.startswith("24/") or not len(moments):
        return
    slack = 60 * MINUTE_US if calendar == "24/5" else 0
    # The distance to the nearest midnight, from -12 to 12 hours.
    off = (moments + DAY_US // 2) % DAY_US - DAY_US // 2
    if np.mean(np.abs(off) > slack) > 1 - MAJORITY_SHARE:
        begin = pd.Timestamp(int(moments[np.abs(off) > slack][0]), unit="us")
        raise SeriesRejected(
            f"are days that begin at {begin:%H:%M} UTC, those of {calendar} begin at 00:00; cut them so"
        )


def _days_of_single_bars(
    at: NDArray[np.int64], day: NDArray[np.int64], positions: CalendarPositions, daily: bool
) -> NDArray[np.int64]:
    """The days of bars that come once a session: stamped at its close, or called daily by the person (`daily`).

    Raises `SeriesRejected` for others: a bar at each open may be a daily bar or only the first bar of the session.
    """
    # A close is no part of its session, so the session that opened last before the row is compared with it.
    before = np.searchsorted(positions.opens, at, side="left") - 1
    at_close = (at != NO_TIME) & (before >= 0) & (at == positions.closes[np.maximum(before, 0)])
    at_open = (positions.session >= 0) & (at == positions.by_row(positions.opens))
    known = at != NO_TIME
    if not positions.is_continuous and at_close[known].mean() >= MAJORITY_SHARE:
        return np.where(
            at_close, positions.dates[np.maximum(before, 0)], np.where(known, positions.local // DAY_US, day)
        )
    # Around the clock a close is the open of the next session, and the row belongs to that one.
    at_close &= not positions.is_continuous
    at_end = (positions.session >= 0) & (positions.by_row(positions.closes) - at <= CLOSE_TOLERANCE_US)
    if daily and (at_open | at_close | at_end)[known].mean() >= MAJORITY_SHARE:
        of_session = np.where(
            at_open | at_end,
            positions.dates[np.maximum(positions.session, 0)],
            np.where(known, positions.local // DAY_US, day),
        )
        return np.where(at_close, positions.dates[np.maximum(before, 0)], of_session)
    clock = pd.Timestamp(int(np.median(positions.local[known] % DAY_US)), unit="us")
    if daily or not at_open[known].mean() >= MAJORITY_SHARE:
        last = f"; {DAILY_HINT}" if at_end[known].mean() >= MAJORITY_SHARE else ""
        raise SeriesRejected(
            f"are one a session, most at {clock:%H:%M} of the exchange: no daily bars of the sessions; "
            f"give all bars of a session, or daily bars by their dates (YYYY-MM-DD){last}"
        )
    raise _open_or_daily_error(f"{clock:%H:%M}")


def _open_or_daily_error(clock: str) -> SeriesRejected:
    return SeriesRejected(f"are one a session, at its open {clock}: daily bars, or the first of each day; {DAILY_HINT}")


def _detect_step(at: NDArray[np.int64], positions: CalendarPositions, calendar: str) -> str:
    """The longest step that most bars keep, counted from the open (or from the end of a lunch break)."""
    inside = positions.session >= 0
    reject_stamped_at_end(at, positions)
    if not inside.any():
        return "1m"  # each row is outside of a session, so it is bad and gets its own reason
    moments, first = np.unique(at[inside], return_index=True)
    session, local = positions.session[inside][first], positions.local[inside][first]
    since = minutes_since_open(moments, session, positions.opens, calendar)
    after, _ = since
    for minutes in STEP_MINUTES:
        by_clock = ((local % DAY_US) % (minutes * MINUTE_US) == 0) | (after == 0)
        if is_on_step(since, minutes).mean() >= MAJORITY_SHARE:
            return _interval_name(minutes, moments, session)
        if by_clock.mean() >= MAJORITY_SHARE:
            raise SeriesRejected(
                f"are bars of {minutes} minutes cut at the clock ({_clock(local[by_clock][1:2])}), not from the open "
                f"({_clock(local[after == 0][:1])}); Osiris needs them from the open: export shorter or daily ones"
            )
    raise SeriesRejected(f"begin at no regular distance; expected bars of {', '.join(BAR_MINUTES)} or a day")


def _interval_name(minutes: int, moments: NDArray[np.int64], session: NDArray[np.int64]) -> str:
    """The name of a step in `BAR_MINUTES`; raises `SeriesRejected` without one, or if no two bars are so close."""
    name = next((name for name, length in BAR_MINUTES.items() if length == minutes), None)
    if name is None:
        raise SeriesRejected(f"last {minutes} minutes; Osiris takes bars of {', '.join(BAR_MINUTES)} and a day")
    apart = np.diff(moments)[np.diff(session) == 0] / MINUTE_US
    several = np.unique(session, return_counts=True)[1] >= 2
    if not np.isclose(apart, minutes).any() or several.mean() < 0.5:
        nearest = f"{apart.min():g} minutes" if len(apart) else "a session"
        raise SeriesRejected(
            f"are {nearest} apart and more; expected bars of {', '.join(BAR_MINUTES)} or a day without gaps"
        )
    return name


def reject_stamped_at_end(at: NDArray[np.int64], positions: CalendarPositions) -> None:
    """Refuse bars stamped with their ends, so that one is at each close and none at the open.

    Taken for begins, the stamps would move each bar by its length. Prices from before an idea would then count for it.
    """
    if positions.is_continuous:
        return
    before = np.searchsorted(positions.opens, at, side="left") - 1
    at_close = (before >= 0) & (at != NO_TIME) & (at == positions.closes[np.maximum(before, 0)])
    at_open = at == positions.by_row(positions.opens)
    beyond = (at != NO_TIME) & (positions.session < 0) & ~at_close
    if at_close.sum() > max(1, at_open.sum()) and beyond.sum() >= at_close.sum():
        clocks = np.sort(positions.local[beyond] % DAY_US)
        raise SeriesRejected(
            f"go beyond the sessions ({_clock(clocks[:1])} to {_clock(clocks[-1:])}), one begins at each close, none "
            "at the open: stamped with their ends, or cut at the clock; export half hours, stamped with their "
            "begins, and say --regular-hours"
        )
    if at_close.sum() > max(1, at_open.sum()):
        raise SeriesRejected(
            "are stamped with their ends (one at each close, none at the open); stamp them with their begins"
        )


def _clock(local: NDArray[np.int64]) -> str:
    return ", ".join(f"{pd.Timestamp(int(moment % DAY_US), unit='us'):%H:%M}" for moment in local) or "none"


def _date(day: int) -> str:
    return f"{pd.Timestamp(int(day), unit='D'):%Y-%m-%d}"
