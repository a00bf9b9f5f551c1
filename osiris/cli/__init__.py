"""The command line: every command parses, calls the function that pages and flows call, and prints.

Exit status: 0 done, 1 done with something to look at, 2 an error that the one printed line explains.
"""

import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from osiris.cli.adapters import adapters_app
from osiris.cli.common import AsOfOption, JsonOption, WorkspaceOption, command_workspace, json_output, output_report
from osiris.cli.kernel import kernel_app
from osiris.cli.learning import learn_check_command, nightly_command
from osiris.cli.lineage import lineage_command, pairs_app
from osiris.cli.outcomes import close_command, events_app, label_command, outcomes_command
from osiris.cli.prices import prices_app
from osiris.core.errors import OsirisError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Osiris: a workspace in which the model that drafts trade advice learns from what happens to it.",
)


@app.command()
def demo_command(
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="A new or empty folder.")] = None,
    nights: Annotated[int, typer.Option(min=1, max=10, help="Nights to train.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop on a historical clock over real daily bars."""
    from osiris.demo.demo import print_demo, run_demo

    result = run_demo(workspace, nights)
    json_output.write(result) if as_json else print_demo(result)


@app.command()
def advise_command(
    workspace: WorkspaceOption = None,
    as_of: AsOfOption = "",
    sessions: Annotated[int, typer.Option(min=0, help="Draft at the last so many closes instead.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draft ideas on the configured tickers."""
    from osiris.drafting.draft_ideas import draft_ideas as draft_ideas
    from osiris.drafting.draft_ideas import drafting_moments

    with command_workspace(workspace, as_of) as ws:
        moments = drafting_moments(ws.settings, ws.now, sessions)
        done = draft_ideas(
            ws.advice, ws.prices, ws.events, ws.load_drafter(), ws.models.judge, ws.policy, ws.settings, moments
        )
        output_report(done, as_json, "Ideas drafted")


@app.command()
def status_command(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """What is in the workspace, and which adapter is served."""
    from osiris.serving.status import get_workspace_status

    with command_workspace(workspace) as ws:
        output_report(get_workspace_status(ws), as_json, "Workspace")


@app.command()
def api_command(
    workspace: WorkspaceOption = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: review_command.port; 0 picks one.")
    ] = None,
) -> None:
    """Serve the HTTP sidecar until interrupted."""
    from osiris.serving.launch import serve_api

    with command_workspace(workspace) as ws:
        serve_api(ws, port)


@app.command()
def review_command(
    workspace: WorkspaceOption = None,
    lab: Annotated[bool, typer.Option("--lab", help="In JupyterLab, as a notebook.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
    dark: Annotated[bool, typer.Option("--dark", help="Light on dark; JupyterLab has a theme of its own.")] = False,
) -> None:
    """Serve the Advisory tab (notebooks/02_review.ipynb) of a workspace as a page of its own."""
    from osiris.serving.launch import open_review

    with command_workspace(workspace) as ws:
        raise typer.Exit(open_review(ws, lab, port, browser, dark))


for command in (nightly_command, outcomes_command, label_command, close_command, lineage_command, learn_check_command):
    app.command()(command)
app.add_typer(adapters_app, name="adapters")
app.add_typer(prices_app, name="prices")
app.add_typer(pairs_app, name="pairs")
app.add_typer(events_app, name="events")
app.add_typer(kernel_app, name="kernel")


def main() -> None:
    """Run the command line; a named error becomes one line on stderr and exit status 2.

    SIGTERM and a closed terminal end it as Ctrl-C does: what it has opened is closed on the way out.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know no more than ASCII
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores one, and stays in charge
            signal.signal(number, _leave)
    try:
        app()
    except OsirisError as error:
        from osiris.ui.console import to_printable

        print(to_printable(f"osiris: {error}"), file=sys.stderr)
        raise SystemExit(2) from None


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)
