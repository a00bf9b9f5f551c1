"""Spans of time in which nobody can vouch for the bars, or for the price basis they are in."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import session_day

TimeArray = NDArray[np.int64]
MISSING_SESSION, DISPUTED, DAILY_CONFLICT, INTRADAY_CONFLICT, LONG_BAR, PRICE_JUMP = (
    "missing", "disputed", "contradicted", "differing", "long", "jump",
)  # fmt: skip
ISSUE_TEXTS = {
    MISSING_SESSION: "no bar of {day}",
    DISPUTED: "sources differ on {day}",
    DAILY_CONFLICT: "finer bars contradict the daily bar of {day}",
    INTRADAY_CONFLICT: "shorter bars contradict longer ones of {day}",
    LONG_BAR: "no bars follow that of {day} for days: it may be of more than its session",
    PRICE_JUMP: "a price jump on {day} looks like an unrecorded split",
}


class DataIssues(NamedTuple):
    """Spans of time (ns, by start) nobody can vouch for, the kind of each, and the calendar that names their days."""

    start: TimeArray
    end: TimeArray
    kinds: Sequence[str]
    calendar: str

    def describe(self, index: int) -> str:
        """Say what is in doubt, and on which day of the exchange."""
        day = session_day(self.calendar, pd.Timestamp(self.start[index], tz="UTC"))
        return ISSUE_TEXTS[self.kinds[index]].format(day=day)

    def first_after(self, moments: TimeArray) -> TimeArray:
        """Index of the first doubt that ends after each moment."""
        return np.searchsorted(np.maximum.accumulate(self.end), moments, side="right")
