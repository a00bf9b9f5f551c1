"""The command line. Each command parses its options, calls the function that notebooks and flows call, and prints.

Exit status: 0 when all is done; 1 when it is done and something needs a look; 2 for an error, which the one printed
line explains.
"""

import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from osiris import __version__
from osiris.cli.adapters import adapters_app
from osiris.cli.common import AsOfOption, JsonOption, WorkspaceOption, command_workspace, json_output, output_report
from osiris.cli.kernel import kernel_app
from osiris.cli.learning import learn_check_command, nightly_command
from osiris.cli.lineage import lineage_command, pairs_app
from osiris.cli.models import models_app
from osiris.cli.notes import notes_app, prompt_command
from osiris.cli.outcomes import close_command, events_app, label_command, outcomes_command
from osiris.cli.prices import prices_app
from osiris.core.errors import OsirisError
from osiris.core.extras import explain_missing_module
from osiris.core.run_log import configure_logging

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Osiris: a workspace in which the model that drafts trade advice learns from what happens to it.",
)


def _print_version(wanted: bool) -> None:
    """Print the version and stop, before a command is looked for."""
    if wanted:
        print(f"osiris {__version__}")
        raise typer.Exit


@app.callback()
def root_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Osiris: a workspace in which the model that drafts trade advice learns from what happens to it."""


@app.command("demo")
def demo_command(
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="A new or empty folder.")] = None,
    nights: Annotated[int, typer.Option(min=1, max=10, help="Number of nightly runs.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop on a historical clock over real daily bars."""
    from osiris.demo.demo import print_demo, run_demo

    result = run_demo(workspace, nights)
    json_output.write(result) if as_json else print_demo(result)


@app.command("advise")
def advise_command(
    workspace: WorkspaceOption = None,
    as_of: AsOfOption = "",
    sessions: Annotated[int, typer.Option(min=0, help="Draft at this many past closes instead.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draft ideas on the configured tickers."""
    from osiris.drafting.draft_ideas import DraftingContext, draft_ideas, drafting_moments

    with command_workspace(workspace, as_of) as ws:
        moments = drafting_moments(ws.settings, ws.now, sessions)
        context = DraftingContext(ws.advice, ws.prices, ws.events, ws.policy, ws.settings)
        done = draft_ideas(context, ws.load_drafter(), ws.models.judge, moments)
        output_report(done, as_json, "Ideas drafted")


@app.command("status")
def status_command(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show the contents of the workspace and the adapter in use."""
    from osiris.serving.status import get_workspace_status

    with command_workspace(workspace) as ws:
        output_report(get_workspace_status(ws), as_json, "Workspace")


@app.command("api")
def api_command(
    workspace: WorkspaceOption = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: review.port; 0 picks one.")] = None,
) -> None:
    """Serve the HTTP sidecar until interrupted."""
    from osiris.serving.launch import serve_api

    with command_workspace(workspace) as ws:
        serve_api(ws, port)


@app.command("review")
def review_command(
    workspace: WorkspaceOption = None,
    lab: Annotated[bool, typer.Option("--lab", help="In JupyterLab, as a notebook.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
    dark: Annotated[bool, typer.Option("--dark", help="Dark theme; JupyterLab has a theme of its own.")] = False,
) -> None:
    """Serve the Advisory tab (notebook 02) in a browser."""
    from osiris.serving.launch import open_review

    with command_workspace(workspace) as ws:
        raise typer.Exit(open_review(ws, lab, port, browser, dark))


# Every name is written out: typer would derive `label-command` from the name of the function.
app.command("nightly")(nightly_command)
app.command("outcomes")(outcomes_command)
app.command("label")(label_command)
app.command("close")(close_command)
app.command("lineage")(lineage_command)
app.command("learn-check")(learn_check_command)
app.command("prompt")(prompt_command)
app.add_typer(adapters_app, name="adapters")
app.add_typer(models_app, name="models")
app.add_typer(notes_app, name="notes")
app.add_typer(prices_app, name="prices")
app.add_typer(pairs_app, name="pairs")
app.add_typer(events_app, name="events")
app.add_typer(kernel_app, name="kernel")


def main() -> None:
    """Run the command line; a named error becomes one line on stderr and exit status 2.

    SIGTERM and a closed terminal end it as Ctrl-C does, so that everything it opened is closed on the way out.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may show ASCII only
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, and this must stay so
            signal.signal(number, _exit_on_signal)
    command = typer.main.get_command(app)
    _add_to_every_command(_verbose_option(), command)
    try:
        command()
    except OsirisError as error:
        _stop_with(error)
    except ModuleNotFoundError as error:
        missing = explain_missing_module(error)
        if missing is None:
            raise
        _stop_with(missing)


def _stop_with(error: OsirisError) -> NoReturn:
    from osiris.ui.console import to_printable

    print(to_printable(f"osiris: {error}"), file=sys.stderr)
    raise SystemExit(2) from None


def _verbose_option() -> Any:
    """The option `-v`, as typer makes it for a command, which then is not told of it."""
    holder = typer.Typer(add_completion=False)

    @holder.command()
    def _holder(
        verbose: Annotated[
            bool, typer.Option("--verbose", "-v", callback=_write_log, help="Write the log of the run to stderr.")
        ] = False,
    ) -> None: ...

    option = next(one for one in typer.main.get_command(holder).params if one.name == "verbose")
    option.expose_value = False
    return option


def _add_to_every_command(option: Any, command: Any) -> None:
    command.params.append(option)
    for part in getattr(command, "commands", {}).values():
        _add_to_every_command(option, part)


def _write_log(wanted: bool) -> None:
    if wanted:
        configure_logging()


def _exit_on_signal(number: int, _frame: object) -> None:
    """Raise, so that every `with` on the way out closes what it holds; a shell expects 128 and the signal's number."""
    raise SystemExit(128 + number)
