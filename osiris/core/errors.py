"""The named errors of Osiris. Each message says what was expected, what was found instead, and what to do."""


class OsirisError(Exception):
    """Base of every error that a person can act on. A command prints it on one line and exits with status 2."""

    def __init__(self, expected: str, actual: str, remedy: str) -> None:
        """Build the message `expected ...; got ...; <remedy>`."""
        super().__init__(f"expected {expected}; got {actual}; {remedy}")
        self.expected = expected
        self.actual = actual
        self.remedy = remedy


class SettingsError(OsirisError):
    """A setting is unknown, of the wrong type or out of range."""


class WorkspaceError(OsirisError):
    """The workspace folder cannot be used."""


class NotInstalled(OsirisError):
    """A part of Osiris that this needs is not installed. The message names the extra that brings it."""


class DamagedBars(WorkspaceError):
    """A file of bars cannot be read. Only the ticker of this file is affected."""


class BadInput(OsirisError):
    """A file, row or request that a person gave is malformed. Nothing of it was stored."""


class NotFound(OsirisError):
    """An id, adapter or ticker does not exist."""


class Conflict(OsirisError):
    """Another person decided first. The message names the person, the decision and the moment."""


class NoPrices(OsirisError):
    """No source has the requested bars."""


class SourceUnavailable(OsirisError):
    """A source did not answer (network, rate limit). This says nothing about the instrument.

    `retry_after` is the number of seconds to wait before the next request, if the source named one.
    """

    retry_after: float | None = None


class Busy(OsirisError):
    """The same job is running in another process. Nothing was done."""


class TooLittleData(OsirisError):
    """A step of the nightly run has fewer rows than it needs. It publishes nothing; the next run tries again."""


class AdapterRejected(OsirisError):
    """An adapter folder failed validation and is not served."""
