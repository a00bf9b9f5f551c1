"""The bars of one ticker in one file, checked against its exchange's calendar."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.core.row_files import BadRow
from osiris.market.calendars import BAR_MINUTES, DAILY, PRICE_COLUMNS, daily_frame, describe_non_session, intraday_frame
from osiris.market.file_import.calendar_positions import (
    MINUTE_US,
    CalendarPositions,
    is_in_session,
    is_on_grid,
    locate_rows,
)
from osiris.market.file_import.intervals import MAJORITY_SHARE, SeriesRejected, detect_interval, row_days
from osiris.market.file_import.mixed_intervals import find_overlapping_bars, reject_mixed_intervals
from osiris.market.file_import.moments import DAY_US, NO_TIME
from osiris.market.file_import.series_profile import SeriesProfile
from osiris.market.file_import.spool import SeriesKey

VALUE_COLUMNS = [*PRICE_COLUMNS, "volume", "split"]
CALENDAR_HINT = ", the calendar of {}; another is named under [prices.calendars], for a label by --calendar"
REGULAR_HOURS_HINT = "; --regular-hours leaves out what lies outside of them"


@dataclass(frozen=True)
class FileBars:
    """Bars of one ticker and interval (`1d` or a name of `calendars.BAR_MINUTES`), in the format of `calendars`."""

    ticker: str
    interval: str
    frame: pd.DataFrame


class SeriesResult(NamedTuple):
    """The bars of one ticker in one file: the good bars (`None` for none) and the bad rows.

    `rejected` says that the rest of the series cannot be used. `outside` counts the rows outside of the sessions that
    were left out.
    """

    ticker: str
    bars: FileBars | None
    bad: list[BadRow]
    rejected: bool = False
    outside: int = 0


def check_series(key: SeriesKey, rows: NDArray[np.void], profile: SeriesProfile, as_of: datetime) -> SeriesResult:
    """The good bars and the bad rows of a series, or of a piece of one; `rows` have the type `spool.ROW_DTYPE`."""
    ticker, calendar, interval, daily, regular_hours = profile
    positions = locate_rows(rows["at"], calendar)
    inside = is_in_session(rows["at"], positions) if regular_hours else np.ones(len(rows), np.bool_)
    rows, positions = rows[inside], positions.select(inside)
    outside = int((~inside).sum())
    if not len(rows):
        return SeriesResult(ticker, None, [], outside=outside)
    try:
        if interval == DAILY:
            _, days = detect_interval(
                rows["at"], row_days(rows["at"], rows["day"], positions), positions, calendar, daily=daily
            )
        else:
            days = positions.by_row(positions.dates)
            reject_mixed_intervals(rows["at"], positions, calendar, interval)
    except SeriesRejected as error:
        return to_rejected_series(key, ticker, (len(rows), int(rows["line"].min())), error)
    # Rows that are bad already were reported when they were read, so they get an empty reason here. Of several reasons
    # against one row the first counts.
    reasons: dict[int, str] = {int(i): "" for i in np.flatnonzero(rows["bad"])}
    for index, reason in _find_bad_rows(rows, days, positions, (calendar, _describe_ticker(key)), as_of, interval):
        reasons.setdefault(int(index), reason)
    bad = [BadRow(key.file, int(rows["line"][index]), reason) for index, reason in reasons.items() if reason]
    good = np.ones(len(rows), np.bool_)
    good[list(reasons)] = False
    _drop_repeats(good, days if interval == DAILY else rows["at"])
    if not good.any():
        return SeriesResult(ticker, None, bad, outside=outside)
    values = pd.DataFrame({name: rows[name][good] for name in VALUE_COLUMNS})
    source = f"file:{key.file.name}".replace("+", " ")
    if interval == DAILY:
        frame = daily_frame(pd.DatetimeIndex(_dates(days[good])), values, calendar, source)
    else:
        starts = pd.DatetimeIndex(rows["at"][good].view("datetime64[us]")).tz_localize("UTC")
        frame = intraday_frame(starts, values, calendar, interval, source)
    return SeriesResult(ticker, FileBars(ticker, interval, frame), bad, outside=outside)


def join_pieces(pieces: Iterable[FileBars]) -> list[FileBars]:
    """The same bars, with pieces joined that follow one another in time and come from files of the same name."""
    groups: list[list[FileBars]] = []
    for piece in pieces:
        if groups and _follows(piece, groups[-1][-1]):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [
        FileBars(group[0].ticker, group[0].interval, pd.concat([piece.frame for piece in group], ignore_index=True))
        if len(group) > 1
        else group[0]
        for group in groups
    ]


def _follows(piece: FileBars, other: FileBars) -> bool:
    """Whether a piece continues another one, which comes before it."""
    first = piece.frame.iloc[0]
    last = other.frame.iloc[-1]
    same = (piece.ticker, piece.interval, first["source"]) == (other.ticker, other.interval, last["source"])
    return same and bool(first["start"] >= last["end"])


def to_rejected_series(key: SeriesKey, ticker: str, size: tuple[int, int], error: SeriesRejected) -> SeriesResult:
    """The result for a series that cannot be used; `size` is the number of its rows and the line of the first."""
    count, line = size
    reason = f"the {count} bars of {_describe_ticker(key)} from here on {error}"
    return SeriesResult(ticker, None, [BadRow(key.file, line, reason)], rejected=True)


def _describe_ticker(key: SeriesKey) -> str:
    return f"{key.ticker} (the ticker is from the file's name)" if key.from_file_name else key.ticker


class _CheckedRows(NamedTuple):
    """The result of the checks of n rows, which report a bad row as its index and the reason.

    `bar` identifies the bar of each row by a day or a moment, and `ends` is when it ends; both are of shape (n,).
    `first` and `last` are the bad rows: the reason that rows of one bar differ ranks between the two.
    """

    bar: NDArray[np.int64]
    ends: NDArray[np.int64]
    first: list[tuple[int, str]]
    last: list[tuple[int, str]]


def _find_bad_rows(
    rows: NDArray[np.void],
    days: NDArray[np.int64],
    positions: CalendarPositions,
    names: tuple[str, str],
    as_of: datetime,
    interval: str,
) -> Iterator[tuple[int, str]]:
    """The index of each bad row and the reason, the gravest reasons first; `names` are the calendar and the ticker."""
    checked = (
        _check_daily(rows, days, positions, names)
        if interval == DAILY
        else _check_intraday(rows, positions, names, interval)
    )
    yield from checked.first
    yield from _find_differing(rows, checked.bar, interval)
    yield from checked.last
    # No look-ahead: a bar that ends after `as_of` (nanoseconds, hence // 1000) was not complete then.
    unfinished = (
        (checked.ends != NO_TIME) & (checked.ends > pd.Timestamp(as_of).value // 1000) & (checked.bar != NO_TIME)
    )
    for i in np.flatnonzero(unfinished).tolist():
        yield i, f"the bar is not complete at {as_of.isoformat()}"


def _check_daily(
    rows: NDArray[np.void], days: NDArray[np.int64], positions: CalendarPositions, names: tuple[str, str]
) -> _CheckedRows:
    """The checks of daily bars: each names a session, and is not stamped inside it."""
    session = _sessions(days, positions)
    calendar, ticker = names
    closed = [
        (i, describe_non_session(calendar, _dates(days[i : i + 1])[0]) + CALENDAR_HINT.format(ticker))
        for i in np.flatnonzero((session < 0) & (days != NO_TIME)).tolist()
    ]
    ends = np.where(session >= 0, positions.closes[np.maximum(session, 0)], NO_TIME)
    # A vendor stamps the bar of the running day with the time of the download. Such a bar is not complete.
    live = (
        (rows["day"] == NO_TIME) & (rows["at"] != NO_TIME) & (positions.session >= 0) & (positions.local % DAY_US != 0)
    )
    live &= (
        (rows["at"] < ends)
        & (rows["at"] > positions.by_row(positions.opens))
        & ~_has_usual_clock(rows["at"], positions)
    )
    early = "the bar is stamped inside the session: the day was not over when it was written"
    return _CheckedRows(days, ends, closed, [(i, early) for i in np.flatnonzero(live).tolist()])


def _has_usual_clock(at: NDArray[np.int64], positions: CalendarPositions) -> NDArray[np.bool_]:
    """Whether each row has the time of day that most rows have: the file then writes its days so."""
    clock = np.where(at != NO_TIME, positions.local % DAY_US, -1)
    times, which, counts = np.unique(clock, return_inverse=True, return_counts=True)
    return (counts[which] >= MAJORITY_SHARE * len(at)) & (times[which] >= 0) & (len(at) > 1)


def _check_intraday(
    rows: NDArray[np.void], positions: CalendarPositions, names: tuple[str, str], interval: str
) -> _CheckedRows:
    """The checks of shorter bars: each begins in a session, on the grid of the interval, and overlaps no other."""
    calendar, ticker = names
    at = rows["at"]
    outside = [
        (i, _outside_reason(at[i], positions, calendar) + CALENDAR_HINT.format(ticker) + REGULAR_HOURS_HINT)
        for i in np.flatnonzero((positions.session < 0) & (at != NO_TIME)).tolist()
    ]
    dates = np.flatnonzero((at == NO_TIME) & (rows["day"] != NO_TIME)).tolist()
    dates_only = [(i, "a date without a moment, among bars that have one") for i in dates]
    on_grid = is_on_grid(at, positions, calendar, BAR_MINUTES[interval])
    off_grid = [
        (i, f"the bar does not begin a multiple of {interval} after the open")
        for i in np.flatnonzero((positions.session >= 0) & ~on_grid).tolist()
    ]
    # The last bar of a session may be shorter than the interval: it ends at the close.
    ends = np.minimum(at + BAR_MINUTES[interval] * MINUTE_US, positions.by_row(positions.closes))
    overlapping = find_overlapping_bars(at, ends, positions).tolist()
    cut_short = [(i, "another bar begins before this one ends") for i in overlapping]
    return _CheckedRows(at, ends, [*outside, *dates_only, *off_grid], cut_short)


def _sessions(days: NDArray[np.int64], positions: CalendarPositions) -> NDArray[np.int64]:
    """The index of the session on each day, -1 for none."""
    at = np.minimum(np.searchsorted(positions.dates, days), len(positions.dates) - 1)
    return np.where(positions.dates[at] == days, at, -1)


def _outside_reason(at: int, positions: CalendarPositions, calendar: str) -> str:
    """The reason why a moment is in no session: the exchange was closed, or the calendar does not reach so far."""
    day = pd.Timestamp(int(at), unit="us").normalize()
    if not positions.opens[0] <= at < positions.closes[-1]:
        return describe_non_session(calendar, day)
    return f"the bar begins outside of the session of {calendar}, at {pd.Timestamp(int(at), unit='us')} UTC"


def _find_differing(rows: NDArray[np.void], bar: NDArray[np.int64], interval: str) -> Iterator[tuple[int, str]]:
    """The rows of one bar that differ: nobody knows which of them is right, so all of them are bad."""
    known = np.flatnonzero((bar != NO_TIME) & ~rows["bad"])
    order = known[np.argsort(bar[known], kind="stable")]
    if not len(order):
        return
    # In sorted order the rows of bar k are those from edges[k] to edges[k + 1].
    edges = np.flatnonzero(np.r_[True, bar[order][1:] != bar[order][:-1], True])
    for k in np.flatnonzero(np.diff(edges) > 1):
        same = order[edges[k] : edges[k + 1]]
        # A missing split is NaN, and means a ratio of 1.
        if any(len(np.unique(np.nan_to_num(rows[name][same], nan=1.0))) > 1 for name in (*PRICE_COLUMNS, "split")):
            lines = ", ".join(str(line) for line in sorted(rows["line"][same])[:5])
            what = "date" if interval == DAILY else "moment"
            for i in same.tolist():
                yield i, f"the {what} is there {len(same)} times with other values, in lines {lines}"


def _drop_repeats(good: NDArray[np.bool_], bar: NDArray[np.int64]) -> None:
    """Keep only the first of the good rows of each bar, which are equal."""
    kept = np.flatnonzero(good)
    _, first = np.unique(bar[kept], return_index=True)
    good[:] = False
    good[kept[first]] = True


def _dates(days: NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(days.astype("datetime64[D]").astype("datetime64[s]"))
