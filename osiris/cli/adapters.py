"""`osiris adapters`: list the adapters, compare two of them, and choose by hand the one that is served."""

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from osiris.cli.common import (
    JsonOption,
    WorkspaceOption,
    command_workspace,
    json_output,
    name_callback,
    output_report,
    output_rows,
)

if TYPE_CHECKING:
    from osiris.workspace import Workspace

adapters_app = typer.Typer(invoke_without_command=True, help="Adapters: list, compare, promote, demote, pin, unpin.")
ActorOption = Annotated[
    str,
    typer.Option(
        "--by", default_factory=getpass.getuser, callback=name_callback, help="Your name (default: your login)."
    ),
]
ReasonOption = Annotated[str, typer.Option("--why", help="Kept with the verdict.")]


@adapters_app.callback()
def list_adapters(context: typer.Context, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the adapters, newest first."""
    if context.invoked_subcommand is None:
        from osiris.serving.status import build_adapter_table

        with command_workspace(workspace) as ws:
            output_rows(build_adapter_table(ws), as_json, "Adapters")


@adapters_app.command("compare")
def compare_command(a: str, b: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Put two adapters side by side: facts, parameters and metrics."""
    from osiris.serving.status import compare_logged, to_comparison_rows

    with command_workspace(workspace) as ws:
        comparison = compare_logged(ws.tracking.adapters(), a, b)
        json_output.write(comparison) if as_json else output_rows(to_comparison_rows(comparison), False, f"{a} and {b}")


@adapters_app.command("promote")
def promote_command(
    name: str, by: ActorOption, why: ReasonOption, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Serve an adapter against the gate, until a newer one is promoted."""
    with command_workspace(workspace) as ws:
        ws.registry.promote(name, by, why, ws.now)
        _output_served(ws, as_json)


@adapters_app.command("demote")
def demote_command(
    name: str, by: ActorOption, why: ReasonOption, workspace: WorkspaceOption = None, as_json: JsonOption = False
) -> None:
    """Take an adapter out of service for good, under every gate.serve."""
    with command_workspace(workspace) as ws:
        ws.registry.demote(name, by, why, ws.now)
        _output_served(ws, as_json)


@adapters_app.command("pin")
def pin_command(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Serve one adapter, even if others are newer, until it is unpinned."""
    with command_workspace(workspace) as ws:
        ws.registry.pin(name)
        _output_served(ws, as_json)


@adapters_app.command("unpin")
def unpin_command(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Let gate.serve and the verdicts choose the served adapter again."""
    with command_workspace(workspace) as ws:
        ws.registry.unpin()
        _output_served(ws, as_json)


def _output_served(ws: "Workspace", as_json: bool) -> None:
    """Bring MLflow's aliases up to date and print the adapter that is served now."""
    from osiris.adapters.mlflow_runs import TrackingFailed
    from osiris.serving.status import get_served_adapter
    from osiris.training.promotion import update_aliases

    served = get_served_adapter(ws)
    try:
        update_aliases(ws.registry, ws.tracking, ws.settings, ws.now)
    except TrackingFailed as error:  # the decision is stored already, and it holds without MLflow
        served["mlflow"] = str(error)
    output_report(served, as_json, "Adapter in use")
