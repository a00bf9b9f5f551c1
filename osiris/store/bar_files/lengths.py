"""How long the bars of a series last, from where they begin; what is in doubt is refused by name.

A bar that is taken for shorter than it is would be known before it ended, so nothing is made to fit.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.calendars import DAILY, MINUTES, session_breaks, session_dates, session_edges, timezone_of
from osiris.store.bar_files.moments import DAY, NONE

MOST = 0.8
STEPS = (720, 480, 360, 240, 195, 180, 130, 120, 90, 65, 60, 45, 30, 20, 15, 10, 6, 5, 4, 3, 2, 1)
"""Lengths in minutes that files have; those in `calendars.MINUTES` can be used."""
MINUTE = 60_000_000
RUN_CHANCE = 1e-12
"""Of a run that is taken for bars of another length."""
KINDS = {"weekly": (5, 9), "two-weekly": (12, 17), "monthly": (26, 33), "quarterly": (80, 100), "yearly": (350, 380)}
IF_DAILY = "if each is the bar of one session, say --daily"


class Refused(ValueError):
    """Why the bars of a series cannot be used."""


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


def named_days(at: NDArray[np.int64], day: NDArray[np.int64], where: Places) -> NDArray[np.int64]:
    """The day that each row names: its own, or the exchange's where it begins at midnight there; else `NONE`."""
    midnight = (day == NONE) & (at != NONE) & (where.local % DAY == 0)
    return np.where(midnight, where.local // DAY, day)


def length_of(
    at: NDArray[np.int64], day: NDArray[np.int64], where: Places, calendar: str, *, daily: bool
) -> tuple[str, NDArray[np.int64]]:
    """The length of the bars (`1d` or a name of `MINUTES`) and the day of each; raises `Refused`.

    `day` as from `named_days`. In a daily series, a moment inside or after a session names its day too.
    """
    known = (at != NONE) | (day != NONE)
    least = MOST if where.abut else 0.5  # around the clock, hours begin at midnight too
    if (day != NONE).sum() >= least * known.sum():
        days = np.where((day == NONE) & known, where.local // DAY, day)
        if not daily:
            _reject_sparse(days[known], where)
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
    if daily and (at_open | (at_close & (not where.abut)))[known].mean() >= MOST:
        by_open = np.where(at_open, where.dates[np.maximum(where.session, 0)], where.local // DAY)
        return np.where(at_close & (not where.abut), where.dates[np.maximum(before, 0)], np.where(known, by_open, day))
    clock = pd.Timestamp(int(np.median(where.local[known] % DAY)), unit="us")
    if daily or not at_open[known].mean() >= MOST:
        raise Refused(
            f"are one a session, most at {clock:%H:%M} of the exchange: no daily bars of the sessions; "
            "give all bars of a session, or daily bars by their dates (YYYY-MM-DD)"
        )
    raise Refused(f"are one a session, at its open {clock:%H:%M}: daily bars, or the first of each day; {IF_DAILY}")


def _step(at: NDArray[np.int64], where: Places, calendar: str) -> str:
    """The longest step of those that most bars keep to, counted from the open (or the end of a lunch break)."""
    inside = where.session >= 0
    _reject_stamped_at_end(at, where)
    if not inside.any():
        return "1m"  # each row is bad, and says why
    moments, first = np.unique(at[inside], return_index=True)
    session, local = where.session[inside][first], where.local[inside][first]
    after, after_break = _minutes_after(moments, session, where.opens, calendar)
    for minutes in STEPS:
        from_open = (np.isclose(after % minutes, 0) | np.isclose(after_break % minutes, 0)).mean()
        by_clock = ((local % DAY) % (minutes * MINUTE) == 0) | (after == 0)
        if from_open >= MOST:
            return _usable(minutes, moments, session)
        if by_clock.mean() >= MOST:
            raise Refused(
                f"are bars of {minutes} minutes cut at the clock ({_clock(local[by_clock][1:2])}), not from the open "
                f"({_clock(local[after == 0][:1])}); Osiris needs them from the open: export shorter or daily ones"
            )
    raise Refused(f"begin at no regular distance; expected bars of {', '.join(MINUTES)} or a day")


def reject_coarser_part(at: NDArray[np.int64], where: Places, calendar: str, interval: str) -> None:
    """Refuse bars of which so many in a row begin on a coarser grid that no gaps explain it: they last longer.

    Bars that are lacking at random leave a run of n on a grid of m times the interval with a chance of m to the -n.
    """
    minutes, inside = MINUTES[interval], where.session >= 0
    moments, first = np.unique(at[inside], return_index=True)
    since = _minutes_after(moments, where.session[inside][first], where.opens, calendar)
    after, after_break = (np.rint(np.nan_to_num(one, nan=-1.0)).astype(np.int64) for one in since)
    telling = (after != 0) & (after_break != 0)
    moments, after, after_break = moments[telling], after[telling], after_break[telling]
    for step in STEPS:
        if step > minutes and step % minutes == 0:
            run = int(np.ceil(-np.log(RUN_CHANCE) / np.log(step / minutes)))
            edges = np.diff(np.r_[0, (after % step == 0) | (after_break % step == 0), 0].astype(np.int8))
            begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
            long = np.flatnonzero(ends - begins >= run)
            if len(long):
                begin = pd.Timestamp(int(moments[begins[long[0]]]), unit="us")
                raise Refused(
                    f"are {step} minutes apart from {begin:%Y-%m-%d %H:%M} UTC on, and {minutes} elsewhere; "
                    "give bars of one length to a file"
                )


def on_grid(at: NDArray[np.int64], where: Places, calendar: str, minutes: int) -> NDArray[np.bool_]:
    """Whether each row of a session begins a multiple of `minutes` after the open or after the lunch break."""
    after, after_break = _minutes_after(at, np.maximum(where.session, 0), where.opens, calendar)
    return np.isclose(after % minutes, 0) | np.isclose(after_break % minutes, 0)


def _minutes_after(
    at: NDArray[np.int64], session: NDArray[np.int64], opens: NDArray[np.int64], calendar: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minutes since the open and since the end of the lunch break; NaN before that, or without one."""
    ends = session_breaks(calendar)[session]
    since = np.where((ends != NONE) & (at >= ends // 1000), (at - ends // 1000) / MINUTE, np.nan)
    return (at - opens[session]) / MINUTE, since


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


def _reject_stamped_at_end(at: NDArray[np.int64], where: Places) -> None:
    if where.abut:
        return
    before = np.searchsorted(where.opens, at, side="left") - 1
    at_close = (before >= 0) & (at != NONE) & (at == where.closes[np.maximum(before, 0)])
    at_open = at == where.of(where.opens)
    if at_close.sum() > max(1, at_open.sum()):
        raise Refused("are stamped with their ends (one at each close, none at the open); stamp them with their begins")


def _clock(local: NDArray[np.int64]) -> str:
    return ", ".join(f"{pd.Timestamp(int(moment % DAY), unit='us'):%H:%M}" for moment in local) or "none"


def _date(day: int) -> str:
    return f"{pd.Timestamp(int(day), unit='D'):%Y-%m-%d}"
