"""`osiris notes`: news, filings and a person's own notes, which prompts show from their moment on."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from osiris.cli.common import (
    AsOfOption,
    JsonOption,
    WorkspaceOption,
    command_workspace,
    json_output,
    output_report,
    output_rows,
)

notes_app = typer.Typer(no_args_is_help=True, help="Notes on tickers that prompts show.")


@notes_app.command("import")
def import_notes(
    path: Annotated[Path, typer.Argument(help="A CSV or JSON Lines file with at, ticker and text.")],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import notes from a file; one bad row keeps the whole file out.

    `at` is the moment from which on a note was known, ISO 8601 with offset. `ticker` may be * for all. Optional are
    `kind` (news, filing, earnings) and `due`, the moment that a note announces. A note is stored once.
    """
    from osiris.storage.notes import read_note_file

    with command_workspace(workspace) as ws:
        output_report(ws.notes.add(read_note_file(path)), as_json, "Notes imported")


@notes_app.command("list")
def list_notes(
    ticker: Annotated[str, typer.Argument(help="A ticker (default: all notes).")] = "",
    last: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    workspace: WorkspaceOption = None,
    as_of: AsOfOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the notes that were known at a moment, the newest first."""
    from osiris.storage.notes import EVERY_TICKER

    with command_workspace(workspace, as_of) as ws:
        wanted = (ticker.upper(), EVERY_TICKER)
        known = [note for note in ws.notes.read() if note.at <= ws.now and (not ticker or note.ticker in wanted)]
        rows = [{"id": note.id, **asdict(note)} for note in known[::-1][:last]]
        output_rows(rows, as_json, "Notes, the newest first")


@notes_app.command("remove")
def remove_note(note_id: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Remove a note by its id, as `osiris notes list` shows it; ideas that were shown it stay as they are."""
    with command_workspace(workspace) as ws:
        output_report(ws.notes.remove(note_id), as_json, "Note removed")


def prompt_command(
    ticker: str,
    workspace: WorkspaceOption = None,
    as_of: AsOfOption = "",
    as_json: JsonOption = False,
) -> None:
    """Print the prompt of a ticker at a moment, as the drafter sees it."""
    from osiris.core.errors import NoPrices
    from osiris.core.run_log import collect_warnings
    from osiris.drafting.snapshots import take_snapshots
    from osiris.ui.console import to_printable

    with command_workspace(workspace, as_of) as ws:
        with collect_warnings() as warnings:
            found = take_snapshots(ws.snapshots, ws.policy, [ticker.upper()], [ws.now])
        if not found:
            raise NoPrices(f"prices of {ticker.upper()}", "; ".join(warnings) or "none", "osiris prices import FILE")
        shot = found[0]
        if as_json:
            json_output.write(
                {
                    "ticker": shot.ticker,
                    "as_of": shot.as_of,
                    "blocks": shot.blocks,
                    "prompt_version": shot.prompt_version,
                    "prompt": shot.prompt,
                    "notes": warnings,
                }
            )
        else:
            print(to_printable(shot.prompt))
