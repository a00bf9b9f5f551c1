"""Reports on a terminal: JSON for programs, tables for people."""

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from osiris.core.ideas import INVISIBLE_CATEGORIES

MAX_NARROW_COLUMNS = 6
MAX_CELL_CHARACTERS = 24
"""In a table of more than `MAX_NARROW_COLUMNS` columns, a column with a longer cell is printed below the table."""
MAX_LISTED_ITEMS = 8
"""A list of more items is shown as their number: so many ids or hashes tell a reader nothing."""
MILLION = 1e6
ISO_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?(?:Z|\+00:00)")


def to_json_values(report: Any) -> Any:
    """Turn a report (a dataclass, or a dict or list that may contain some) into JSON values.

    Moments become ISO 8601, paths become text. A value that JSON does not have becomes null: NaN, an infinity, or a
    missing moment. Raises `TypeError` for a value of another type.
    """
    if report is None or isinstance(report, bool | str | int):
        return str(report) if isinstance(report, Enum) else report
    if isinstance(report, float):
        return float(report) if math.isfinite(report) else None
    if isinstance(report, dict):
        return {str(name): to_json_values(value) for name, value in report.items()}
    if isinstance(report, list | tuple | set | frozenset):
        return [to_json_values(value) for value in report]
    if is_dataclass(report) and not isinstance(report, type):
        return {part.name: to_json_values(getattr(report, part.name)) for part in fields(report)}
    return _json_scalar(report)


def to_json(report: Any, indent: int | None = 1) -> str:
    """Write a report as JSON in ASCII, without NaN and the like, so that every parser accepts it."""
    return json.dumps(to_json_values(report), indent=indent, allow_nan=False)


def to_printable(text: str) -> str:
    """Make `text` safe for a terminal: control characters (ESC, bidirectional marks) become escapes such as `\\\\x1b`.

    Line breaks and tabs stay.
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in INVISIBLE_CATEGORIES and character not in "\n\t"
        else character
        for character in text
    )


def print_report(report: Any, title: str) -> None:
    """Print a report as a table of names and values; nested reports as `name.part`."""
    table = Table(title=_printable_text(title), show_header=False, title_justify="left")
    for name, value in named_values(to_json_values(report)):
        table.add_row(_printable_text(name), Text(value))
    Console().print(table)


def print_rows(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Print rows that share their keys as a table, with moments to the minute.

    The long texts of a wide table are printed below it, each after the first cell of its row.
    """
    console = Console()
    if not rows:
        return console.print(_printable_text(f"{title}: nothing yet"))
    names = list(rows[0])
    below = [
        name for name in names if len(names) > MAX_NARROW_COLUMNS and _max_cell_length(rows, name) > MAX_CELL_CHARACTERS
    ]
    shown = [name for name in names if name not in below]
    table = Table(title=_printable_text(title), title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)
    for name in shown:
        numbers = all(isinstance(row[name], int | float | None) for row in rows)
        longest, header = _max_cell_length(rows, name), to_printable(name.replace("_", " "))
        width = max(longest, *map(len, header.split())) if longest <= MAX_CELL_CHARACTERS else None
        table.add_column(header, justify="right" if numbers else "left", width=width)
    for row in rows:
        table.add_row(*(Text(_format_cell(row[name])) for name in shown))
    console.print(table)
    for name in below:
        texts = Table(title=name.replace("_", " "), title_justify="left", box=None, show_header=False, pad_edge=False)
        for row in rows:
            texts.add_row(_format_value(row[names[0]]), Text(_format_value(row[name])))
        console.print(texts)


def _max_cell_length(rows: Sequence[dict[str, Any]], name: str) -> int:
    return max((len(_format_cell(row[name])) for row in rows), default=0)


def named_values(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Format the JSON values of a report for people.

    Numbers have six digits, nested values are named `name.part`, and a long list becomes the number of its items.
    """
    lines = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            lines += named_values(value, f"{prefix}{name}.")
        elif isinstance(value, list) and len(value) > MAX_LISTED_ITEMS:
            lines.append((prefix + name, f"{len(value)} items"))
        else:
            lines.append((prefix + name, _format_value(value)))
    return lines


def _format_value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value / MILLION:,.2f}M" if abs(value) >= MILLION else f"{value:.6g}"
    if isinstance(value, list):
        return "\n".join(_format_value(item) for item in value) or "-"
    return to_printable(str(value))


def _printable_text(text: str) -> Text:
    """Make a text without markup and without control characters."""
    return Text(to_printable(text))


def _format_cell(value: Any) -> str:
    return ISO_MOMENT.sub(r"\1 \2", _format_value(value))


def _json_scalar(value: object) -> Any:
    if isinstance(value, date | datetime):  # pandas' NaT is a datetime too; only NaT differs from itself
        return value.isoformat() if value == value else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):  # a NumPy scalar
        return to_json_values(value.item())
    raise TypeError(f"a report holds JSON values, moments and paths, got {type(value).__name__}")
