"""What all commands share: options, an open workspace, and how a report is printed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from osiris.workspace import Workspace

Folder = Annotated[Path | None, typer.Option("--workspace", "-w", help="Workspace folder (default: this one).")]
AsOf = Annotated[str, typer.Option("--as-of", help="Moment of the run, ISO 8601 with offset (default: now).")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else there.")]
BarTicker = Annotated[str, typer.Option("--ticker", help="The ticker of all bars, whatever the file calls it.")]
DateFormat = Annotated[str, typer.Option("--date-format", help="How its dates are written, such as %d/%m/%Y.")]
Delimiter = Annotated[str, typer.Option("--delimiter", help="What stands between its fields, such as ; or tab.")]
Decimal = Annotated[str, typer.Option("--decimal", help="The decimal sign of its prices: a point or a comma.")]
Timezone = Annotated[str, typer.Option("--timezone", help="Of moments without an offset, such as America/New_York.")]
Daily = Annotated[bool, typer.Option("--daily", help="Each row is the bar of one session, whatever its time is.")]


@contextmanager
def opened(workspace: Path | None, as_of: str = "") -> "Iterator[Workspace]":
    """An open workspace, closed at the end."""
    from osiris.workspace import opened

    with opened(workspace, as_of) as ws:
        yield ws


def report(what: Any, as_json: bool, title: str) -> None:
    """Print a report for a person, or as one JSON object."""
    from osiris.ui.console import plain, print_report

    print(json.dumps(plain(what), indent=1)) if as_json else print_report(what, title)


def rows(found: list[dict[str, Any]], as_json: bool, title: str) -> None:
    """Print rows for a person, or as one JSON list."""
    from osiris.ui.console import print_rows

    print(json.dumps(found, indent=1)) if as_json else print_rows(found, title)
