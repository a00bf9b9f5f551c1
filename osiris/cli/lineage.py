"""`osiris lineage` and `osiris pairs`: where an adapter comes from, and what a pair rests on."""

from typing import Annotated, Any

import typer

from osiris.cli.common import JsonOption, WorkspaceOption, command_workspace, output_report, output_rows

pairs_app = typer.Typer(no_args_is_help=True, help="The preference datasets: list them, explain a line.")
PAIR_IDEA_COLUMNS = ("id", "ticker", "as_of", "side", "entry", "target", "stop", "status", "reviewer", "outcome", "exit_reason",
        "closed_at", "r_multiple", "rationale")  # fmt: skip

SUMMARY_COLUMNS = ("adapter", "lines", "by_source", "days", "reviewers")
"""What of an adapter's lineage fits on a terminal."""


def lineage_command(
    what: Annotated[str, typer.Argument(help="An adapter, an idea's id, TICKER:YYYY-MM-DD, or reviewer:ADAPTER_NAME.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """What an adapter was trained on; or which adapters an idea, a bar or a reviewer has touched."""
    from osiris.adapters.registry import ADAPTER_NAME
    from osiris.training.lineage import Lineage

    with command_workspace(workspace) as ws:
        found = Lineage(ws.registry, ws.advice, ws.settings)
        if ADAPTER_NAME.match(what):
            ancestry = found.trace_adapter(what)
            brief = [{name: row[name] for name in SUMMARY_COLUMNS} for row in ancestry]
            output_rows(ancestry if as_json else brief, as_json, f"{what}, then what it comes from")
        else:
            output_rows(found.find_affected(what), as_json, f"Adapters that {what} has touched")


@pairs_app.command("list")
def list_pairs(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the datasets of the nights, newest first."""
    from osiris.training.lineage import list_datasets

    with command_workspace(workspace) as ws:
        output_rows(list_datasets(ws.settings.data / "datasets"), as_json, "Datasets")


@pairs_app.command("show")
def show_pair_command(
    night: Annotated[str, typer.Argument(help="YYYYMMDD.")],
    line: Annotated[int, typer.Argument(help="From 1, as page 05 shows them.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a line of a dataset: the ideas behind it, who reviewed them, and the bars that decided them."""
    from osiris.training.lineage import explain_pair

    with command_workspace(workspace) as ws:
        found = explain_pair(ws.advice, ws.bars, ws.settings.data / "datasets", night, line)
    ideas = {role: {name: idea[name] for name in PAIR_IDEA_COLUMNS} for role, idea in found["ideas"].items()}
    explanation: dict[str, Any] = {"night": night, "line": line, "source": found["source"], **ideas}
    if as_json:
        output_report(explanation | {"bars": found["bars"]}, True, "")
        return
    output_report(explanation, False, f"Line {line} of {night}")
    for role, bars in found["bars"].items():
        output_rows(bars, False, f"Bars of the {role} one, from its draft to its end")
