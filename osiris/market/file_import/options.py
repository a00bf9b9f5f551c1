"""The options by which a person describes files of bars, and the names that vendors give to their columns."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from osiris.core.errors import BadInput
from osiris.core.ideas import parse_ticker

DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
TIME_NAMES = ("ts", "date", "datetime", "timestamp", "time", "t", "gmttime", "utctime", "localtime")
EPOCH_NAMES = ("opentime", "unix", "unixtimestamp", "epoch")
COLUMN_ALIASES = {
    "open": ("open", "o", "openprice"),
    "high": ("high", "h", "highprice"),
    "low": ("low", "l", "lowprice"),
    "close": ("close", "c", "closeprice", "closelast", "price", "last", "latest"),
    "volume": ("volume", "vol", "v", "tickvol", "tickvolume"),
    "split": ("split", "splitcoefficient", "splitfactor", "splitratio"),
    "adjusted_split": ("stocksplits",),
    "ticker": ("ticker", "symbol", "sym", "code", "tic", "instrument", "tickersymbol", "pair", "stock"),
    "name": ("name",),
    "until": ("closetime",),
}
"""The names of each column, in lower-case letters and digits. The first of them that a file has is used."""


@dataclass(frozen=True)
class ImportOptions:
    """How files of bars are written, where the files leave it open.

    An empty option is found out from the file. If the file leaves it open too, an error asks for the option.

    `ticker` is the ticker of all rows. `date_format` is a format of strptime. `timezone` is for moments without offset.
    `daily` says that each row is the bar of one session although its dates or times look otherwise. `regular_hours`
    leaves out bars that begin outside of the sessions, before the open or after the close.
    """

    ticker: str = ""
    date_format: str = ""
    delimiter: str = ""
    decimal: str = ""
    timezone: str = ""
    daily: bool = False
    regular_hours: bool = False

    def __post_init__(self) -> None:
        """Check the options; raises `BadInput`."""
        if self.ticker:
            object.__setattr__(self, "ticker", parse_ticker(self.ticker))
        object.__setattr__(self, "delimiter", DELIMITERS.get(self.delimiter.lower(), self.delimiter))
        if len(self.delimiter) > 1 or self.delimiter in ('"', "\n", "\r"):
            raise BadInput("one character as --delimiter, or: tab", repr(self.delimiter), "correct it")
        if self.decimal not in ("", ".", ","):
            raise BadInput("a point or a comma as --decimal", repr(self.decimal), "correct it")
        self._check_time()

    def _check_time(self) -> None:
        try:
            ZoneInfo(self.timezone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            remedy = "name one such as America/New_York"
            raise BadInput("the name of a time zone as --timezone", repr(self.timezone), remedy) from error
        try:
            example = datetime(2024, 1, 3, tzinfo=UTC).strftime(self.date_format)
            if self.date_format:
                datetime.strptime(example, self.date_format)  # noqa: DTZ007
        except (ValueError, re.error) as error:
            got = f"{self.date_format!r} ({error})"
            raise BadInput("a --date-format such as %d/%m/%Y", got, "see Python's strptime") from error
        if self.date_format and not {"%Y", "%y", "%s", "%x", "%c"} & set(re.findall(r"%\w", self.date_format)):
            raise BadInput("a --date-format with year, month and day", repr(self.date_format), "such as %d/%m/%Y")


def normalize_name(name: object) -> str:
    """A column's name as in `COLUMN_ALIASES`: `1. open` and `<OPEN>` both become `open`.

    Only lower-case letters and digits stay, and a number with a dot at the front goes.
    """
    return re.sub(r"[^a-z0-9]", "", re.sub(r"^\s*\d+\.\s*", "", str(name).lower()))
