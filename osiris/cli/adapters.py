"""`osiris adapters`: list them, compare two."""

import json

import typer

from osiris.cli.common import Folder, Json, opened, rows

adapters_app = typer.Typer(invoke_without_command=True, help="Adapters: list them, compare two.")


@adapters_app.callback()
def list_adapters(context: typer.Context, workspace: Folder = None, as_json: Json = False) -> None:
    """List the adapters, newest first."""
    if context.invoked_subcommand is None:
        from osiris.status import adapter_table

        with opened(workspace) as ws:
            rows(adapter_table(ws), as_json, "Adapters")


@adapters_app.command("compare")
def compare_adapters(a: str, b: str, workspace: Folder = None, as_json: Json = False) -> None:
    """Put two adapters side by side: facts, parameters and metrics."""
    from osiris.status import comparison_rows

    with opened(workspace) as ws:
        found = ws.tracking.compare(a, b)
        print(json.dumps(found, indent=1)) if as_json else rows(comparison_rows(found), False, f"{a} and {b}")
