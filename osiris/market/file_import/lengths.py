"""How long the bars of a series last, from where they begin; what is in doubt is refused by name.

A bar that is taken for shorter than it is would be known before it ended, so nothing is made to fit.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import DAILY, MINUTES
from osiris.market.file_import.moments import DAY, NONE
from osiris.market.file_import.where import MINUTE, Places, minutes_after, on_step

MOST = 0.8
STEPS = (720, 480, 360, 240, 195, 180, 130, 120, 90, 65, 60, 45, 30, 20, 15, 10, 6, 5, 4, 3, 2, 1)
"""Lengths in minutes that files have; those in `calendars.MINUTES` can be used."""
LAST_MOMENT = MINUTE
"""Before the close of a session: 23:59:59.999 is the end of a day as some vendors write it."""
KINDS = {"weekly": (5, 9), "two-weekly": (12, 17), "monthly": (26, 33), "quarterly": (80, 100), "yearly": (350, 380)}
IF_DAILY = "if each is the bar of one session, say --daily"


class Refused(ValueError):
    """Why the bars of a series cannot be used."""


def named_days(at: NDArray[np.int64], day: NDArray[np.int64], where: Places) -> NDArray[np.int64]:
    """The day that each row names: its own, or the exchange's where it begins at midnight there; else `NONE`."""
    midnight = (day == NONE) & (at != NONE) & (where.local % DAY == 0)
    return np.where(midnight, where.local // DAY, day)


def names_days(at: NDArray[np.int64], day: NDArray[np.int64], where: Places) -> bool:
    """Whether most rows name a day, `day` as from `named_days`, or stand at the close of one."""
    known = (at != NONE) | (day != NONE)
    least = MOST if where.abut else 0.5  # around the clock, hours begin at midnight too
    return bool((day != NONE).sum() >= least * known.sum())


def length_of(
    at: NDArray[np.int64], day: NDArray[np.int64], where: Places, calendar: str, *, daily: bool
) -> tuple[str, NDArray[np.int64]]:
    """The length of the bars (`1d` or a name of `MINUTES`) and the day of each; raises `Refused`.

    `day` as from `named_days`. In a daily series, a moment inside or after a session names its day too.
    """
    known = (at != NONE) | (day != NONE)
    if names_days(at, day, where):
        days = np.where((day == NONE) & known, where.local // DAY, day)
        if not daily:
            _reject_sparse(days[known], where)
            _reject_opens(at, where)
        _reject_shifted(at, calendar, where, known)
        return DAILY, days
    if len(np.unique(where.local[at != NONE] // DAY)) == (at != NONE).sum():
        days = _one_a_session(at, day, where, daily)
        if not daily:
            _reject_sparse(days[days != NONE], where)
        return DAILY, days
    return _step(at, where, calendar), np.where(where.session >= 0, where.dates[np.maximum(where.session, 0)], NONE)


def _reject_sparse(days: NDArray[np.int64], where: Places) -> None:
    """Refuse bars that are further apart than sessions are: weekly ones, monthly ones, each second day."""
    days = np.unique(days[(days >= where.dates[0]) & (days <= where.dates[-1])])
    apart = np.diff(np.searchsorted(where.dates, days))
    if not len(apart) or (len(apart) == 1 and not _may_be_a_step(days, where)):
        return
    if np.median(apart) >= 2 and np.mean(apart <= 1) <= 1 / 3:
        raise Refused(f"are {_kind(np.diff(days), apart)} bars, not daily ones; {IF_DAILY}")
    for run, least in ((4, 3), (8, 2)):
        if len(apart) >= run:
            wide = np.lib.stride_tricks.sliding_window_view(apart >= least, run).all(axis=1)
            if wide.any():
                first = int(np.argmax(wide))
                kind = _kind(np.diff(days)[first : first + run], apart[first : first + run])
                raise Refused(f"are {kind} bars from {_date(days[first])} on, not daily ones; {IF_DAILY}")


def _reject_opens(at: NDArray[np.int64], where: Places) -> None:
    """Refuse moments that name a day by midnight in UTC and are the open of a session too, as in Tokyo."""
    moments = at != NONE
    if where.abut or not moments.any():
        return
    if (at == where.of(where.opens))[moments].mean() >= MOST:
        raise _either(_clock(where.local[moments][:1]))


def _may_be_a_step(days: NDArray[np.int64], where: Places) -> bool:
    """Whether two dates may be one step apart: a date on which the exchange was closed is rather a slip of the pen.

    Whole weeks and months are steps whatever the dates are: vendors date weeks by Sundays and by holidays.
    """
    apart = int(days[1] - days[0])
    return bool(np.isin(days, where.dates).all()) or apart % 7 == 0 or apart >= KINDS["monthly"][0]


def _kind(days: NDArray[np.int64], sessions: NDArray[np.int64]) -> str:
    usual, apart = float(np.median(days)), int(np.median(sessions))
    named = next((kind for kind, (least, most) in KINDS.items() if least <= usual <= most and apart > 2), None)
    return named or f"every-{apart}-sessions"


def _reject_shifted(at: NDArray[np.int64], calendar: str, where: Places, known: NDArray[np.bool_]) -> None:
    """Around the clock, a day that begins elsewhere has prices of two sessions. Yahoo's currencies follow London."""
    moments = at[known & (at != NONE)]
    if not calendar.startswith("24/") or not len(moments):
        return
    slack = 60 * MINUTE if calendar == "24/5" else 0
    off = (moments + DAY // 2) % DAY - DAY // 2
    if np.mean(np.abs(off) > slack) > 1 - MOST:
        begin = pd.Timestamp(int(moments[np.abs(off) > slack][0]), unit="us")
        raise Refused(f"are days that begin at {begin:%H:%M} UTC, those of {calendar} begin at 00:00; cut them so")


def _one_a_session(at: NDArray[np.int64], day: NDArray[np.int64], where: Places, daily: bool) -> NDArray[np.int64]:
    """The days of bars stamped once a session at the same time: its close, or what the person says is a daily bar."""
    before = np.searchsorted(where.opens, at, side="left") - 1
    at_close = (at != NONE) & (before >= 0) & (at == where.closes[np.maximum(before, 0)])
    at_open = (where.session >= 0) & (at == where.of(where.opens))
    known = at != NONE
    if not where.abut and at_close[known].mean() >= MOST:
        return np.where(at_close, where.dates[np.maximum(before, 0)], np.where(known, where.local // DAY, day))
    at_close &= not where.abut
    at_end = (where.session >= 0) & (where.of(where.closes) - at <= LAST_MOMENT)
    if daily and (at_open | at_close | at_end)[known].mean() >= MOST:
        of_session = np.where(
            at_open | at_end, where.dates[np.maximum(where.session, 0)], np.where(known, where.local // DAY, day)
        )
        return np.where(at_close, where.dates[np.maximum(before, 0)], of_session)
    clock = pd.Timestamp(int(np.median(where.local[known] % DAY)), unit="us")
    if daily or not at_open[known].mean() >= MOST:
        last = f"; {IF_DAILY}" if at_end[known].mean() >= MOST else ""
        raise Refused(
            f"are one a session, most at {clock:%H:%M} of the exchange: no daily bars of the sessions; "
            f"give all bars of a session, or daily bars by their dates (YYYY-MM-DD){last}"
        )
    raise _either(f"{clock:%H:%M}")


def _either(clock: str) -> Refused:
    return Refused(f"are one a session, at its open {clock}: daily bars, or the first of each day; {IF_DAILY}")


def _step(at: NDArray[np.int64], where: Places, calendar: str) -> str:
    """The longest step of those that most bars keep to, counted from the open (or the end of a lunch break)."""
    inside = where.session >= 0
    reject_stamped_at_end(at, where)
    if not inside.any():
        return "1m"  # each row is bad, and says why
    moments, first = np.unique(at[inside], return_index=True)
    session, local = where.session[inside][first], where.local[inside][first]
    since = minutes_after(moments, session, where.opens, calendar)
    after, _ = since
    for minutes in STEPS:
        by_clock = ((local % DAY) % (minutes * MINUTE) == 0) | (after == 0)
        if on_step(since, minutes).mean() >= MOST:
            return _usable(minutes, moments, session)
        if by_clock.mean() >= MOST:
            raise Refused(
                f"are bars of {minutes} minutes cut at the clock ({_clock(local[by_clock][1:2])}), not from the open "
                f"({_clock(local[after == 0][:1])}); Osiris needs them from the open: export shorter or daily ones"
            )
    raise Refused(f"begin at no regular distance; expected bars of {', '.join(MINUTES)} or a day")


def _usable(minutes: int, moments: NDArray[np.int64], session: NDArray[np.int64]) -> str:
    name = next((name for name, length in MINUTES.items() if length == minutes), None)
    if name is None:
        raise Refused(f"last {minutes} minutes; Osiris takes bars of {', '.join(MINUTES)} and a day")
    apart = np.diff(moments)[np.diff(session) == 0] / MINUTE
    several = np.unique(session, return_counts=True)[1] >= 2
    if not np.isclose(apart, minutes).any() or several.mean() < 0.5:
        nearest = f"{apart.min():g} minutes" if len(apart) else "a session"
        raise Refused(f"are {nearest} apart and more; expected bars of {', '.join(MINUTES)} or a day without gaps")
    return name


def reject_stamped_at_end(at: NDArray[np.int64], where: Places) -> None:
    """Refuse bars of which one begins at each close and none at the open: each would be known before it began."""
    if where.abut:
        return
    before = np.searchsorted(where.opens, at, side="left") - 1
    at_close = (before >= 0) & (at != NONE) & (at == where.closes[np.maximum(before, 0)])
    at_open = at == where.of(where.opens)
    beyond = (at != NONE) & (where.session < 0) & ~at_close
    if at_close.sum() > max(1, at_open.sum()) and beyond.sum() >= at_close.sum():
        clocks = np.sort(where.local[beyond] % DAY)
        raise Refused(
            f"go beyond the sessions ({_clock(clocks[:1])} to {_clock(clocks[-1:])}), one begins at each close, none "
            "at the open: stamped with their ends, or cut at the clock; export half hours, stamped with their "
            "begins, and say --regular-hours"
        )
    if at_close.sum() > max(1, at_open.sum()):
        raise Refused("are stamped with their ends (one at each close, none at the open); stamp them with their begins")


def _clock(local: NDArray[np.int64]) -> str:
    return ", ".join(f"{pd.Timestamp(int(moment % DAY), unit='us'):%H:%M}" for moment in local) or "none"


def _date(day: int) -> str:
    return f"{pd.Timestamp(int(day), unit='D'):%Y-%m-%d}"
