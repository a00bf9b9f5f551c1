"""`osiris kernel`: patches of the policy, from a diff to what became of it."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from osiris.cli.common import AsOf, By, Folder, Json, opened, report, rows, stdout

SHOWN_LETTERS = 20
kernel_app = typer.Typer(no_args_is_help=True, help="Patches of the trading policy: proved, measured, applied, undone.")
Diff = Annotated[Path, typer.Argument(help="A unified diff of a policy file; - for standard input.")]
Identity = Annotated[str, typer.Argument(help="Id of a patch; osiris kernel log lists them.")]


@kernel_app.command("prove")
def prove(diff: Diff, workspace: Folder = None, as_json: Json = False) -> None:
    """Prove a patch in the sandbox, and show every check. Exits with 1 when it is refused; nothing is applied."""
    from osiris.kernel.prove import PROVED
    from osiris.kernel.prove import prove as prove_diff
    from osiris.ui.console import print_rows

    with opened(workspace) as ws:
        repo, rules = ws.policy_repo, ws.settings.kernel
        proof = prove_diff(_spelt(_read(diff), repo), repo.head(), repo, ws.models.judge, rules, _progress(as_json))
    if as_json:
        stdout.say(proof.as_dict())
    else:
        print_rows(proof.as_dict()["checks"], f"The patch is {proof.verdict}")
    raise typer.Exit(0 if proof.verdict == PROVED else 1)


@kernel_app.command("allowed")
def allowed(as_json: Json = False) -> None:
    """What a patch may be made of: imports, functions, methods, syntax, limits."""
    from osiris.sandbox.allowed import listed

    report(listed(), as_json, "What a patch may be made of")


@kernel_app.command("edit")
def edit(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    workspace: Folder = None,
    as_json: Json = False,
) -> None:
    """Copy the live policy into a folder, to edit it there and to make patches of it by `git diff`."""
    with opened(workspace) as ws:
        head = ws.policy_repo.head()
        ws.policy_repo.copy_to(folder)
        then = f"edit {folder}/*.py; git -C {folder} diff | osiris kernel prove -; the same with submit"
        report({"folder": folder, "policy": head.commit, "then": then}, as_json, "The live policy")


@kernel_app.command("submit")
def submit(
    diff: Diff,
    by: By = "anonymous",
    workspace: Folder = None,
    as_json: Json = False,
) -> None:
    """Put a patch into the queue; one that does not apply to the live policy or has its verdict is refused."""
    from osiris.kernel.history import queued
    from osiris.kernel.patch import patch_of
    from osiris.kernel.trial import refuse_if_final
    from osiris.storage.patches import PatchLists

    with opened(workspace) as ws:
        repo, key = ws.policy_repo, ws.settings.kernel.key.get_secret_value()
        patch = patch_of(_read(diff), repo.head(), repo, by, key)
        refuse_if_final(ws.patch_book, patch)
        lists = PatchLists(ws.events)
        again = patch.id in {row["patch"] for row in queued(ws.patch_book, lists, key)}
        if not again:
            lists.push(patch.to_json())
        said = {"note": "it was in the queue before: once is enough"} if again else {}
        report({"patch": patch.id, "target": patch.target, "by": patch.by, **said}, as_json, "In the queue")


@kernel_app.command("run")
def run(
    once: Annotated[bool, typer.Option("--once", help="One turn, here; else the flow and its page.")] = False,
    workspace: Folder = None,
    as_of: AsOf = "",
    as_json: Json = False,
) -> None:
    """Run one turn: roll back what lost, then end a trial, or prove and measure the next patch."""
    from osiris.kernel.meta_loop import turn

    with opened(workspace, as_of) as ws:
        if once:
            report(turn(ws.kernel(), _progress(as_json)), as_json, "Turn of the kernel")
        else:
            from flows.kernel import kernel as flow
            from flows.server import prefect_for

            with prefect_for(ws.settings):
                report(flow(str(ws.folder), ws.now.isoformat()), as_json, "Turn of the kernel")


@kernel_app.command("log")
def log(workspace: Folder = None, as_json: Json = False) -> None:
    """Every patch and what became of it, and how rollbacks went."""
    from osiris.kernel.history import history, rollbacks

    with opened(workspace) as ws:
        table, undone = history(ws.patch_book), rollbacks(ws.patch_book)
    if as_json:
        stdout.say({"patches": table, "rollbacks": undone})
    else:
        rows([_short(row) for row in table], False, "Patches, the newest first")
        report(undone, False, "Rollbacks")


@kernel_app.command("show")
def show(patch: Identity, workspace: Folder = None, as_json: Json = False) -> None:
    """One patch: its diff, the proof, the rewards, what became of it."""
    from osiris.kernel.history import known
    from osiris.storage.patches import PatchLists
    from osiris.ui.console import plain, print_report, print_rows, printable

    with opened(workspace) as ws:
        found = plain(known(ws.patch_book, PatchLists(ws.events), patch, ws.settings.kernel.key.get_secret_value()))
    if as_json:
        stdout.say(found)
        return
    diff, checks = found.pop("diff"), found.pop("checks", [])
    for text in ("before", "after"):
        found.pop(text, None)
    print_report(found, f"Patch {printable(patch)}")
    print_rows(checks, "Proof")
    print(printable(diff))


@kernel_app.command("queue")
def queue(workspace: Folder = None, as_json: Json = False) -> None:
    """What waits to be judged, in order, and the newest dead letters with the reason."""
    from osiris.kernel.history import dead_letters, queued
    from osiris.storage.patches import PatchLists

    with opened(workspace) as ws:
        lists, key = PatchLists(ws.events), ws.settings.kernel.key.get_secret_value()
        waiting, dead = queued(ws.patch_book, lists, key), dead_letters(lists)
    if as_json:
        stdout.say({"waiting": waiting, "dead": dead})
    else:
        rows([{name: row[name] for name in row if name != "diff"} for row in waiting], False, "Waiting")
        rows(
            [row | {"item": row["item"][:40]} for row in dead[:SHOWN_LETTERS]], False, "Dead letters, the newest first"
        )


@kernel_app.command("rollback")
def rollback(
    patch: Identity,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "by hand",
    workspace: Folder = None,
    as_of: AsOf = "",
    as_json: Json = False,
) -> None:
    """Make live again what was live before a patch; what was applied after it goes too."""
    from osiris.kernel.meta_loop import roll_back_by_hand

    with opened(workspace, as_of) as ws:
        done = roll_back_by_hand(ws.kernel(), patch, reason)
        report(done, as_json, "Rolled back")


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the log that fits a narrow terminal."""
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


def _read(path: Path) -> str:
    from osiris.core.errors import BadInput

    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("a unified diff in UTF-8", f"{path} ({error})", "name another file") from error


def _spelt(diff: str, repo: Any) -> str:
    """A diff as submitting would put it into the queue; as it is where that is refused, for the checks to say why."""
    from osiris.core.errors import BadInput
    from osiris.kernel.patch import patch_of

    try:
        return patch_of(diff, repo.head(), repo, "anonymous").diff
    except BadInput:
        return diff


def _progress(as_json: bool) -> Any:
    def say(step: str) -> None:
        if not as_json and sys.stderr.isatty():
            print(f"{step} ...", file=sys.stderr)

    return say
