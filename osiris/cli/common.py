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

Folder = Annotated[Path | None, typer.Option("--workspace", "-w", help="Workspace folder (default: this one).")]
AsOf = Annotated[str, typer.Option("--as-of", help="Moment of the run, ISO 8601 with offset (default: now).")]


class Stdout:
    """Where `--json` goes; all that anybody else prints goes to stderr once it is asked for."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self._own: int | None = None

    def reserve(self, asked: bool) -> bool:
        """Keep stdout for the one answer: libraries and the programs that they start write to stderr from now on."""
        if asked and self._own is None and sys.stdout is sys.__stdout__:
            sys.stdout.flush()
            self._own = os.dup(1)
            with contextlib.suppress(OSError):  # there is no stderr
                os.dup2(2, 1)
        return asked

    def say(self, what: Any, indent: int | None = 1) -> None:
        """Write `what` as JSON and a newline."""
        from osiris.ui.console import to_json

        if self._own is None:
            return print(to_json(what, indent), flush=True)
        with open(os.dup(self._own), "w", encoding="ascii") as out:
            out.write(to_json(what, indent) + "\n")


def one_name(name: str) -> str:
    """The callback of every option that takes a person's name."""
    from osiris.core.ideas import person_name

    return person_name(name)


By = Annotated[str, typer.Option("--by", callback=one_name, help="Your name.")]
stdout = Stdout()
Json = Annotated[
    bool,
    typer.Option("--json", callback=stdout.reserve, is_eager=True, help="One JSON value on stdout, and nothing else."),
]
BarTicker = Annotated[str, typer.Option("--ticker", help="The ticker of all bars, whatever the file calls it.")]
DateFormat = Annotated[str, typer.Option("--date-format", help="How its dates are written, such as %d/%m/%Y.")]
Delimiter = Annotated[str, typer.Option("--delimiter", help="What stands between its fields, such as ; or tab.")]
Decimal = Annotated[str, typer.Option("--decimal", help="The decimal sign of its prices: a point or a comma.")]
Timezone = Annotated[str, typer.Option("--timezone", help="Of moments without an offset, such as America/New_York.")]
Regular = Annotated[bool, typer.Option("--regular-hours", help="Leave out bars before the open and after the close.")]
Daily = Annotated[
    bool,
    typer.Option("--daily", help="Each row is the bar of a session, though stamped at its open or close."),
]


@contextmanager
def opened(workspace: Path | None, as_of: str = "") -> "Iterator[Workspace]":
    """An open workspace, closed at the end."""
    from osiris.policy import edit_note
    from osiris.workspace import opened

    if note := edit_note():
        print(f"osiris: {note}", file=sys.stderr)
    with opened(workspace, as_of) as ws:
        yield ws


def report(what: Any, as_json: bool, title: str) -> None:
    """Print a report for a person, or as one JSON object."""
    from osiris.ui.console import print_report

    stdout.say(what) if as_json else print_report(what, title)


def rows(found: list[dict[str, Any]], as_json: bool, title: str) -> None:
    """Print rows for a person, or as one JSON list."""
    from osiris.ui.console import print_rows

    stdout.say(found) if as_json else print_rows(found, title)
