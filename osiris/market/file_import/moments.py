"""Dates and moments as files write them; none of them is guessed.

These are read as they are: `2024-01-03` (also with `/` or `.`), alone or followed by a time of day and an offset; a
month by name, such as `Jan 03, 2024`; seconds, milli-, micro- or nanoseconds since 1970. A day and a month in numbers,
such as `1/3/2024`, are read if another row of the file proves their order. All else needs `ImportOptions.date_format`.
"""

import re
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from osiris.core.clock import VALID_YEARS
from osiris.core.errors import BadInput
from osiris.market.file_import.options import ImportOptions

NO_TIME = np.iinfo(np.int64).min
"""Stands for no moment, and for no day. NaT of `datetime64` has the same bits, so it becomes this value by itself."""
DAY_US = 86_400_000_000
"""Microseconds in a day of 24 hours."""
TIME_PATTERN = (
    r"(?:[T ]+(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)[ ]*(?P<zone>Z|UTC|GMT|(?:UTC|GMT)?[+-]\d{2}:?\d{2})?)?$"
)
YEAR_FIRST_PATTERN = r"^(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})" + TIME_PATTERN
NUMERIC_DATE_PATTERN = r"^(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})[-/.](?P<year>\d{4})" + TIME_PATTERN
MONTH_NAME_FORMATS = {
    r"^[A-Za-z]{3}[a-z]*\.? \d{1,2},? \d{4}$": ("%b %d %Y", "%B %d %Y"),
    r"^\d{1,2}[- ][A-Za-z]{3}[a-z]*[- ]\d{4}$": ("%d %b %Y", "%d %B %Y"),
}
EPOCH_PATTERN = r"^(\d{9,10}|\d{12,13}|\d{15,16}|\d{18,19})(\.0+)?$"
EPOCH_UNITS: dict[Literal["s", "ms", "us", "ns"], tuple[int, int]] = {
    "s": (9, 10),
    "ms": (12, 13),
    "us": (15, 16),
    "ns": (18, 19),
}
"""The numbers of digits that each unit has between 1973 and 2286; the ranges of two units do not overlap."""
DATE_FORMAT_HINT = "; write it so, or say what it is by --date-format"


class Moments(NamedTuple):
    """The moments of n rows, each array of shape (n,).

    `at` is in microseconds UTC. `day` is the day that a row names, in days since 1970. Both are `NO_TIME` for none: a
    plain date has no `at`, and a moment has a `day` only at midnight of its own offset. `reason` says why a row could
    not be read, and is empty for one that was.
    """

    at: NDArray[np.int64]
    day: NDArray[np.int64]
    reason: NDArray[np.object_]


class MomentReader:
    """Reads the dates of a file chunk by chunk. The first chunk that proves the order of day and month sets it."""

    def __init__(self, options: ImportOptions, file: object) -> None:
        """Read as `options` say; errors name `file`."""
        self._options = options
        self._file = file
        self._day_first: bool | None = None

    def read(self, values: pd.Series, clock: pd.Series | None = None) -> Moments:
        """The moments of a column, or of a column of dates and one of times of day.

        Raises `BadInput` if most rows leave the order of day and month open.
        """
        if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
            return self._of_times(values)
        texts = values.astype("str").fillna("").str.strip()
        if clock is not None:
            texts = texts + " " + clock.astype("str").fillna("").str.strip()
        # Dates repeat in a file of many tickers, so each distinct text is read once.
        codes, distinct = pd.factorize(texts)
        found = self._of_texts(pd.Series(distinct, dtype="str"))
        return Moments._make(column[codes] for column in found)

    def _of_times(self, values: pd.Series) -> Moments:
        aware = values.dt.tz is not None
        local = (values.dt.tz_localize(None) if aware else values).dt.as_unit("us")
        minutes = pd.Series(np.nan, values.index)
        if aware:
            offset = local - values.dt.tz_convert("UTC").dt.tz_localize(None).dt.as_unit("us")
            minutes = offset / pd.Timedelta(minutes=1)
        timed = pd.Series(np.full(len(values), aware)) | (local != local.dt.normalize()).to_numpy()
        return self._moments(local, minutes, timed, values.astype("str"))

    def _of_texts(self, texts: pd.Series) -> Moments:
        if self._options.date_format:
            local, minutes, timed = self._by_format(texts)
        else:
            local, minutes, timed = self._by_shape(texts)
        return self._moments(local, minutes, timed, texts)

    def _by_format(self, texts: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
        """As `_by_shape`, by the format that the person gave."""
        date_format = self._options.date_format
        aware = re.search(r"%z|%Z|%s", date_format) is not None
        local = pd.to_datetime(texts, format=date_format, errors="coerce", utc=aware)
        local = (local.dt.tz_localize(None) if aware else local).dt.as_unit("us")
        timed = re.search(r"%[HIMSfTXcs]", date_format) is not None
        # With an offset pandas has converted the texts to UTC, so the remaining offset is 0.
        minutes = pd.Series(0.0 if aware else np.nan, texts.index)
        return local, minutes, pd.Series(timed, texts.index)

    def _by_shape(self, texts: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
        """The local time of each text (NaT for none), its offset in minutes, and whether it has a time of day."""
        parts = _extract_parts(texts, YEAR_FIRST_PATTERN)
        numbers = _extract_parts(texts, NUMERIC_DATE_PATTERN)
        if (numbers["year"] != "").any():
            parts = parts.where(parts["year"] != "", self._ordered(numbers))
        local, minutes, timed = _compose(parts)
        rest = texts[local.isna()]
        if len(rest):
            named = _parse_month_names(rest)
            epoch = _parse_epochs(rest)
            local = local.fillna(named).fillna(epoch)
            minutes[epoch.dropna().index] = 0.0
            timed[epoch.dropna().index] = True
        return local, minutes, timed

    def _ordered(self, numbers: pd.DataFrame) -> pd.DataFrame:
        """Days and months in the order that one of the rows proves, because no month has a number above 12."""
        first, second = (pd.to_numeric(numbers[name], errors="coerce").max() for name in ("a", "b"))
        if self._day_first is None:
            if (first > 12) == (second > 12):
                return self._open_order(numbers)
            self._day_first = bool(first > 12)
        day, month = ("a", "b") if self._day_first else ("b", "a")
        return numbers.assign(day=numbers[day], month=numbers[month])[["year", "month", "day", "time", "zone"]]

    def _open_order(self, numbers: pd.DataFrame) -> pd.DataFrame:
        """The rows without a date, since their order is open; raises `BadInput` if they are more than half of all."""
        unordered = numbers["year"] != ""
        if unordered.mean() > 0.5:
            example = "/".join(numbers.loc[unordered, ["a", "b", "year"]].iloc[0])
            got = f"{example} in {self._file}, which may be either"
            remedy = "say --date-format %d/%m/%Y or --date-format %m/%d/%Y, with the separators of the file"
            raise BadInput("dates whose day and month can be told apart", got, remedy)
        return numbers.assign(year="", month="", day="", time="", zone="")[["year", "month", "day", "time", "zone"]]

    def _moments(self, local: pd.Series, minutes: pd.Series, timed: pd.Series, texts: pd.Series) -> Moments:
        """Moments and days from local times, their offsets in minutes (NaN for none) and whether they have a time."""
        known = local.notna().to_numpy() & local.dt.year.isin(VALID_YEARS).to_numpy()
        midnight = known & (local == local.dt.normalize()).to_numpy()
        aware = minutes.notna().to_numpy()
        at = np.full(len(local), NO_TIME)
        at[known & aware] = local.to_numpy("datetime64[us]").astype(np.int64)[known & aware]
        at[known & aware] -= (minutes.to_numpy(np.float64)[known & aware] * 60_000_000).astype(np.int64)
        naive = known & ~aware & timed.to_numpy(np.bool_)
        if self._options.timezone:
            zoned = local[naive].dt.tz_localize(self._options.timezone, ambiguous="NaT", nonexistent="NaT")
            zoned = zoned.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
            at[naive] = zoned  # NaT has the value of NO_TIME
        day = np.full(len(local), NO_TIME)
        day[midnight] = local.to_numpy("datetime64[us]").astype(np.int64)[midnight] // DAY_US
        reason = np.full(len(local), "", object)
        reason[~known] = [_unread_reason(text) for text in texts[~known]]
        lost = known & (at == NO_TIME) & (day == NO_TIME)
        # A row with a time of day and no offset shows that the column holds moments. So a midnight without an offset is
        # one of them too, and not a date.
        if lost.any():
            lost |= naive & (at == NO_TIME)
            day[lost] = NO_TIME
        why = "is there twice or never in that time zone" if self._options.timezone else "has no offset; see --timezone"
        reason[lost] = [f"the moment {text!r} {why}" for text in texts[lost]]
        return Moments(at, day, reason)


def _unread_reason(text: str) -> str:
    if re.fullmatch(r"(19|20)\d{6}( \d{6})?", text):
        date_format = "%Y%m%d %H%M%S" if " " in text else "%Y%m%d"
        return f"the date {text!r} is no YYYY-MM-DD; if it is one without hyphens say --date-format '{date_format}'"
    return f"the date {text!r} is no YYYY-MM-DD nor a moment with an offset{DATE_FORMAT_HINT}"


def _extract_parts(texts: pd.Series, pattern: str) -> pd.DataFrame:
    """The named groups of a pattern as columns, with empty texts where it does not match."""
    found = pc.extract_regex(pa.array(texts, pa.string()), pattern)
    columns = {field.name: pc.fill_null(found.field(index), "") for index, field in enumerate(found.type)}
    matched = found.is_valid().to_numpy(zero_copy_only=False)
    table = pd.DataFrame({name: column.to_pandas() for name, column in columns.items()}, index=texts.index, dtype="str")
    return table.where(pd.Series(matched, texts.index), "")


def _compose(parts: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """The local time of each row (NaT for none), its offset in minutes (NaN for none), whether it has a time of day."""
    # ISO 8601 needs two digits for hour, day and month.
    time = parts["time"].where(~parts["time"].str.match(r"\d:"), "0" + parts["time"])
    days = parts["year"] + "-" + parts["month"].str.zfill(2) + "-" + parts["day"].str.zfill(2)
    texts = days.where(time == "", days + "T" + time)
    local = pd.to_datetime(texts, format="ISO8601", errors="coerce").dt.as_unit("us")
    zone = parts["zone"].str.replace(":", "").replace({"Z": "+0000", "UTC": "+0000", "GMT": "+0000"})
    zone = zone.str.replace(r"^(?:UTC|GMT)", "", regex=True)
    minutes = pd.to_numeric(zone.str[1:3], errors="coerce") * 60 + pd.to_numeric(zone.str[3:5], errors="coerce")
    minutes = minutes.astype("float64") * np.where(zone.str[:1] == "-", -1.0, 1.0)
    # An offset of a day or more is an error of the file; such a row has no time at all.
    minutes = minutes.where(minutes.abs() < 24 * 60)
    local = local.where((zone == "") | minutes.notna())
    return local, minutes, time != ""


def _parse_month_names(texts: pd.Series) -> pd.Series:
    found = pd.Series(pd.NaT, texts.index, dtype="datetime64[us]")
    for pattern, date_formats in MONTH_NAME_FORMATS.items():
        matching = texts[texts.str.match(pattern)].str.replace(r"[,.]", "", regex=True).str.replace("-", " ")
        for date_format in date_formats:
            found = found.fillna(pd.to_datetime(matching, format=date_format, errors="coerce").dt.as_unit("us"))
    return found


def _parse_epochs(texts: pd.Series) -> pd.Series:
    """Seconds, milli-, micro- or nanoseconds since 1970; the number of digits gives the unit."""
    found = pd.Series(pd.NaT, texts.index, dtype="datetime64[us]")
    digits = texts[texts.str.match(EPOCH_PATTERN)].str.replace(r"\.0+$", "", regex=True)
    for unit, lengths in EPOCH_UNITS.items():
        numbers = digits[digits.str.len().isin(lengths)].astype("int64")
        found[numbers.index] = pd.to_datetime(numbers, unit=unit).dt.as_unit("us")
    return found
