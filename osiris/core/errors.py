"""The named errors of Osiris. Each message says what was expected, what came, and what to do."""


class OsirisError(Exception):
    """Base of every error a person can act on; entrances print it on one line and exit with status 2."""

    def __init__(self, expected: str, actual: str, remedy: str) -> None:
        """Build the message `expected ...; got ...; <remedy>`."""
        super().__init__(f"expected {expected}; got {actual}; {remedy}")
        self.expected, self.actual, self.remedy = expected, actual, remedy


class SettingsError(OsirisError):
    """A setting is unknown, of the wrong type or out of range."""


class WorkspaceError(OsirisError):
    """The workspace folder cannot be used."""


class DamagedBars(WorkspaceError):
    """A file of bars cannot be read; it concerns one ticker alone."""


class BadInput(OsirisError):
    """A file, row or request that a person gave is malformed; nothing of it was kept."""


class NotFound(OsirisError):
    """An id, adapter or ticker that does not exist."""


class Conflict(OsirisError):
    """Somebody else decided first; the message says who, what and when."""


class NoPrices(OsirisError):
    """No source has the bars that were asked for."""


class SourceUnavailable(OsirisError):
    """A source could not be asked (network, limit); says nothing about the instrument.

    `retry_after` is how many seconds it wants to be left alone, where it said so.
    """

    retry_after: float | None = None


class Busy(OsirisError):
    """The same job is under way in another process; nothing was done."""


class TooLittleData(OsirisError):
    """A step of the night has fewer rows than it needs; it publishes nothing and is taken up next time."""


class AdapterRejected(OsirisError):
    """An adapter folder failed validation and is not served."""
