"""Bars of two lengths in one series: the longer ones would be known before they ended.

Files do not say how long a bar lasts. What tells it is how the bars of a stretch lie, against those of the whole.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import BAR_MINUTES
from osiris.market.file_import.calendar_positions import CalendarPositions, is_on_step, minutes_since_open
from osiris.market.file_import.intervals import STEP_MINUTES, SeriesRejected

MAX_RUN_PROBABILITY = 1e-12
"""Of a run that is taken for bars of another length."""
COMPLETE_SHARE, MIN_MISSING_BARS = 0.8, 5
"""Where sessions usually have that share of their bars, one that lacks so many, all those between, has longer ones."""
MAX_EARLY_BARS = 2
"""So many bars that end early may be slips of the pen."""


def reject_mixed_intervals(at: NDArray[np.int64], positions: CalendarPositions, calendar: str, interval: str) -> None:
    """Refuse bars of which so many in a row begin on a coarser grid that no gaps explain it: they last longer.

    Bars that are lacking at random leave a run of n on a grid of m times the interval with a chance of m to the -n.
    """
    minutes, inside = BAR_MINUTES[interval], positions.session >= 0
    moments, first = np.unique(at[inside], return_index=True)
    session = positions.session[inside][first]
    since = minutes_since_open(moments, session, positions.opens, calendar)
    telling = (since[0] != 0) & (since[1] != 0)
    moments, session, since = moments[telling], session[telling], (since[0][telling], since[1][telling])
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
    """Where bars begin that are `times` as long: a run of them, or a whole session where most others lack few bars."""
    edges = np.diff(np.r_[0, on, 0].astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    found = begins[ends - begins >= np.ceil(-np.log(MAX_RUN_PROBABILITY) / np.log(times))]
    numbers, first, which = np.unique(session, return_index=True, return_inverse=True)
    coarse = np.bincount(which, on, len(numbers))
    fine = np.bincount(which, ~on, len(numbers))
    there = fine[fine > 0] / np.maximum(coarse[fine > 0] * (times - 1), 1)
    if len(there) and np.median(there) > COMPLETE_SHARE:
        lacking = (fine == 0) & ((coarse - 1) * (times - 1) >= MIN_MISSING_BARS)  # between its first bar and its last
        found = np.concatenate([found, first[lacking]])
    return np.sort(found)


def find_overlapping_bars(
    at: NDArray[np.int64], ends: NDArray[np.int64], positions: CalendarPositions
) -> NDArray[np.int64]:
    """The index of bars that another one follows before they end: they are shorter than the others."""
    order = np.argsort(at, kind="stable")
    order = order[positions.session[order] >= 0]
    moments, first = np.unique(at[order], return_index=True)
    early = moments[:-1][moments[1:] < ends[order][first][:-1]]
    found = np.flatnonzero((positions.session >= 0) & np.isin(at, early))
    return found if len(early) > MAX_EARLY_BARS else found[:0]
