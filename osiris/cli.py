"""The command line: every command parses, calls the function that pages and flows call, and prints.

Exit status: 0 done, 1 done with something to look at, 2 an error that the one printed line explains.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osiris.errors import OsirisError

if TYPE_CHECKING:
    from osiris.workspace import Workspace

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Osiris: a workspace in which the model that drafts trade advice learns from what happens to it.",
)
adapters_app = typer.Typer(invoke_without_command=True, help="Adapters: list them, compare two.")
prices_app = typer.Typer(no_args_is_help=True, help="The local OHLC store.")
app.add_typer(adapters_app, name="adapters")
app.add_typer(prices_app, name="prices")

Folder = Annotated[Path | None, typer.Option("--workspace", "-w", help="Workspace folder (default: this one).")]
AsOf = Annotated[str, typer.Option("--as-of", help="Moment of the run, ISO 8601 with offset (default: now).")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, and nothing else there.")]


@app.command()
def demo(
    workspace: Annotated[Path | None, typer.Option("--workspace", "-w", help="A new or empty folder.")] = None,
    nights: Annotated[int, typer.Option(min=1, max=10, help="Nights to train.")] = 2,
    as_json: Json = False,
) -> None:
    """Run the whole loop on a historical clock over real daily bars."""
    from osiris.demo import run_demo, show

    result = run_demo(workspace, nights)
    print(json.dumps(result, indent=1)) if as_json else show(result)


@app.command()
def advise(
    workspace: Folder = None,
    as_of: AsOf = "",
    sessions: Annotated[int, typer.Option(min=0, help="Draft at the last so many closes instead.")] = 0,
    as_json: Json = False,
) -> None:
    """Draft ideas on the configured tickers."""
    from osiris.loop.advise import advise as draft_ideas
    from osiris.loop.advise import drafting_moments

    with _opened(workspace, as_of) as ws:
        moments = drafting_moments(ws.settings, ws.now, sessions)
        report = draft_ideas(ws.advice, ws.prices, ws.events, ws.drafter(), ws.models.judge, ws.settings, moments)
        _report(report, as_json, "Ideas drafted")


@app.command()
def outcomes(workspace: Folder = None, as_of: AsOf = "", as_json: Json = False) -> None:
    """Settle ideas against prices and publish the outcomes."""
    from osiris.loop.outcomes import settle

    with _opened(workspace, as_of) as ws:
        _report(settle(ws.advice, ws.prices, ws.events, ws.settings, ws.now), as_json, "Outcomes")


@app.command()
def nightly(
    workspace: Folder = None,
    as_of: AsOf = "",
    since: Annotated[str, typer.Option(help="Feedback later than this moment (default: 24 hours before).")] = "",
    as_json: Json = False,
) -> None:
    """Train and compare tonight's adapters: pages 04 to 07 as a Prefect flow."""
    with _opened(workspace, as_of) as ws:
        from flows.nightly import nightly as flow
        from flows.server import prefect_for

        with prefect_for(ws.settings):
            _report(flow(str(ws.folder), ws.now.isoformat(), since), as_json, "Night")


@app.command()
def status(workspace: Folder = None, as_json: Json = False) -> None:
    """What is in the workspace, and which adapter is served."""
    from osiris.status import workspace_status

    with _opened(workspace) as ws:
        _report(workspace_status(ws), as_json, "Workspace")


@app.command()
def api(
    workspace: Folder = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: review.port; 0 picks one.")] = None,
) -> None:
    """Serve the HTTP sidecar until interrupted."""
    from osiris.desk import serve_api

    with _opened(workspace) as ws:
        serve_api(ws, port)


@app.command()
def review(workspace: Folder = None) -> None:
    """Open the Advisory tab (notebooks/02_review.ipynb) of a workspace in JupyterLab."""
    from osiris.desk import open_review

    with _opened(workspace) as ws:
        raise typer.Exit(open_review(ws))


@adapters_app.callback()
def list_adapters(context: typer.Context, workspace: Folder = None, as_json: Json = False) -> None:
    """List the adapters, newest first."""
    if context.invoked_subcommand is None:
        from osiris.status import adapter_table

        with _opened(workspace) as ws:
            _rows(adapter_table(ws), as_json, "Adapters")


@adapters_app.command("compare")
def compare_adapters(a: str, b: str, workspace: Folder = None, as_json: Json = False) -> None:
    """Put two adapters side by side: facts, parameters and metrics."""
    from osiris.status import comparison_rows

    with _opened(workspace) as ws:
        found = ws.tracking.compare(a, b)
        print(json.dumps(found, indent=1)) if as_json else _rows(comparison_rows(found), False, f"{a} and {b}")


@prices_app.command("import")
def import_prices(
    path: Path,
    replace: Annotated[bool, typer.Option("--replace", help="Correct stored bars that differ.")] = False,
    workspace: Folder = None,
    as_json: Json = False,
) -> None:
    """Import OHLC bars from a CSV, a Parquet file or a folder of them; one bad row keeps everything out.

    Exits with 1 when bars differ from stored ones or look like an unrecorded split.
    """
    from osiris.loop.price_files import import_bars

    with _opened(workspace) as ws:
        report = import_bars(ws.bars, ws.settings, path, ws.now, replace=replace, progress=True)
        _report(report, as_json, "Imported")
    raise typer.Exit(1 if report.disputed or report.suspicious else 0)


@prices_app.command("update")
def update_prices(tickers: list[str], workspace: Folder = None, as_json: Json = False) -> None:
    """Fetch the newest bars of tickers from Yahoo into the local store; exits with 1 when one was not updated."""
    with _opened(workspace) as ws:
        report = ws.prices.update(tickers, ws.now, progress=True)
        _report(report, as_json, "Updated")
    raise typer.Exit(1 if report.failed or report.disputed else 0)


@prices_app.command("show")
def show_prices(
    ticker: str,
    last: Annotated[int, typer.Option(min=1, help="How many bars.")] = 10,
    workspace: Folder = None,
    as_json: Json = False,
) -> None:
    """Show what the local store has of a ticker."""
    with _opened(workspace) as ws:
        bars = ws.bars.get(ticker)
        rows = json.loads(bars.tail(last).to_json(orient="records", date_format="iso", date_unit="s"))
        _rows(rows, as_json, f"{ticker.upper()}: {len(bars)} bars, raw prices, times in UTC")


def main() -> None:
    """Run the command line; a named error becomes one line on stderr and exit status 2."""
    try:
        app()
    except OsirisError as error:
        print(f"osiris: {error}", file=sys.stderr)
        raise SystemExit(2) from None


@contextmanager
def _opened(workspace: Path | None, as_of: str = "") -> "Iterator[Workspace]":
    from osiris.workspace import opened

    with opened(workspace, as_of) as ws:
        yield ws


def _report(report: Any, as_json: bool, title: str) -> None:
    from osiris.ui.console import plain, print_report

    print(json.dumps(plain(report), indent=1)) if as_json else print_report(report, title)


def _rows(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    from osiris.ui.console import print_rows

    print(json.dumps(rows, indent=1)) if as_json else print_rows(rows, title)


if __name__ == "__main__":
    main()
