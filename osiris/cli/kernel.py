"""`osiris kernel`: patches of the policy, from the diff to the outcome."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from osiris.cli.common import (
    AsOfOption,
    JsonOption,
    NameOption,
    WorkspaceOption,
    command_workspace,
    json_output,
    output_report,
    output_rows,
)

if TYPE_CHECKING:
    from osiris.kernel.repo import PolicyRepo

MAX_DEAD_LETTER_ROWS = 20
kernel_app = typer.Typer(no_args_is_help=True, help="Patches of the trading policy: prove, submit, apply, undo.")
DiffArgument = Annotated[Path, typer.Argument(help="A unified diff of a policy file; - for standard input.")]
PatchIdArgument = Annotated[str, typer.Argument(help="Id of a patch; osiris kernel log lists them.")]


@kernel_app.command("prove")
def prove_command(diff: DiffArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Prove a patch in the sandbox and show every check.

    Nothing is applied. Exits with 1 when the patch is refused.
    """
    from osiris.kernel.prove import PROVED, prove_diff
    from osiris.ui.console import print_rows

    with command_workspace(workspace) as ws:
        repo, rules = ws.policy_repo, ws.settings.kernel
        proof = prove_diff(
            _normalize_diff(_read_diff(diff), repo),
            repo.head(),
            repo,
            ws.models.judge,
            rules,
            _progress_printer(as_json),
        )
    if as_json:
        json_output.write(proof.as_dict())
    else:
        print_rows(proof.as_dict()["checks"], f"The patch is {proof.verdict}")
    raise typer.Exit(0 if proof.verdict == PROVED else 1)


@kernel_app.command("allowed")
def allowed_command(as_json: JsonOption = False) -> None:
    """List what a patch may use: imports, functions, syntax, limits."""
    from osiris.sandbox.allowed import describe_allowed

    output_report(describe_allowed(), as_json, "What a patch may use")


@kernel_app.command("edit")
def edit_command(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the live policy into a folder, to edit it there.

    The folder is a git repository: `git diff` in it gives the patch.
    """
    with command_workspace(workspace) as ws:
        head = ws.policy_repo.head()
        ws.policy_repo.copy_to(folder)
        next_steps = f"edit {folder}/*.py; git -C {folder} diff | osiris kernel prove -; the same with submit"
        output_report({"folder": folder, "policy": head.commit, "then": next_steps}, as_json, "The live policy")


@kernel_app.command("submit")
def submit_command(
    diff: DiffArgument,
    by: NameOption = "anonymous",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a patch into the queue.

    A patch that does not apply to the live policy, or that has its verdict already, is refused.
    """
    from osiris.kernel.history import list_queue
    from osiris.kernel.patch import patch_from_diff
    from osiris.kernel.trial import require_undecided
    from osiris.storage.patches import PatchLists

    with command_workspace(workspace) as ws:
        repo, key = ws.policy_repo, ws.settings.kernel.key.get_secret_value()
        patch = patch_from_diff(_read_diff(diff), repo.head(), repo, by, key)
        require_undecided(ws.patch_log, patch)
        lists = PatchLists(ws.events)
        is_queued = patch.id in {row["patch"] for row in list_queue(ws.patch_log, lists, key)}
        if not is_queued:
            lists.push(patch.to_json())
        note = {"note": "it was in the queue before: once is enough"} if is_queued else {}
        output_report({"patch": patch.id, "target": patch.target, "by": patch.by, **note}, as_json, "In the queue")


@kernel_app.command("run")
def run_command(
    once: Annotated[bool, typer.Option("--once", help="Run it here; else as a flow, with its notebook.")] = False,
    workspace: WorkspaceOption = None,
    as_of: AsOfOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run one turn of the loop over patches.

    A turn rolls back a live patch that lost. Then it ends a trial, or it proves and measures the next patch.
    """
    from osiris.kernel.meta_loop import run_turn

    with command_workspace(workspace, as_of) as ws:
        if once:
            output_report(run_turn(ws.kernel(), _progress_printer(as_json)), as_json, "Turn of the kernel")
        else:
            from flows.kernel import kernel as flow
            from flows.server import prefect_server

            with prefect_server(ws.settings):
                output_report(flow(str(ws.folder), ws.now.isoformat()), as_json, "Turn of the kernel")


@kernel_app.command("log")
def log_command(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List every patch with its state, and a summary of the rollbacks."""
    from osiris.kernel.history import list_patches, summarize_rollbacks

    with command_workspace(workspace) as ws:
        table, rolled_back = list_patches(ws.patch_log), summarize_rollbacks(ws.patch_log)
    if as_json:
        json_output.write({"patches": table, "rollbacks": rolled_back})
    else:
        output_rows([_summary_row(row) for row in table], False, "Patches, the newest first")
        output_report(rolled_back, False, "Rollbacks")


@kernel_app.command("show")
def show_patch_command(patch: PatchIdArgument, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show one patch: its diff, the proof, the rewards, the state."""
    from osiris.kernel.history import find_patch
    from osiris.storage.patches import PatchLists
    from osiris.ui.console import print_report, print_rows, to_json_values, to_printable

    with command_workspace(workspace) as ws:
        found = to_json_values(
            find_patch(ws.patch_log, PatchLists(ws.events), patch, ws.settings.kernel.key.get_secret_value())
        )
    if as_json:
        json_output.write(found)
        return
    diff, checks = found.pop("diff"), found.pop("checks", [])
    for text in ("before", "after"):
        found.pop(text, None)
    print_report(found, f"Patch {to_printable(patch)}")
    print_rows(checks, "Proof")
    print(to_printable(diff))


@kernel_app.command("queue")
def queue_command(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the waiting patches in order, and the newest dead letters.

    A dead letter is a queued item or a drafted text that is no valid patch; the reason is shown with it.
    """
    from osiris.kernel.history import list_dead_letters, list_queue
    from osiris.storage.patches import PatchLists

    with command_workspace(workspace) as ws:
        lists, key = PatchLists(ws.events), ws.settings.kernel.key.get_secret_value()
        waiting, dead = list_queue(ws.patch_log, lists, key), list_dead_letters(lists)
    if as_json:
        json_output.write({"waiting": waiting, "dead": dead})
    else:
        output_rows([{name: row[name] for name in row if name != "diff"} for row in waiting], False, "Waiting")
        output_rows(
            [row | {"item": row["item"][:40]} for row in dead[:MAX_DEAD_LETTER_ROWS]],
            False,
            "Dead letters, the newest first",
        )


@kernel_app.command("rollback")
def rollback_command(
    patch: PatchIdArgument,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "by hand",
    workspace: WorkspaceOption = None,
    as_of: AsOfOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make the policy live again that was live before a patch.

    Patches that were applied after this one are rolled back too.
    """
    from osiris.kernel.meta_loop import roll_back_manually

    with command_workspace(workspace, as_of) as ws:
        done = roll_back_manually(ws.kernel(), patch, reason)
        output_report(done, as_json, "Rolled back")


def _summary_row(row: dict[str, Any]) -> dict[str, Any]:
    """Cut a row of the log down to the columns that fit a narrow terminal."""
    rewards = {name: row[name] and round(row[name], 3) for name in ("reward", "live reward")}
    days = {name: row[name] and row[name][:10] for name in ("applied", "rolled back")}
    return {
        "patch": row["patch"],
        "target": row["target"],
        "state": row["state"],
        **rewards,
        **days,
        "why": row["reason"],
    }


def _read_diff(path: Path) -> str:
    from osiris.core.errors import BadInput

    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("a unified diff in UTF-8", f"{path} ({error})", "name another file") from error


def _normalize_diff(diff: str, repo: "PolicyRepo") -> str:
    """Write a diff as `submit` would queue it.

    A diff that `submit` would refuse stays as it is, so that the checks of the proof say why.
    """
    from osiris.core.errors import BadInput
    from osiris.kernel.patch import patch_from_diff

    try:
        return patch_from_diff(diff, repo.head(), repo, "anonymous").diff
    except BadInput:
        return diff


def _progress_printer(as_json: bool) -> Callable[[str], None]:
    """Make the function that shows the step under way on a terminal."""

    def print_step(step: str) -> None:
        if not as_json and sys.stderr.isatty():
            print(f"{step} ...", file=sys.stderr)

    return print_step
