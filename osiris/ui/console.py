"""Reports on a terminal: plain values for JSON, rich tables for people."""

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def plain(report: Any) -> dict[str, Any]:
    """A dataclass or dict as JSON values: moments in ISO 8601, paths as text."""
    values = asdict(report) if is_dataclass(report) and not isinstance(report, type) else dict(report)
    return json.loads(json.dumps(values, default=_plain, allow_nan=False))


def print_report(report: Any, title: str) -> None:
    """Print a report as a table of names and values; nested reports as `name.part`."""
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in _flat(plain(report)):
        table.add_row(name, Text(value))
    Console().print(table)


def print_rows(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Print rows that share their keys as a table."""
    table = Table(title=title, title_justify="left")
    for name in rows[0] if rows else ["nothing yet"]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(_short(value)) for value in row.values()))
    Console().print(table)


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            lines += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and len(value) > 8:
            lines.append((prefix + name, f"{len(value)} items"))
        else:
            lines.append((prefix + name, _short(value)))
    return lines


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "\n".join(_short(item) for item in value) or "-"
    return str(value)


def _plain(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a report holds JSON values, moments and paths, got {type(value).__name__}")
