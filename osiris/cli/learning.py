"""Commands about learning: `nightly` and `learn-check`."""

from pathlib import Path
from typing import Annotated

import typer

from osiris.cli.common import AsOfOption, JsonOption, WorkspaceOption, command_workspace, json_output, output_report


def nightly_command(
    workspace: WorkspaceOption = None,
    as_of: AsOfOption = "",
    since: Annotated[str, typer.Option(help="Feedback later than this (default: what no adapter learned from).")] = "",
    recipe: Annotated[str, typer.Option(help="Of recipes/, or a YAML file (default: training.dpo_recipe).")] = "",
    as_json: JsonOption = False,
) -> None:
    """Train and compare tonight's adapters: pages 04 to 07 as a Prefect flow."""
    with command_workspace(workspace, as_of) as ws:
        from flows.nightly import nightly as flow
        from flows.server import prefect_server

        with prefect_server(ws.settings):
            output_report(flow(str(ws.folder), ws.now.isoformat(), since, recipe), as_json, "Night")


def learn_check_command(
    edge: Annotated[list[str] | None, typer.Option(help="momentum, reversal or none; several times for more.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Of each market with an edge.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="A higher one takes markets that nothing was tuned on.")] = 0,
    nights: Annotated[int, typer.Option(min=1, max=20)] = 4,
    tickers: Annotated[int, typer.Option(min=4, max=1000, help="Of each market.")] = 16,
    drift: Annotated[float, typer.Option(min=0, max=2, help="Of a run with an edge, in ATR a session.")] = 0.2,
    jobs: Annotated[int, typer.Option(min=0, help="Trials at once; 0: one a core.")] = 0,
    recipe: Annotated[str, typer.Option(help="A recipe of recipes/, or a YAML file.")] = "dpo",
    keep: Annotated[Path | None, typer.Option(help="A new folder for the trials' workspaces.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check on markets with a planted edge that the loop learns it, and on one without that chance is not promoted.

    Five seeds of both edges take about an hour on two cores. Exit status 1 when a check fails.
    """
    from osiris.core.errors import BadInput
    from osiris.learn_check import TrialPlan, run_check
    from osiris.market.synthetic import EDGES

    edges = edge or list(EDGES)
    if unknown := sorted(set(edges) - set(EDGES)):
        raise BadInput(f"edges of {', '.join(EDGES)}", ", ".join(unknown), "correct --edge")
    plan = TrialPlan(nights=nights, tickers=tickers, drift=drift, recipe=recipe)
    result = run_check(edges, range(first_seed, first_seed + seeds), plan, jobs, keep)
    json_output.write(result) if as_json else _print_check(result)
    raise typer.Exit(0 if result["passed"] else 1)


def _print_check(result: dict) -> None:
    from osiris.ui.console import print_rows

    seeds = [
        {
            "edge": one["edge"],
            "seed": one["seed"],
            "served": one["served"],
            **{k: round(v, 3) for k, v in one["rise"].items()},
        }
        for one in result["trials"]
    ]
    print_rows(seeds, "What the served adapter adds to the plain base, on prompts after all nights")
    print_rows(result["checks"], "Checks")
