"""The reply that a stored idea is trained on: as the model wrote it, with the values that a reviewer corrected.

A reply gives distances from the last price, and no entry. Some ideas cannot be expressed as such a reply: the entry was
edited, a level is out of a reply's bounds, or the row came from elsewhere. They are left out and counted, never
adjusted.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

from pydantic import ValidationError

from osiris.core.ideas import Reply, Status, levels_from_reply, parse_reply
from osiris.core.types import Row

JSON_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
LEVEL_COLUMNS = ("entry", "target", "stop")
MAX_DECIMALS = 4
"""The most decimals that a corrected number takes over from the model's own number."""
PRICE_ROUNDING = 1e-6
"""Prices are stored rounded to six decimals, so two prices this close are equal."""


def select_trainable(rows: Iterable[Row], left_out: Counter[str]) -> list[Row]:
    """The rows that can be trained on, each with its reply as `trained_reply`; `left_out` counts the rest by reason."""
    kept = []
    for row in rows:
        reply, reason = _trainable_reply(row)
        if reply is None:
            left_out[reason] += 1
        else:
            kept.append(row | {"trained_reply": reply})
    return kept


def describe_left_out(left_out: Counter[str]) -> str:
    """The text of a note about ideas that were left out; empty if there were none."""
    counts = ", ".join(f"{count} with {reason}" for reason, count in sorted(left_out.items()))
    return f"left out: {counts}" if counts else ""


def is_entry_at_price(row: Row) -> bool:
    """Whether the entry is the last price, as it always is for a reply."""
    return math.isclose(row["entry"], row["price"], abs_tol=PRICE_ROUNDING)


def replace_values(text: str, values: dict[str, str]) -> str | None:
    """A reply's text with the JSON of some values replaced, and no other character changed.

    `None` where a key does not occur exactly once: then nobody can tell which place is meant.
    """
    changed = text
    for key, value in values.items():
        pattern = rf'("{key}"\s*:\s*)(?:{JSON_NUMBER}|"(?:[^"\\]|\\.)*")'
        changed, count = re.subn(pattern, partial(_with_value, value), changed)
        if count != 1:
            return None
    return changed


def _with_value(value: str, match: re.Match[str]) -> str:
    """The key of `match` with another value, as a function: in a pattern of `re` a backslash would be an escape."""
    return match[1] + value


def _trainable_reply(row: Row) -> tuple[str | None, str]:
    """The reply that a row can be trained on and an empty reason, or `None` and the reason."""
    original = parse_reply(row["reply"], row["ticker"]) if isinstance(row["reply"], str) else None
    if original is None or not row["prompt"] or not row["prompt_id"] or str(original.side) != row["side"]:
        return None, "no prompt or no valid reply of their own"
    if not all(map(_is_positive, (row[name] for name in (*LEVEL_COLUMNS, "price", "atr")))) or not _is_share(
        row["confidence"]
    ):
        return None, "levels, a price, an ATR or a confidence that are missing or no numbers"
    sign = original.side.sign
    if not sign * row["stop"] < sign * row["entry"] < sign * row["target"]:
        return None, "levels that make no trade"
    if row["status"] != Status.EDITED:
        return row["reply"], ""
    if not is_entry_at_price(row):
        return None, "an edited entry, which a reply cannot name"
    return _corrected(row, original), "an edit that a reply cannot say"


def _corrected(row: Row, original: Reply) -> str | None:
    """The reply with the numbers that the reviewer changed, written like the old ones; `None` if that is impossible."""
    values: dict[str, float] = {}
    for name, level in _as_drafted(row, original).items():
        if not math.isclose(row[name], level, abs_tol=PRICE_ROUNDING):
            key = f"{name}_atr"
            values[key] = round(abs(row[name] - row["entry"]) / row["atr"], max(1, _decimals(row["reply"], key)))
    if row["confidence"] != original.confidence:
        values["confidence"] = row["confidence"]
    texts = {key: _as_written(row["reply"], key, value) for key, value in values.items()}
    corrected = replace_values(row["reply"], texts)
    try:
        expected = Reply(**original.model_dump() | values)
    except ValidationError:
        return None
    # read back: the new text must mean exactly the corrected values, whatever the model wrote around them
    return corrected if corrected is not None and parse_reply(corrected, row["ticker"]) == expected else None


def _as_drafted(row: Row, original: Reply) -> dict[str, float]:
    """Target and stop of the reply in prices; NaN if they make no trade."""
    try:
        levels = levels_from_reply(original, row["price"], row["atr"])
    except ValueError:
        return {"target": math.nan, "stop": math.nan}
    return {"target": levels.target, "stop": levels.stop}


def _as_written(text: str, key: str, value: float) -> str:
    """`value` with as many decimals as the number of `key` has in `text`, or more if it needs them."""
    needed = 0 if float(value).is_integer() else len(repr(float(value)).partition(".")[2])
    plain = f"{value:.{max(_decimals(text, key), needed)}f}"
    return plain if float(plain) == value else json.dumps(value)


def _decimals(text: str, key: str) -> int:
    """How many decimals the number of `key` has in `text`, at most `MAX_DECIMALS`."""
    old = re.search(rf'"{key}"\s*:\s*({JSON_NUMBER})', text)
    return min(len(old[1].partition(".")[2]), MAX_DECIMALS) if old and "e" not in old[1].lower() else 1


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def replace_ticker(text: str, ticker: str) -> str | None:
    """A reply's text with another ticker; `None` if its ticker cannot be replaced."""
    return replace_values(text, {"ticker": json.dumps(ticker)})
