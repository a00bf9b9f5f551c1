"""`osiris lineage` and `osiris pairs`: the data behind an adapter, and the ideas behind a pair."""

from typing import Annotated, Any

import typer

from osiris.cli.common import JsonOption, WorkspaceOption, command_workspace, output_report, output_rows

pairs_app = typer.Typer(no_args_is_help=True, help="The preference datasets: list them, explain a line.")
PAIR_IDEA_COLUMNS = (
    "id", "ticker", "as_of", "side", "entry", "target", "stop", "status", "reviewer", "outcome", "exit_reason",
    "closed_at", "r_multiple", "rationale",
)  # fmt: skip
"""The columns of an idea that `osiris pairs show` prints."""
SUMMARY_COLUMNS = ("adapter", "lines", "by_source", "days", "reviewers")
"""The columns of an adapter's lineage that fit on a terminal; `--json` prints all of them."""


def lineage_command(
    what: Annotated[str, typer.Argument(help="An adapter, an idea's id, TICKER:YYYY-MM-DD, or reviewer:NAME.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the data of an adapter, or the adapters that used an idea.

    For an adapter: its own data and that of its ancestors. For an idea, a bar or a reviewer: every adapter that was
    trained on its data.
    """
    from osiris.adapters.registry import ADAPTER_NAME
    from osiris.training.lineage import Lineage

    with command_workspace(workspace) as ws:
        lineage = Lineage(ws.registry, ws.advice, ws.settings)
        if ADAPTER_NAME.match(what):
            ancestry = lineage.trace_adapter(what)
            brief = [{name: row[name] for name in SUMMARY_COLUMNS} for row in ancestry]
            output_rows(ancestry if as_json else brief, as_json, f"{what}, then its ancestors")
        else:
            output_rows(lineage.find_affected(what), as_json, f"Adapters trained on data of {what}")


@pairs_app.command("list")
def list_pairs(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the datasets of the nightly runs, newest first."""
    from osiris.training.lineage import list_datasets

    with command_workspace(workspace) as ws:
        output_rows(list_datasets(ws.settings.data / "datasets"), as_json, "Datasets")


@pairs_app.command("show")
def show_pair_command(
    night: Annotated[str, typer.Argument(help="Date of the nightly run: YYYYMMDD.")],
    line: Annotated[int, typer.Argument(help="Number from 1, as in notebook 05.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a line of a dataset: its ideas, reviewers and bars."""
    from osiris.training.lineage import explain_pair

    with command_workspace(workspace) as ws:
        pair = explain_pair(ws.advice, ws.bars, ws.settings.data / "datasets", night, line)
    ideas = {role: {name: idea[name] for name in PAIR_IDEA_COLUMNS} for role, idea in pair["ideas"].items()}
    explanation: dict[str, Any] = {"night": night, "line": line, "source": pair["source"], **ideas}
    if as_json:
        output_report(explanation | {"bars": pair["bars"]}, True, "")
        return
    output_report(explanation, False, f"Line {line} of {night}")
    for role, bars in pair["bars"].items():
        output_rows(bars, False, f"Daily bars of the {role} idea, from its draft to its end")
