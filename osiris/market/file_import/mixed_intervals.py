"""Checks for bars of two lengths in one series.

Example: a file has hourly bars of January and 5-minute bars of February. If all of them were taken for 5-minute bars,
an hourly bar would count as known 55 minutes before it ended. Files do not say how long a bar lasts, so the lengths
follow from where the bars of one stretch begin, compared with all bars.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import BAR_MINUTES
from osiris.market.file_import.calendar_positions import CalendarPositions, is_on_step, minutes_since_open
from osiris.market.file_import.intervals import STEP_MINUTES, SeriesRejected

MAX_RUN_PROBABILITY = 1e-12
"""The largest probability that gaps alone make such a run; below it the run is taken for bars of another length."""
COMPLETE_SHARE = 0.8
"""Sessions that usually have more than this share of their bars make one that misses all in between suspicious."""
MIN_MISSING_BARS = 5
"""A session that misses so many bars, all those in between, then has longer bars."""
MAX_EARLY_BARS = 2
"""Up to so many bars that another one cuts short are kept, since the other one may be an error of the file."""


def reject_mixed_intervals(at: NDArray[np.int64], positions: CalendarPositions, calendar: str, interval: str) -> None:
    """Refuse a series with a run of bars on a coarser grid that is too long to come from gaps: those bars last longer.

    If bars are missing at random, a run of n bars on a grid of m times the interval has the probability m to the -n.
    """
    minutes = BAR_MINUTES[interval]
    inside = positions.session >= 0
    moments, first = np.unique(at[inside], return_index=True)
    session = positions.session[inside][first]
    since = minutes_since_open(moments, session, positions.opens, calendar)
    # A bar at the open, or at the end of the break, is on every grid and so proves no length.
    telling = (since[0] != 0) & (since[1] != 0)
    moments, session = moments[telling], session[telling]
    since = (since[0][telling], since[1][telling])
    for step in STEP_MINUTES:
        if step > minutes and step % minutes == 0:
            begins = _find_coarser(is_on_step(since, step), session, step // minutes)
            if len(begins):
                begin = pd.Timestamp(int(moments[begins[0]]), unit="us")
                raise SeriesRejected(
                    f"are {step} minutes apart from {begin:%Y-%m-%d %H:%M} UTC on, and {minutes} elsewhere; "
                    "give bars of one length to a file"
                )


def _find_coarser(on: NDArray[np.bool_], session: NDArray[np.int64], times: int) -> NDArray[np.int64]:
    """The first index of each stretch whose bars are `times` as long, `on` saying which begin on the coarser grid.

    A stretch is a long run, or a whole session if most sessions with finer bars are nearly complete.
    """
    edges = np.diff(np.r_[0, on, 0].astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    found = begins[ends - begins >= np.ceil(-np.log(MAX_RUN_PROBABILITY) / np.log(times))]
    numbers, first, which = np.unique(session, return_index=True, return_inverse=True)
    coarse = np.bincount(which, on, len(numbers))
    fine = np.bincount(which, ~on, len(numbers))
    # Each coarse bar has room for `times - 1` finer ones after it.
    present = fine[fine > 0] / np.maximum(coarse[fine > 0] * (times - 1), 1)
    if len(present) and np.median(present) > COMPLETE_SHARE:
        # Only the room between the first and the last bar counts, since a session may begin late or end early.
        missing = (fine == 0) & ((coarse - 1) * (times - 1) >= MIN_MISSING_BARS)
        found = np.concatenate([found, first[missing]])
    return np.sort(found)


def find_overlapping_bars(
    at: NDArray[np.int64], ends: NDArray[np.int64], positions: CalendarPositions
) -> NDArray[np.int64]:
    """The indices of bars that end after the next one begins, so that they are shorter than the series says.

    The result is empty if there are `MAX_EARLY_BARS` of them or fewer.
    """
    order = np.argsort(at, kind="stable")
    order = order[positions.session[order] >= 0]
    moments, first = np.unique(at[order], return_index=True)
    early = moments[:-1][moments[1:] < ends[order][first][:-1]]
    found = np.flatnonzero((positions.session >= 0) & np.isin(at, early))
    return found if len(early) > MAX_EARLY_BARS else found[:0]
