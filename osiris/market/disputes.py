"""What stands beside the bars of a ticker and interval: the disputes about them, and the sessions without bars.

- `TICKER.disputes.json` lists the bars on which sources disagree.
- `TICKER.absent.jsonl` is append-only. It lists the sessions of which a person said that they had no other bars, and
  those for which a bar came later.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from osiris.core.errors import WorkspaceError
from osiris.core.files import fsync_path, write_atomically
from osiris.market.reconcile import Disagreement

DISPUTES_SUFFIX = ".disputes.json"
ABSENT_SUFFIX = ".absent.jsonl"


def read_disputes(path: Path) -> list[Disagreement]:
    """The disagreements about the bars at `path`, a file of bars or of disputes; raises `WorkspaceError`."""
    file = path if path.name.endswith(DISPUTES_SUFFIX) else path.with_suffix(DISPUTES_SUFFIX)
    if not file.exists():
        return []
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return [Disagreement(**row | {"start": datetime.fromisoformat(row["start"])}) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        remedy = "remove it once you have looked at it, and run: osiris prices update"
        raise WorkspaceError("a list of disputed bars", f"{error} in {file}", remedy) from error


def write_disputes(path: Path, disputes: Sequence[Disagreement]) -> None:
    """Store the disputes next to the bars: of each bar and offered source, the last one."""
    file = path.with_suffix(DISPUTES_SUFFIX)
    if disputes:
        last = {(d.start, d.offered_source): d for d in disputes}
        rows = [asdict(d) | {"start": d.start.isoformat()} for _, d in sorted(last.items())]
        write_atomically(file, json.dumps(rows, indent=1))
    else:
        file.unlink(missing_ok=True)


def read_absences(path: Path) -> dict[datetime, datetime]:
    """Open and close of the sessions of which a person said that they had no other bars; raises `WorkspaceError`."""
    file = path.with_suffix(ABSENT_SUFFIX)
    absences: dict[datetime, datetime] = {}
    if not file.exists():
        return absences
    try:
        for line in file.read_bytes().split(b"\n")[:-1]:  # a killed writer leaves a line without its end
            entry = json.loads(line)
            start = datetime.fromisoformat(entry["start"])
            absences.pop(start, None)
            if entry["absent"]:
                absences[start] = datetime.fromisoformat(entry["end"])
    except (ValueError, TypeError, KeyError) as error:
        remedy = "remove it once you have looked at it, and confirm those sessions again"
        raise WorkspaceError("a list of sessions without bars", f"{error} in {file}", remedy) from error
    return absences


def append_absence(path: Path, start: datetime, end: datetime, *, absent: bool = True) -> None:
    """Append that the session had no other bars, or that one came, and flush it to disk."""
    file = path.with_suffix(ABSENT_SUFFIX)
    entry = {"start": start.isoformat(), "end": end.isoformat(), "absent": absent}
    torn = file.exists() and file.stat().st_size and not file.read_bytes().endswith(b"\n")
    with file.open("ab") as stream:
        if torn:  # a killed writer left part of a line: the next line must not continue it
            stream.truncate(file.read_bytes().rfind(b"\n") + 1)
        stream.write(json.dumps(entry).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    fsync_path(file.parent)
