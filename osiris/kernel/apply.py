"""Applying and rolling back: a commit made beside the live branch, a line in the book, one compare-and-set, a line.

Who is killed in between leaves the policy exactly as it was or exactly as it was to be; `finish` then does the rest.
A rollback takes with it every patch that was applied after the one that failed: what is live is always something
that was live before, never a mixture that nobody proved.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from osiris.core.errors import Conflict
from osiris.kernel.patch_log import Entry, PatchBook
from osiris.kernel.repo import NONE, PolicyRepo, Version

DONE = {"applying": "applied", "rolling_back": "rolled_back"}


def apply_patch(
    book: PatchBook, repo: PolicyRepo, patch: Entry, files: dict[str, str], live: Version, as_of: datetime
) -> str:
    """Make `files` the live policy, as patch `patch` (an entry of the book); returns the commit."""
    commit = repo.commit(files, live.commit, apply_message(patch), as_of)
    book.note("applying", patch["id"], as_of, commit=commit, parent=live.commit)
    finish(book, repo, as_of)
    return commit


def roll_back(
    book: PatchBook, repo: PolicyRepo, patch_id: str, as_of: datetime, reason: str, **facts: Any
) -> list[str]:
    """Make live again what was live before a patch; returns the patches that went, it first.

    `facts` go into the book (the reward, what it cost). Raises `NotFound`, and `Conflict` for one that is not live.
    """
    patch = book.get(patch_id)
    if not patch["live"]:
        raise Conflict("a live patch", f"{patch_id}, which is {patch['state']}", "see: osiris kernel log")
    live, before = repo.head(), repo.version(patch["parent"])
    order = book.live()
    later = order[order.index(patch_id) + 1 :]
    message = revert_message(patch, later, before.patch_id, reason)
    commit = repo.commit(before.files, live.commit, message, as_of)
    steps = {"revert": commit, "onto": live.commit, "with": later, "reason": reason}
    book.note("rolling_back", patch_id, as_of, **steps, **facts)
    finish(book, repo, as_of)
    return [patch_id, *later]


def start_over(book: PatchBook, repo: PolicyRepo, as_of: datetime, reason: str) -> list[str]:
    """Make the shipped policy live, whatever is; returns the patches that went, the oldest first."""
    live, gone = repo.head(), book.live()
    commit = repo.shipped(live.commit)
    if gone:
        book.note("rolling_back", gone[0], as_of, revert=commit, onto=live.commit, reason=reason, **{"with": gone[1:]})
        finish(book, repo, as_of)
    else:
        repo.go_live(commit, live.commit)
    return gone


def finish(book: PatchBook, repo: PolicyRepo, as_of: datetime) -> str | None:
    """End the step that was begun last, if it was not ended; returns which patch it was about.

    Raises `Conflict` when somebody else has moved the live branch meanwhile; the step is given up then.
    """
    begun = book.unfinished()
    if begun is None:
        return None
    step, facts = begun
    commit, before = (facts["commit"], facts["parent"]) if step == "applying" else (facts["revert"], facts["onto"])
    along = {"with": facts["with"]} if "with" in facts else {}
    live = repo.head().commit
    if live not in (commit, before):
        why = f"somebody else moved the live branch to {live[:12]}"
        book.note("abandoned", facts["id"], as_of, begun=step, reason=why, **along)
        raise Conflict(f"a live policy at {before[:12]} for patch {facts['id']}", why, "nothing was changed; go on")
    if live != commit:
        repo.go_live(commit, before)
    book.note(DONE[step], facts["id"], as_of, **along)
    return facts["id"]


def apply_message(patch: Entry) -> str:
    """The commit message of a patch, with what it rests on as trailers."""
    measured = patch.get("measured") or {}
    trailers = {
        "Patch-Id": patch["id"],
        "Drafted-By": patch["by"],
        "Reward-Before": _reward(measured, "incumbent"),
        "Reward-After": _reward(measured, "candidate"),
        "Hermes-Score": patch.get("hermes"),
    }
    return _message(f"Patch {patch['id']} of {patch['target']}", trailers)


def revert_message(patch: Entry, later: Sequence[str], remaining: str | None, reason: str) -> str:
    """The commit message of a rollback; `remaining` is the newest patch that stays live."""
    trailers = {"Patch-Id": remaining or NONE, "Rolled-Back": ", ".join([patch["id"], *later]), "Reason": reason}
    title = f'Revert "Patch {patch["id"]} of {patch["target"]}"\n\nThis reverts commit {patch["commit"]}.'
    return _message(title, trailers)


def _message(title: str, trailers: dict[str, Any]) -> str:
    lines = [f"{name}: {' '.join(str(value).split())}" for name, value in trailers.items() if value is not None]
    return f"{title}\n\n" + "\n".join(lines) + "\n"


def _reward(measured: dict[str, Any], which: str) -> str | None:
    return f"{measured[which]['total']:+.4f}" if which in measured else None
