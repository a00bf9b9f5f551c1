"""What is decided of a series as a whole, however many rows it has: its ticker, calendar and length."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osiris.config.settings import Prices
from osiris.core.errors import BadInput
from osiris.core.ideas import ticker_symbol
from osiris.market.bar_pieces import PIECE
from osiris.market.calendars import DAILY, MINUTES, calendar_of
from osiris.market.file_import.lengths import Refused, length_of, named_days, names_days, reject_stamped_at_end
from osiris.market.file_import.spool import Key, Spool
from osiris.market.file_import.tickers import REMEDY
from osiris.market.file_import.where import in_session, places, session_opens


class About(NamedTuple):
    """What is known of a series as a whole; `daily`: that its bars are daily is not to be asked again.

    `regular`: bars outside of the sessions are left out.
    """

    ticker: str
    calendar: str
    interval: str
    daily: bool
    regular: bool


def about(spool: Spool, key: Key, prices: Prices) -> About:
    """Ticker, calendar and length of the bars, from all of them or, of many, from every so-manieth session.

    Raises `Refused` for a series whose bars have another length than Osiris can use.
    """
    try:
        ticker = ticker_symbol(key.ticker)
    except BadInput as error:
        raise Refused(f"have the ticker {key.ticker!r}, which is no symbol; {REMEDY}") from error
    calendar = calendar_of(ticker, prices)
    heads = spool.heads(key)
    many = len(heads) > PIECE
    if many:
        session = np.searchsorted(session_opens(calendar), heads["at"], side="right")
        some = heads[session % -(-len(heads) // PIECE) == 0]
        heads = some if len(some) >= PIECE // 4 else heads
    where = places(heads["at"], calendar)
    days = named_days(heads["at"], heads["day"], where)
    regular = spool.form.regular and not names_days(heads["at"], days, where)
    if regular:
        reject_stamped_at_end(heads["at"], where)
        inside = in_session(heads["at"], where)
        heads, where, days = heads[inside], where.only(inside), days[inside]
        if not len(heads):
            raise Refused(f"all lie outside of the sessions of {calendar}")
    interval, _ = length_of(heads["at"], days, where, calendar, daily=spool.form.daily)
    _check_ends(heads["lasts"], interval, calendar)
    return About(ticker, calendar, interval, spool.form.daily or many, regular)


def _check_ends(lasts: NDArray[np.float64], interval: str, calendar: str) -> None:
    """Where a column tells when bars ended, they have to be as long as they seem."""
    told = lasts[np.isfinite(lasts)]
    if not len(told) or (interval == DAILY and not calendar.startswith("24/")):
        return
    seconds = MINUTES.get(interval, 1440) * 60
    usual = float(np.median(told))
    if abs(usual - seconds) > 1:
        raise Refused(f"last {usual / 60:.0f} minutes by their column of ends, not {seconds / 60:.0f}")
