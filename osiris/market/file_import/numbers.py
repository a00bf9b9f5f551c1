"""Numbers as files write them: with currency signs, thousands separators, a decimal point or a decimal comma.

The prices of the first rows decide between point and comma. If they leave it open, an error asks for the option.
"""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from osiris.core.errors import BadInput

ABSENT_TEXTS = ("", "-", "--", "nan", "null", "none", "n/a", "na", "#n/a", "<na>", "nat")
"""The texts that stand for no number, in lower case."""
IGNORED_CHARACTERS = "[$€£¥' \u00a0\u202f]"
GROUPED_PATTERNS = {".": r"^-?\d{1,3}(,\d{2})*(,\d{3})+(\.\d*)?$", ",": r"^-?(\d{1,3}(\.\d{3})+|\d+)(,\d*)?$"}
DECIMAL_POINT_PATTERN = re.compile(r",\d{3}\.\d|^\d{1,3}(?:,\d{3}){2,}$|^\d+\.(?:\d{1,2}|\d{4,})$")
DECIMAL_COMMA_PATTERN = re.compile(r"\.\d{3},\d|^\d{1,3}(?:\.\d{3}){2,}$|^\d+,(?:\d{1,2}|\d{4,})$")
"""Texts that prove their sign: both signs, two groups of thousands, or decimals that are not three digits."""
VOLUME_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9}
MAX_SPLIT_RATIO = 5000.0
"""A larger ratio, or one below its inverse, is taken for an error of the file."""


def detect_decimal(prices: pd.DataFrame, file: object) -> str:
    """The decimal sign of a table's prices; raises `BadInput` if they leave it open or use both."""
    texts = [column[column.str.contains(",", regex=False)] for _, column in prices.items() if column.dtype == "str"]
    with_comma = pd.concat(texts) if texts else pd.Series(dtype="str")
    if with_comma.empty:
        return "."
    shown = pd.concat([column for _, column in prices.items()]).str.replace(IGNORED_CHARACTERS, "", regex=True)
    point, comma = (bool(shown.str.contains(sign).any()) for sign in (DECIMAL_POINT_PATTERN, DECIMAL_COMMA_PATTERN))
    if point == comma:
        got = f"{with_comma.iloc[0]!r} in {file}"
        raise BadInput("prices with either a decimal point or a decimal comma", got, "say --decimal . or --decimal ,")
    return "," if comma else "."


def parse_numbers(values: pd.Series, decimal: str = ".") -> NDArray[np.float64]:
    """The numbers of a column, shape (n,); NaN for a text that is no number."""
    if values.dtype != "str" and values.dtype != object:
        return values.to_numpy(np.float64, na_value=np.nan, copy=True)
    texts = values.astype("str").fillna("")
    if decimal == ".":
        try:
            numbers = pa.array(texts, pa.string()).cast(pa.float64())
            return np.array(numbers.to_numpy(zero_copy_only=False), np.float64)
        except pa.ArrowInvalid:  # one of them is no plain number
            found = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64, copy=True)
    else:
        found = np.full(len(texts), np.nan)
    odd = np.flatnonzero(np.isnan(found))
    found[odd] = _clean_and_parse(texts.iloc[odd], decimal)
    return found


def _clean_and_parse(texts: pd.Series, decimal: str) -> NDArray[np.float64]:
    """Numbers with currency signs, spaces or thousands separators; NaN for other texts."""
    bare = texts.str.replace(IGNORED_CHARACTERS, "", regex=True)
    grouped = bare.str.match(GROUPED_PATTERNS[decimal])
    thousands = "," if decimal == "." else "."
    plain = bare.str.replace(thousands, "", regex=False).str.replace(decimal, ".", regex=False)
    signed = bare != texts.str.strip()
    # With a decimal point, `1,2` fits no pattern and is no number. A text without thousands is used there only if a
    # currency sign or a space was removed from it: plain numbers were read before.
    usable = plain.where(grouped, bare.where(signed & (decimal == "."), ""))
    return pd.to_numeric(usable, errors="coerce").to_numpy(np.float64)


def parse_volumes(values: pd.Series, decimal: str) -> NDArray[np.float64]:
    """Volumes, shape (n,), also such as `45.6K`; NaN for other texts.

    A bad volume refuses no row, since no result depends on one.
    """
    found = parse_numbers(values, decimal)
    odd = np.flatnonzero(np.isnan(found))
    if len(odd):
        texts = values.iloc[odd].astype("str").str.strip().str.lower()
        unit = texts.str[-1:].map(VOLUME_UNITS)
        found[odd] = parse_numbers(texts.str[:-1].where(unit.notna(), ""), decimal) * unit.to_numpy(np.float64)
    found[~(found >= 0) | np.isinf(found)] = np.nan
    return found


def parse_splits(values: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Split ratios (NaN for none) and the reason against each bad one (else empty), both of shape (n,).

    Vendors also write 0 for no split.
    """
    found = parse_numbers(values)
    absent = is_absent(values)
    reason = np.full(len(found), "", object)
    wrong = ~absent & (found != 0) & ~((found >= 1 / MAX_SPLIT_RATIO) & (found <= MAX_SPLIT_RATIO))
    reason[wrong] = [
        f"split {text!r} is no ratio between 1/{MAX_SPLIT_RATIO:.0f} and {MAX_SPLIT_RATIO:.0f}; "
        "write 2 for two new shares for one, 0.1 for one for ten"
        for text in values[wrong].astype("str")
    ]
    found[absent | (found == 0) | wrong] = np.nan
    return found, reason


def is_absent(values: pd.Series) -> NDArray[np.bool_]:
    """Whether each value says that there is no number, shape (n,)."""
    return (values.isna() | values.astype("str").str.strip().str.lower().isin(ABSENT_TEXTS)).to_numpy(np.bool_)
