"""What all commands share: options, an open workspace, and how a report is printed."""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from osiris.workspace import Workspace

WorkspaceOption = Annotated[
    Path | None, typer.Option("--workspace", "-w", help="Workspace folder (default: this one).")
]
AsOfOption = Annotated[str, typer.Option("--as-of", help="Moment of the run, ISO 8601 with offset (default: now).")]


class JsonOutput:
    """Where `--json` goes; all that anybody else prints goes to stderr once it is asked for."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self._descriptor: int | None = None

    def reserve(self, wanted: bool) -> bool:
        """Keep stdout for the one answer: libraries and the programs that they start write to stderr from now on."""
        if wanted and self._descriptor is None and sys.stdout is sys.__stdout__:
            sys.stdout.flush()
            self._descriptor = os.dup(1)
            with contextlib.suppress(OSError):  # there is no stderr
                os.dup2(2, 1)
        return wanted

    def write(self, what: Any, indent: int | None = 1) -> None:
        """Write `what` as JSON and a newline."""
        from osiris.ui.console import to_json

        if self._descriptor is None:
            return print(to_json(what, indent), flush=True)
        with open(os.dup(self._descriptor), "w", encoding="ascii") as out:
            out.write(to_json(what, indent) + "\n")


def name_callback(name: str) -> str:
    """The callback of every option that takes a person's name."""
    from osiris.core.ideas import parse_person_name

    return parse_person_name(name)


NameOption = Annotated[str, typer.Option("--by", callback=name_callback, help="Your name.")]
json_output = JsonOutput()
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", callback=json_output.reserve, is_eager=True, help="One JSON value on stdout, and nothing else."
    ),
]
TickerOption = Annotated[str, typer.Option("--ticker", help="The ticker of all bars, whatever the file calls it.")]
DateFormatOption = Annotated[str, typer.Option("--date-format", help="How its dates are written, such as %d/%m/%Y.")]
DelimiterOption = Annotated[str, typer.Option("--delimiter", help="What stands between its fields, such as ; or tab.")]
DecimalOption = Annotated[str, typer.Option("--decimal", help="The decimal sign of its prices: a point or a comma.")]
TimezoneOption = Annotated[
    str, typer.Option("--timezone", help="Of moments without an offset, such as America/New_York.")
]
RegularHoursOption = Annotated[
    bool, typer.Option("--regular-hours", help="Leave out bars before the open and after the close.")
]
DailyOption = Annotated[
    bool,
    typer.Option("--daily", help="Each row is the bar of a session, though stamped at its open or close."),
]


@contextmanager
def command_workspace(workspace: Path | None, as_of: str = "") -> "Iterator[Workspace]":
    """An open workspace, closed at the end."""
    from osiris.policy import edit_warning
    from osiris.workspace import managed_workspace

    if note := edit_warning():
        print(f"osiris: {note}", file=sys.stderr)
    with managed_workspace(workspace, as_of) as ws:
        yield ws


def output_report(value: Any, as_json: bool, title: str) -> None:
    """Print a report for a person, or as one JSON object."""
    from osiris.ui.console import print_report

    json_output.write(value) if as_json else print_report(value, title)


def output_rows(values: list[dict[str, Any]], as_json: bool, title: str) -> None:
    """Print rows for a person, or as one JSON list."""
    from osiris.ui.console import print_rows

    json_output.write(values) if as_json else print_rows(values, title)
