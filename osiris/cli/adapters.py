"""`osiris adapters`: list them, compare two, and a person's word on which is served."""

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from osiris.cli.common import Folder, Json, one_name, opened, report, rows, stdout

if TYPE_CHECKING:
    from osiris.workspace import Workspace

adapters_app = typer.Typer(invoke_without_command=True, help="Adapters: list, compare, promote, demote, pin, unpin.")
Who = Annotated[
    str,
    typer.Option("--by", default_factory=getpass.getuser, callback=one_name, help="Your name (default: your login)."),
]
Why = Annotated[str, typer.Option("--why", help="Kept with the verdict.")]


@adapters_app.callback()
def list_adapters(context: typer.Context, workspace: Folder = None, as_json: Json = False) -> None:
    """List the adapters, newest first."""
    if context.invoked_subcommand is None:
        from osiris.serving.status import adapter_table

        with opened(workspace) as ws:
            rows(adapter_table(ws), as_json, "Adapters")


@adapters_app.command("compare")
def compare_adapters(a: str, b: str, workspace: Folder = None, as_json: Json = False) -> None:
    """Put two adapters side by side: facts, parameters and metrics."""
    from osiris.serving.status import compared, comparison_rows

    with opened(workspace) as ws:
        found = compared(ws.tracking.adapters(), a, b)
        stdout.say(found) if as_json else rows(comparison_rows(found), False, f"{a} and {b}")


@adapters_app.command("promote")
def promote(name: str, by: Who, why: Why, workspace: Folder = None, as_json: Json = False) -> None:
    """Let an adapter be served whatever the gate said, until a newer one is promoted."""
    with opened(workspace) as ws:
        ws.shelf.promote(name, by, why, ws.now)
        _say_served(ws, as_json)


@adapters_app.command("demote")
def demote(name: str, by: Who, why: Why, workspace: Folder = None, as_json: Json = False) -> None:
    """Take an adapter out of service for good, under every gate.policy."""
    with opened(workspace) as ws:
        ws.shelf.demote(name, by, why, ws.now)
        _say_served(ws, as_json)


@adapters_app.command("pin")
def pin(name: str, workspace: Folder = None, as_json: Json = False) -> None:
    """Serve an adapter whatever is newer or promoted, until it is unpinned."""
    with opened(workspace) as ws:
        ws.shelf.pin(name)
        _say_served(ws, as_json)


@adapters_app.command("unpin")
def unpin(workspace: Folder = None, as_json: Json = False) -> None:
    """Serve by gate.policy and verdicts again."""
    with opened(workspace) as ws:
        ws.shelf.unpin()
        _say_served(ws, as_json)


def _say_served(ws: "Workspace", as_json: bool) -> None:
    """Bring MLflow's aliases up to date and print what is served now."""
    from osiris.adapters.mlflow_runs import TrackingFailed
    from osiris.serving.status import served_adapter
    from osiris.training.promotion import point_aliases

    served = served_adapter(ws)
    try:
        point_aliases(ws.shelf, ws.tracking, ws.settings, ws.now)
    except TrackingFailed as error:  # what was decided is kept, and holds
        served["mlflow"] = str(error)
    report(served, as_json, "Adapter in use")
