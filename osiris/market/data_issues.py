"""Data issues: spans of time in which the bars, or their price basis, cannot be trusted."""

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
    """Spans of time (ns, sorted by start), the kind of issue in each, and the calendar that names their days."""

    start: TimeArray
    end: TimeArray
    kinds: Sequence[str]
    calendar: str

    def describe(self, index: int) -> str:
        """Describe an issue and name its day on the exchange."""
        day = session_day(self.calendar, pd.Timestamp(self.start[index], tz="UTC"))
        return ISSUE_TEXTS[self.kinds[index]].format(day=day)

    def first_after(self, moments: TimeArray) -> TimeArray:
        """Index of the first issue that ends after each moment, shape of `moments`; the number of issues for none."""
        # The spans are sorted by start, and an early one may end late. Their running maximum is sorted by end: its
        # first element beyond a moment belongs to the first span that ends after it.
        return np.searchsorted(np.maximum.accumulate(self.end), moments, side="right")
