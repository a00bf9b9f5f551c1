"""Commands about learning: `nightly` and `learn-check`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from osiris.cli.common import AsOfOption, JsonOption, WorkspaceOption, command_workspace, json_output, output_report
from osiris.config.settings import set_environment

if TYPE_CHECKING:
    from osiris.config.sections import BlockName
    from osiris.market.synthetic import Edge


def nightly_command(
    workspace: WorkspaceOption = None,
    as_of: AsOfOption = "",
    since: Annotated[str, typer.Option(help="Feedback later than this (default: what no adapter learned from).")] = "",
    recipe: Annotated[str, typer.Option(help="Of recipes/, or a YAML file (default: training.dpo_recipe).")] = "",
    accelerate: Annotated[
        Path | None, typer.Option(help="File of `accelerate config`: train on the devices it names.", exists=True)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train and compare adapters: notebooks 04 to 07, as a flow."""
    if accelerate is not None:  # the notebooks of the flow run in processes of their own and read the settings
        set_environment(OSIRIS_TRAINING__ACCELERATE=str(accelerate.resolve()))
    with command_workspace(workspace, as_of) as ws:
        from flows.nightly import nightly as flow
        from flows.server import prefect_server

        with prefect_server(ws.settings):
            output_report(flow(str(ws.folder), ws.now.isoformat(), since, recipe), as_json, "Nightly run")


def learn_check_command(
    model: Annotated[str, typer.Option(help="starter, or a pretrained model that was primed.")] = "starter",
    blocks: Annotated[str, typer.Option(help="Blocks of the prompt, as a,b,c; or all.")] = "features",
    edge: Annotated[list[str] | None, typer.Option(help="momentum, reversal or none; several times for more.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Seeds for each kind of edge.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="Lowest seed; a higher one gives other markets.")] = 0,
    nights: Annotated[
        int | None, typer.Option(min=1, max=20, help="Number of nightly runs (default: 4; pretrained: 1).")
    ] = None,
    tickers: Annotated[
        int | None, typer.Option(min=4, max=1000, help="Tickers in each market (default: 16; pretrained: 8).")
    ] = None,
    drift: Annotated[float, typer.Option(min=0, max=2, help="Price drift of an edge, in ATR a session.")] = 0.2,
    jobs: Annotated[int, typer.Option(min=0, help="Trials at once; 0: one for each core.")] = 0,
    recipe: Annotated[
        str, typer.Option(help="Of recipes/, or a YAML file (default: dpo; pretrained: dpo-pretrained).")
    ] = "",
    keep: Annotated[Path | None, typer.Option(help="A new folder for the trials' workspaces.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check on synthetic markets that the loop learns an edge.

    On a market with an edge the served adapter has to earn more than the base. On a market without one, no adapter may
    be promoted by chance. Five seeds of both edges take about an hour on two cores. With a pretrained model a seed of
    one edge takes about an hour on one core, and its newest adapter is judged, served or not: one night may have too
    few held-out days for the gate. Exits with 1 when a check fails.
    """
    from osiris.core.errors import BadInput
    from osiris.learn_check import plan_for, run_check
    from osiris.market.synthetic import EDGES

    if unknown := sorted(set(edge or []) - set(EDGES)):
        raise BadInput(f"edges of {', '.join(EDGES)}", ", ".join(unknown), "correct --edge")
    # The check above makes each word an `Edge`; a type checker cannot see that from a set difference.
    edges = cast("list[Edge]", edge) if edge else list(EDGES)
    usual = plan_for(model)
    plan = replace(
        usual,
        blocks=_parse_blocks(blocks),
        nights=nights or usual.nights,
        tickers=tickers or usual.tickers,
        drift=drift,
        recipe=recipe or usual.recipe,
    )
    result = run_check(edges, range(first_seed, first_seed + seeds), plan, jobs, keep)
    json_output.write(result) if as_json else _print_check(result)
    raise typer.Exit(0 if result["passed"] else 1)


def _parse_blocks(text: str) -> "tuple[BlockName, ...]":
    from osiris.config.sections import ALL_BLOCKS
    from osiris.core.errors import BadInput

    names = ALL_BLOCKS if text == "all" else [name.strip() for name in text.split(",")]
    if unknown := sorted(set(names) - set(ALL_BLOCKS)):
        raise BadInput(f"blocks of {', '.join(ALL_BLOCKS)}", ", ".join(unknown), "correct --blocks")
    return tuple(cast("list[BlockName]", names))


def _print_check(result: dict[str, Any]) -> None:
    from osiris.ui.console import print_rows

    trials = [
        {
            "edge": trial["edge"],
            "seed": trial["seed"],
            "judged": trial["judged"],
            "served": trial["served"],
            **{name: round(value, 3) for name, value in trial["rise"].items()},
        }
        for trial in result["trials"]
    ]
    print_rows(trials, "What the judged adapter adds to the base, on prompts after all nightly runs")
    print_rows(result["checks"], "Checks")
