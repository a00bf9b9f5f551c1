"""The bars of one ticker in one file, checked against its exchange's calendar."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.core.row_files import BadRow
from osiris.market.calendars import DAILY, MINUTES, PRICE_COLUMNS, daily_frame, intraday_frame, no_session
from osiris.market.file_import.decided import About
from osiris.market.file_import.lengths import MOST, Refused, length_of, named_days
from osiris.market.file_import.mixed import cut_short, reject_coarser_part
from osiris.market.file_import.moments import DAY, NONE
from osiris.market.file_import.spool import Key
from osiris.market.file_import.where import MINUTE, Places, in_session, on_grid, places

VALUES = [*PRICE_COLUMNS, "volume", "split"]
CALENDAR = ", the calendar of {}; another is named under [prices.calendars], for a label by --calendar"
OUTSIDE = "; --regular-hours leaves out what lies outside of them"


@dataclass(frozen=True)
class FileBars:
    """Bars of one ticker and interval (`1d` or a name of `calendars.MINUTES`), in the format of `calendars`."""

    ticker: str
    interval: str
    frame: pd.DataFrame


class Series(NamedTuple):
    """What one file has of one ticker: the good bars (`None` for none) and the bad rows; `refused` whole or not.

    `outside` counts the rows outside of the sessions that were left out.
    """

    ticker: str
    bars: FileBars | None
    bad: list[BadRow]
    refused: bool = False
    outside: int = 0


def series_of(key: Key, rows: NDArray[np.void], told: About, as_of: datetime) -> Series:
    """The good bars of a series, or of a piece of one, and its bad rows; `rows` as `spool.ROW`."""
    ticker, calendar, interval, daily, regular = told
    where = places(rows["at"], calendar)
    inside = in_session(rows["at"], where) if regular else np.ones(len(rows), np.bool_)
    rows, where, outside = rows[inside], where.only(inside), int((~inside).sum())
    if not len(rows):
        return Series(ticker, None, [], outside=outside)
    try:
        if interval == DAILY:
            _, days = length_of(rows["at"], named_days(rows["at"], rows["day"], where), where, calendar, daily=daily)
        else:
            days = where.of(where.dates)
            reject_coarser_part(rows["at"], where, calendar, interval)
    except Refused as error:
        return refused(key, ticker, (len(rows), int(rows["line"].min())), error)
    reasons: dict[int, str] = {int(i): "" for i in np.flatnonzero(rows["bad"])}
    for index, reason in _problems(rows, days, where, (calendar, _said(key)), as_of, interval):
        reasons.setdefault(int(index), reason)
    bad = [BadRow(key.file, int(rows["line"][index]), reason) for index, reason in reasons.items() if reason]
    good = np.ones(len(rows), np.bool_)
    good[list(reasons)] = False
    _drop_repeats(good, days if interval == DAILY else rows["at"])
    if not good.any():
        return Series(ticker, None, bad, outside=outside)
    values = pd.DataFrame({name: rows[name][good] for name in VALUES})
    source = f"file:{key.file.name}".replace("+", " ")
    if interval == DAILY:
        frame = daily_frame(pd.DatetimeIndex(_dates(days[good])), values, calendar, source)
    else:
        starts = pd.DatetimeIndex(rows["at"][good].view("datetime64[us]")).tz_localize("UTC")
        frame = intraday_frame(starts, values, calendar, interval, source)
    return Series(ticker, FileBars(ticker, interval, frame), bad, outside=outside)


def joined_pieces(pieces: Iterable[FileBars]) -> list[FileBars]:
    """The same bars, those together that follow one another in time and come from files of one name."""
    groups: list[list[FileBars]] = []
    for piece in pieces:
        if groups and _follows(piece, groups[-1][-1]):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [
        FileBars(group[0].ticker, group[0].interval, pd.concat([one.frame for one in group], ignore_index=True))
        if len(group) > 1
        else group[0]
        for group in groups
    ]


def _follows(piece: FileBars, other: FileBars) -> bool:
    (first, last) = piece.frame.iloc[0], other.frame.iloc[-1]
    same = (piece.ticker, piece.interval, first["source"]) == (other.ticker, other.interval, last["source"])
    return same and first["start"] >= last["end"]


def refused(key: Key, ticker: str, size: tuple[int, int], error: Refused) -> Series:
    """A series of which nothing can be used; `size` is the number of its rows and the line of the first."""
    count, line = size
    reason = f"the {count} bars of {_said(key)} from here on {error}"
    return Series(ticker, None, [BadRow(key.file, line, reason)], refused=True)


def _said(key: Key) -> str:
    return f"{key.ticker} (the ticker is from the file's name)" if key.named else key.ticker


class _Checked(NamedTuple):
    """What is found of the rows: the bar of each (a day or a moment), when it ends, who is bad before and after that.

    A pair of the index and the reason; rows of one bar that differ come between the two.
    """

    found: NDArray[np.int64]
    ends: NDArray[np.int64]
    first: list[tuple[int, str]]
    last: list[tuple[int, str]]


def _problems(
    rows: NDArray[np.void],
    days: NDArray[np.int64],
    where: Places,
    names: tuple[str, str],
    as_of: datetime,
    interval: str,
) -> Iterator[tuple[int, str]]:
    """The index of a bad row and why it is bad, the gravest reasons first; `names` the calendar and the ticker."""
    checked = _days(rows, days, where, names) if interval == DAILY else _hours(rows, where, names, interval)
    yield from checked.first
    yield from _differing(rows, checked.found, interval)
    yield from checked.last
    unfinished = (checked.ends != NONE) & (checked.ends > pd.Timestamp(as_of).value // 1000) & (checked.found != NONE)
    for i in np.flatnonzero(unfinished):
        yield i, f"the bar is not complete at {as_of.isoformat()}"


def _days(rows: NDArray[np.void], days: NDArray[np.int64], where: Places, names: tuple[str, str]) -> _Checked:
    session = _sessions(days, where)
    calendar, ticker = names
    closed = [
        (i, no_session(calendar, _dates(days[i : i + 1])[0]) + CALENDAR.format(ticker))
        for i in np.flatnonzero((session < 0) & (days != NONE))
    ]
    ends = np.where(session >= 0, where.closes[np.maximum(session, 0)], NONE)
    live = (rows["day"] == NONE) & (rows["at"] != NONE) & (where.session >= 0) & (where.local % DAY != 0)
    live &= (rows["at"] < ends) & (rows["at"] > where.of(where.opens)) & ~_usual_clock(rows["at"], where)
    early = "the bar is stamped inside the session: the day was not over when it was written"
    return _Checked(days, ends, closed, [(i, early) for i in np.flatnonzero(live)])


def _usual_clock(at: NDArray[np.int64], where: Places) -> NDArray[np.bool_]:
    """Whether a row is stamped at the time of day of most others: then it is how the file writes a day."""
    clock = np.where(at != NONE, where.local % DAY, -1)
    times, which, counts = np.unique(clock, return_inverse=True, return_counts=True)
    return (counts[which] >= MOST * len(at)) & (times[which] >= 0) & (len(at) > 1)


def _hours(rows: NDArray[np.void], where: Places, names: tuple[str, str], interval: str) -> _Checked:
    calendar, ticker = names
    at = rows["at"]
    outside = [
        (i, _outside(at[i], where, calendar) + CALENDAR.format(ticker) + OUTSIDE)
        for i in np.flatnonzero((where.session < 0) & (at != NONE))
    ]
    dates = np.flatnonzero((at == NONE) & (rows["day"] != NONE))
    undated = [(i, "a date without a moment, among bars that have one") for i in dates]
    off = np.flatnonzero((where.session >= 0) & ~on_grid(at, where, calendar, MINUTES[interval]))
    apart = [(i, f"the bar does not begin a multiple of {interval} after the open") for i in off]
    ends = np.minimum(at + MINUTES[interval] * MINUTE, where.of(where.closes))
    within = [(i, "another bar begins before this one ends") for i in cut_short(at, ends, where)]
    return _Checked(at, ends, [*outside, *undated, *apart], within)


def _sessions(days: NDArray[np.int64], where: Places) -> NDArray[np.int64]:
    """Index of the session on each day, -1 for none."""
    at = np.minimum(np.searchsorted(where.dates, days), len(where.dates) - 1)
    return np.where(where.dates[at] == days, at, -1)


def _outside(at: int, where: Places, calendar: str) -> str:
    """Why a moment is in no session: the exchange was closed, or the calendar does not reach so far."""
    day = pd.Timestamp(int(at), unit="us").normalize()
    if not where.opens[0] <= at < where.closes[-1]:
        return no_session(calendar, day)
    return f"the bar begins outside of the session of {calendar}, at {pd.Timestamp(int(at), unit='us')} UTC"


def _differing(rows: NDArray[np.void], found: NDArray[np.int64], interval: str) -> Iterator[tuple[int, str]]:
    """Rows of one bar that differ: nobody knows which of them is right, so none is taken."""
    known = np.flatnonzero((found != NONE) & ~rows["bad"])
    order = known[np.argsort(found[known], kind="stable")]
    if not len(order):
        return
    edges = np.flatnonzero(np.r_[True, found[order][1:] != found[order][:-1], True])
    for many in np.flatnonzero(np.diff(edges) > 1):
        begin, end = edges[many], edges[many + 1]
        same = order[begin:end]
        if any(len(np.unique(np.nan_to_num(rows[name][same], nan=1.0))) > 1 for name in (*PRICE_COLUMNS, "split")):
            lines = ", ".join(str(line) for line in sorted(rows["line"][same])[:5])
            what = "date" if interval == DAILY else "moment"
            for i in same:
                yield i, f"the {what} is there {len(same)} times with other values, in lines {lines}"


def _drop_repeats(good: NDArray[np.bool_], found: NDArray[np.int64]) -> None:
    """Of equal rows the first is kept."""
    kept = np.flatnonzero(good)
    _, first = np.unique(found[kept], return_index=True)
    good[:] = False
    good[kept[first]] = True


def _dates(days: NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(days.astype("datetime64[D]").astype("datetime64[s]"))
