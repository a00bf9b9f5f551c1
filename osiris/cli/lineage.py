"""`osiris lineage` and `osiris pairs`: where an adapter comes from, and what a pair rests on."""

from typing import Annotated, Any

import typer

from osiris.cli.common import Folder, Json, opened, report, rows

pairs_app = typer.Typer(no_args_is_help=True, help="The preference datasets: list them, explain a line.")
IDEA = ("id", "ticker", "as_of", "side", "entry", "target", "stop", "status", "reviewer", "outcome", "exit_reason",
        "closed_at", "r_multiple", "rationale")  # fmt: skip

BRIEF = ("adapter", "lines", "by_source", "days", "reviewers")
"""What of an adapter's lineage fits on a terminal."""


def lineage(
    what: Annotated[str, typer.Argument(help="An adapter, an idea's id, TICKER:YYYY-MM-DD, or reviewer:NAME.")],
    workspace: Folder = None,
    as_json: Json = False,
) -> None:
    """What an adapter was trained on; or which adapters an idea, a bar or a reviewer has touched."""
    from osiris.adapters.registry import NAME
    from osiris.training.lineage import Lineage

    with opened(workspace) as ws:
        found = Lineage(ws.shelf, ws.advice, ws.settings)
        if NAME.match(what):
            ancestry = found.of_adapter(what)
            brief = [{name: row[name] for name in BRIEF} for row in ancestry]
            rows(ancestry if as_json else brief, as_json, f"{what}, then what it comes from")
        else:
            rows(found.touched(what), as_json, f"Adapters that {what} has touched")


@pairs_app.command("list")
def list_pairs(workspace: Folder = None, as_json: Json = False) -> None:
    """List the datasets of the nights, newest first."""
    from osiris.training.lineage import datasets

    with opened(workspace) as ws:
        rows(datasets(ws.settings.data / "datasets"), as_json, "Datasets")


@pairs_app.command("show")
def show(
    night: Annotated[str, typer.Argument(help="YYYYMMDD.")],
    line: Annotated[int, typer.Argument(help="From 1, as page 05 shows them.")],
    workspace: Folder = None,
    as_json: Json = False,
) -> None:
    """Explain a line of a dataset: the ideas behind it, who reviewed them, and the bars that decided them."""
    from osiris.training.lineage import explain_pair

    with opened(workspace) as ws:
        found = explain_pair(ws.advice, ws.bars, ws.settings.data / "datasets", night, line)
    ideas = {role: {name: idea[name] for name in IDEA} for role, idea in found["ideas"].items()}
    told: dict[str, Any] = {"night": night, "line": line, "source": found["source"], **ideas}
    if as_json:
        report(told | {"bars": found["bars"]}, True, "")
        return
    report(told, False, f"Line {line} of {night}")
    for role, bars in found["bars"].items():
        rows(bars, False, f"Bars of the {role} one, from its draft to its end")
