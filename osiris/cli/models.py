"""`osiris models`: check the models of a workspace, and prime a pretrained one."""

import typer

from osiris.cli.common import JsonOption, WorkspaceOption, command_workspace, output_report

models_app = typer.Typer(no_args_is_help=True, help="The language models.")


@models_app.command("check")
def check_models_command(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Load, draft, score and train two steps; say what a night will take and what to change.

    Exits with 1 when something is to be changed.
    """
    from rich.console import Console

    from osiris.training.model_check import check_models

    with command_workspace(workspace) as ws:
        with Console(stderr=True, quiet=as_json).status("") as status:
            done = check_models(ws.settings, status.update)
        output_report(done, as_json, "Models")
    raise typer.Exit(0 if done.passed else 1)


@models_app.command("prime")
def prime_command(
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Teach the pretrained model.base to draft valid, coherent and balanced ideas, once.

    The primed model is kept in model.cache. With model.primed = true it drafts, and adapters descend from it.
    """
    from osiris.training.primer import prime_model

    with command_workspace(workspace) as ws:
        output_report(prime_model(ws.settings, progress=not as_json), as_json, "Primed")
