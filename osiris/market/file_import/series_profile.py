"""The profile of a series: its ticker, its calendar and the length of its bars, decided once for all its rows."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osiris.config.sections import PricesSettings
from osiris.core.errors import BadInput
from osiris.core.ideas import parse_ticker
from osiris.market.bar_pieces import MAX_PIECE_BARS
from osiris.market.calendars import BAR_MINUTES, DAILY, calendar_of
from osiris.market.file_import.calendar_positions import is_in_session, locate_rows, session_opens
from osiris.market.file_import.intervals import (
    SeriesRejected,
    detect_interval,
    is_dated,
    reject_stamped_at_end,
    row_days,
)
from osiris.market.file_import.spool import SeriesKey, Spool
from osiris.market.file_import.tickers import TICKER_REMEDY


class SeriesProfile(NamedTuple):
    """The facts that hold for all rows of a series.

    `daily` says that its pieces are not checked again for being daily bars. `regular_hours` says that bars outside of
    the sessions are left out.
    """

    ticker: str
    calendar: str
    interval: str
    daily: bool
    regular_hours: bool


def profile_series(spool: Spool, key: SeriesKey, prices: PricesSettings) -> SeriesProfile:
    """The profile of a series, from all its bars; of more than `MAX_PIECE_BARS` bars, from every n-th session.

    Raises `SeriesRejected` for a series whose bars have a length that Osiris cannot use.
    """
    try:
        ticker = parse_ticker(key.ticker)
    except BadInput as error:
        raise SeriesRejected(f"have the ticker {key.ticker!r}, which is no symbol; {TICKER_REMEDY}") from error
    calendar = calendar_of(ticker, prices)
    times = spool.read_times(key)
    many = len(times) > MAX_PIECE_BARS
    if many:
        # n is rounded up, so the sample is about one piece or less. Whole sessions are taken, since a sample of single
        # rows would show wrong distances between bars.
        session = np.searchsorted(session_opens(calendar), times["at"], side="right")
        sample = times[session % -(-len(times) // MAX_PIECE_BARS) == 0]
        # A small sample means few, crowded sessions; it would say too little.
        times = sample if len(sample) >= MAX_PIECE_BARS // 4 else times
    positions = locate_rows(times["at"], calendar)
    days = row_days(times["at"], times["day"], positions)
    regular_hours = spool.options.regular_hours and not is_dated(times["at"], days, positions)
    if regular_hours:
        reject_stamped_at_end(times["at"], positions)
        inside = is_in_session(times["at"], positions)
        times, positions, days = times[inside], positions.select(inside), days[inside]
        if not len(times):
            raise SeriesRejected(f"all lie outside of the sessions of {calendar}")
    interval, _ = detect_interval(times["at"], days, positions, calendar, daily=spool.options.daily)
    _reject_other_length(times["lasts"], interval, calendar)
    return SeriesProfile(ticker, calendar, interval, spool.options.daily or many, regular_hours)


def _reject_other_length(lasts: NDArray[np.float64], interval: str, calendar: str) -> None:
    """Refuse bars whose column of ends contradicts the interval, by more than a second in the median.

    Daily bars are checked only around the clock: elsewhere a session is shorter than a day.
    """
    known = lasts[np.isfinite(lasts)]
    if not len(known) or (interval == DAILY and not calendar.startswith("24/")):
        return
    seconds = BAR_MINUTES.get(interval, 1440) * 60
    usual = float(np.median(known))
    if abs(usual - seconds) > 1:
        raise SeriesRejected(f"last {usual / 60:.0f} minutes by their column of ends, not {seconds / 60:.0f}")
