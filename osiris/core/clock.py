"""One clock for the whole workspace: the system's, or a fixed one for history."""

from datetime import UTC, datetime
from typing import Protocol

from osiris.core.errors import BadInput

VALID_YEARS = range(1900, 2200)
"""A moment outside of these years is a typing error. pandas counts nanoseconds in 64 bits, which end in 2262."""


class Clock(Protocol):
    """Anything that tells the time as an aware UTC datetime."""

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the current moment in UTC."""
        return datetime.now(UTC)


class FixedClock:
    """A clock that stands still until it is set. It never runs backwards."""

    def __init__(self, moment: datetime) -> None:
        """Start at `moment` (aware)."""
        self._moment = as_utc(moment)

    def now(self) -> datetime:
        """Return the moment the clock stands at."""
        return self._moment

    def set(self, moment: datetime) -> None:
        """Move the clock to `moment`; raises `BadInput` if that is before the moment it stands at."""
        moment = as_utc(moment)
        if moment < self._moment:
            raise BadInput(
                f"a moment at or after {self._moment.isoformat()}",
                moment.isoformat(),
                "a historical clock only moves forwards",
            )
        self._moment = moment


def clock_at(moment: datetime | None) -> Clock:
    """Return a clock that stands at `moment` (aware), or the system's clock without one."""
    return FixedClock(moment) if moment else SystemClock()


def as_utc(moment: datetime) -> datetime:
    """Return `moment` in UTC; raises `BadInput` for a naive datetime, because its zone is unknown."""
    if moment.tzinfo is None:
        raise BadInput("a datetime with a time zone", moment.isoformat(), "add an offset such as +00:00")
    return moment.astimezone(UTC)


def parse_moment(text: str) -> datetime:
    """Read an ISO 8601 moment with offset, e.g. `2005-02-28T21:00:00+00:00`; raises `BadInput` otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput("an ISO 8601 moment", repr(text), "write e.g. 2005-02-28T21:00:00+00:00") from error
    if moment.year not in VALID_YEARS:
        raise BadInput(f"a moment of the years {VALID_YEARS.start} to {VALID_YEARS.stop - 1}", repr(text), "correct it")
    return as_utc(moment)
