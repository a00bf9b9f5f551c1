"""The parts that all commands share: options, an open workspace, and the printing of a report."""

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
    """The output of `--json`. Once it is reserved, everything that other code prints goes to stderr."""

    def __init__(self) -> None:
        """Reserve nothing yet."""
        self._descriptor: int | None = None

    def reserve(self, wanted: bool) -> bool:
        """Keep stdout for the one answer: libraries and the programs that they start write to stderr from now on.

        File descriptor 1 itself is redirected, because a program that a library starts inherits it.
        """
        stdout = sys.stdout
        if wanted and self._descriptor is None and stdout is sys.__stdout__ and stdout is not None:
            stdout.flush()
            self._descriptor = os.dup(1)
            with contextlib.suppress(OSError):  # a process can be started without a stderr
                os.dup2(2, 1)
        return wanted

    def write(self, value: Any, indent: int | None = 1) -> None:
        """Write `value` as JSON and a newline."""
        from osiris.ui.console import to_json

        if self._descriptor is None:
            return print(to_json(value, indent), flush=True)
        with open(os.dup(self._descriptor), "w", encoding="ascii") as out:
            out.write(to_json(value, indent) + "\n")


def name_callback(name: str) -> str:
    """Check the name of a person; the callback of every option that takes one."""
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
TickerOption = Annotated[str, typer.Option("--ticker", help="Ticker of all bars, in place of the file's own.")]
DateFormatOption = Annotated[str, typer.Option("--date-format", help="Format of the dates, such as %d/%m/%Y.")]
DelimiterOption = Annotated[str, typer.Option("--delimiter", help="Sign between the fields, such as ; or tab.")]
DecimalOption = Annotated[str, typer.Option("--decimal", help="Decimal sign of the prices: a point or a comma.")]
TimezoneOption = Annotated[
    str, typer.Option("--timezone", help="Zone of moments without an offset, such as America/New_York.")
]
RegularHoursOption = Annotated[
    bool, typer.Option("--regular-hours", help="Leave out bars before the open and after the close.")
]
DailyOption = Annotated[
    bool,
    typer.Option("--daily", help="Each row is one session's bar, even if it carries a time of day."),
]


@contextmanager
def command_workspace(workspace: Path | None, as_of: str = "") -> "Iterator[Workspace]":
    """Open the workspace of a command, and close it at the end; warn if the shipped policy was edited."""
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
