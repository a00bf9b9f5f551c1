"""Dates and moments as files write them; nothing about them is guessed.

Read as they are: `2024-01-03` (also with `/` or `.`), with a time of day and an offset behind it; months by name, such
as `Jan 03, 2024`; seconds, milli-, micro- or nanoseconds since 1970. Days and months in numbers alone, such as
`1/3/2024`, are read where another row of the file proves their order. Anything else needs `Form.date_format`.
"""

import re
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from osiris.core.clock import VALID_YEARS
from osiris.core.errors import BadInput
from osiris.market.file_import.options import ImportOptions

NO_TIME = np.iinfo(np.int64).min
"""Stands for no moment, and for no day."""
DAY_US = 86_400_000_000
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
DATE_FORMAT_HINT = "; write it so, or say what it is by --date-format"


class Moments(NamedTuple):
    """Of each row, shape (n,): `at` in microseconds UTC, `day` that it names, in days since 1970; or `NONE`.

    A plain date has no `at`; a moment has a `day` at its own midnight alone. `reason` is empty for a row that was read.
    """

    at: NDArray[np.int64]
    day: NDArray[np.int64]
    reason: NDArray[np.object_]


class MomentReader:
    """Reads the columns of a file, chunk by chunk: the order of day and month is that of its first chunk."""

    def __init__(self, options: ImportOptions, file: object) -> None:
        """Read as `form` says; `file` is named in errors."""
        self._form, self._file, self._day_first = options, file, None

    def read(self, values: pd.Series, clock: pd.Series | None = None) -> Moments:
        """The moments of a column, or of one of dates and one of times of day; raises `BadInput` for an open order."""
        if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
            return self._of_times(values)
        texts = values.astype("str").fillna("").str.strip()
        if clock is not None:
            texts = texts + " " + clock.astype("str").fillna("").str.strip()
        codes, distinct = pd.factorize(texts)
        found = self._of_texts(pd.Series(distinct, dtype="str"))
        return Moments(*(column[codes] for column in found))

    def _of_times(self, values: pd.Series) -> Moments:
        aware = values.dt.tz is not None
        local = (values.dt.tz_localize(None) if aware else values).dt.as_unit("us")
        offset = (local - values.dt.tz_convert("UTC").dt.tz_localize(None).dt.as_unit("us")) if aware else None
        minutes = offset / pd.Timedelta(minutes=1) if aware else pd.Series(np.nan, values.index)
        timed = pd.Series(np.full(len(values), aware)) | (local != local.dt.normalize()).to_numpy()
        return self._moments(local, minutes, timed, values.astype("str"))

    def _of_texts(self, texts: pd.Series) -> Moments:
        if self._form.date_format:
            local, minutes, timed = self._by_format(texts)
        else:
            local, minutes, timed = self._by_shape(texts)
        return self._moments(local, minutes, timed, texts)

    def _by_format(self, texts: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
        options = self._form.date_format
        aware = re.search(r"%z|%Z|%s", options) is not None
        local = pd.to_datetime(texts, format=options, errors="coerce", utc=aware)
        local = (local.dt.tz_localize(None) if aware else local).dt.as_unit("us")
        hours = re.search(r"%[HIMSfTXcs]", options) is not None
        minutes = pd.Series(0.0 if aware else np.nan, texts.index)
        return local, minutes, pd.Series(hours, texts.index)

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
        """Days and months in the order that one of the rows proves: no month has a number above 12."""
        first, second = (pd.to_numeric(numbers[name], errors="coerce").max() for name in ("a", "b"))
        if self._day_first is None:
            if (first > 12) == (second > 12):
                return self._open_order(numbers)
            self._day_first = bool(first > 12)
        day, month = ("a", "b") if self._day_first else ("b", "a")
        return numbers.assign(day=numbers[day], month=numbers[month])[["year", "month", "day", "time", "zone"]]

    def _open_order(self, numbers: pd.DataFrame) -> pd.DataFrame:
        """No date of such rows; raises `BadInput` where most are so."""
        mine = numbers["year"] != ""
        if mine.mean() > 0.5:
            came = f"{'/'.join(numbers.loc[mine, ['a', 'b', 'year']].iloc[0])} in {self._file}, which may be either"
            remedy = "say --date-format %d/%m/%Y or --date-format %m/%d/%Y, with the separators of the file"
            raise BadInput("dates whose day and month can be told apart", came, remedy)
        return numbers.assign(year="", month="", day="", time="", zone="")[["year", "month", "day", "time", "zone"]]

    def _moments(self, local: pd.Series, minutes: pd.Series, timed: pd.Series, texts: pd.Series) -> Moments:
        known = local.notna().to_numpy() & local.dt.year.isin(VALID_YEARS).to_numpy()
        midnight = known & (local == local.dt.normalize()).to_numpy()
        aware = minutes.notna().to_numpy()
        at = np.full(len(local), NO_TIME)
        at[known & aware] = local.to_numpy("datetime64[us]").astype(np.int64)[known & aware]
        at[known & aware] -= (minutes.to_numpy(np.float64)[known & aware] * 60_000_000).astype(np.int64)
        naive = known & ~aware & timed.to_numpy(np.bool_)
        if self._form.timezone:
            zoned = local[naive].dt.tz_localize(self._form.timezone, ambiguous="NaT", nonexistent="NaT")
            zoned = zoned.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]").astype(np.int64)
            at[naive] = zoned  # NaT is NONE
        day = np.full(len(local), NO_TIME)
        day[midnight] = local.to_numpy("datetime64[us]").astype(np.int64)[midnight] // DAY_US
        reason = np.full(len(local), "", object)
        reason[~known] = [_unread_reason(text) for text in texts[~known]]
        lost = known & (at == NO_TIME) & (day == NO_TIME)
        if lost.any():  # so midnight is an hour like the others, and no date
            lost |= naive & (at == NO_TIME)
            day[lost] = NO_TIME
        why = "is there twice or never in that time zone" if self._form.timezone else "has no offset; see --timezone"
        reason[lost] = [f"the moment {text!r} {why}" for text in texts[lost]]
        return Moments(at, day, reason)


def _unread_reason(text: str) -> str:
    if re.fullmatch(r"(19|20)\d{6}( \d{6})?", text):
        options = "%Y%m%d %H%M%S" if " " in text else "%Y%m%d"
        return f"the date {text!r} is no YYYY-MM-DD; if it is one without hyphens say --date-format '{options}'"
    return f"the date {text!r} is no YYYY-MM-DD nor a moment with an offset{DATE_FORMAT_HINT}"


def _extract_parts(texts: pd.Series, pattern: str) -> pd.DataFrame:
    """The named groups of a pattern, empty where it does not match."""
    found = pc.extract_regex(pa.array(texts, pa.string()), pattern)
    columns = {field.name: pc.fill_null(found.field(index), "") for index, field in enumerate(found.type)}
    matched = found.is_valid().to_numpy(zero_copy_only=False)
    table = pd.DataFrame({name: column.to_pandas() for name, column in columns.items()}, index=texts.index, dtype="str")
    return table.where(pd.Series(matched, texts.index), "")


def _compose(parts: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    time = parts["time"].where(~parts["time"].str.match(r"\d:"), "0" + parts["time"])
    days = parts["year"] + "-" + parts["month"].str.zfill(2) + "-" + parts["day"].str.zfill(2)
    texts = days.where(time == "", days + "T" + time)
    local = pd.to_datetime(texts, format="ISO8601", errors="coerce").dt.as_unit("us")
    zone = parts["zone"].str.replace(":", "").replace({"Z": "+0000", "UTC": "+0000", "GMT": "+0000"})
    zone = zone.str.replace(r"^(?:UTC|GMT)", "", regex=True)
    minutes = pd.to_numeric(zone.str[1:3], errors="coerce") * 60 + pd.to_numeric(zone.str[3:5], errors="coerce")
    minutes = minutes.astype("float64") * np.where(zone.str[:1] == "-", -1.0, 1.0)
    minutes = minutes.where(minutes.abs() < 24 * 60)
    local = local.where((zone == "") | minutes.notna())
    return local, minutes, time != ""


def _parse_month_names(texts: pd.Series) -> pd.Series:
    found = pd.Series(pd.NaT, texts.index, dtype="datetime64[us]")
    for pattern, forms in MONTH_NAME_FORMATS.items():
        mine = texts[texts.str.match(pattern)].str.replace(r"[,.]", "", regex=True).str.replace("-", " ")
        for options in forms:
            found = found.fillna(pd.to_datetime(mine, format=options, errors="coerce").dt.as_unit("us"))
    return found


def _parse_epochs(texts: pd.Series) -> pd.Series:
    """Seconds, milli-, micro- or nanoseconds since 1970, told apart by the number of their digits."""
    found = pd.Series(pd.NaT, texts.index, dtype="datetime64[us]")
    digits = texts[texts.str.match(EPOCH_PATTERN)].str.replace(r"\.0+$", "", regex=True)
    for unit, lengths in {"s": (9, 10), "ms": (12, 13), "us": (15, 16), "ns": (18, 19)}.items():
        mine = digits[digits.str.len().isin(lengths)].astype("int64")
        found[mine.index] = pd.to_datetime(mine, unit=unit).dt.as_unit("us")
    return found
