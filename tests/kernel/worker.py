"""Applies and rolls back patches until it is killed: `python -m tests.kernel.worker FOLDER`."""

import sys
from datetime import timedelta
from itertools import count
from pathlib import Path

from osiris.kernel.apply import apply_patch, finish_step, roll_back
from osiris.kernel.patch_log import PatchLog
from osiris.kernel.repo import PolicyRepo
from osiris.policy import shipped_files
from tests.builders import MOMENT


def patched_files(name):
    """The shipped policy with a line that tells which patch it is."""
    files = shipped_files()
    return files | {"gate.py": files["gate.py"] + f"# {name}\n"}


def add_judged_patch(patch_log, name, at):
    """A proved patch in the book, and what the book says of it."""
    measured = {"incumbent": {"total": 0.1}, "candidate": {"total": 0.2}, "difference": 0.1}
    facts = {
        "target": "gate.py",
        "by": "ann",
        "diff": f"+# {name}",
        "hermes": 7,
        "measured": measured,
        "reason": "better",
        "measuring": True,
    }
    patch_log.record("judged", name, at, verdict="proved", checks=[], **facts)
    return {"id": name, **facts}


def main(folder):
    """One step after the other."""
    patch_log, repo = PatchLog(folder / "patches.jsonl"), PolicyRepo(folder / "policy.git")
    print("ready", flush=True)
    for number in count(len(patch_log.entries())):
        live, at = repo.head(), MOMENT + timedelta(minutes=number)
        finish_step(patch_log, repo, at)
        live = repo.head()
        if live.patch_id:
            roll_back(patch_log, repo, live.patch_id, at, "by the worker")
        else:
            name = f"p{number}"
            apply_patch(patch_log, repo, add_judged_patch(patch_log, name, at), patched_files(name), live, at)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
