"""Applying and rolling back patches, in steps that can be finished after a kill.

Each change has four steps: make a commit outside the live branch, note it in the patch log, move the branch by one
compare-and-set, note that it is done. A process that is killed in between leaves either the old policy live or the new
one, never a mixture. `finish_step` then does the rest.

A rollback also removes every patch that was applied after the one that failed. So it restores a policy that was live
before, never a combination that nobody proved.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from osiris.core.errors import Conflict
from osiris.kernel.patch_log import PatchEntry, PatchLog
from osiris.kernel.repo import NO_PATCH, PolicyRepo, PolicyVersion

COMPLETED_STEPS = {"applying": "applied", "rolling_back": "rolled_back"}


def apply_patch(
    patch_log: PatchLog,
    repo: PolicyRepo,
    patch: PatchEntry,
    files: dict[str, str],
    live: PolicyVersion,
    as_of: datetime,
) -> str:
    """Make `files` the live policy, as the patch log's `patch`; returns the commit."""
    # The log comes first: it names the commit, so a turn that finds only this entry can finish the step.
    commit = repo.commit(files, live.commit, patch_message(patch), as_of)
    patch_log.record("applying", patch["id"], as_of, commit=commit, parent=live.commit)
    finish_step(patch_log, repo, as_of)
    return commit


def roll_back(
    patch_log: PatchLog, repo: PolicyRepo, patch_id: str, as_of: datetime, reason: str, **facts: Any
) -> list[str]:
    """Make live again what was live before a patch; returns the removed patches, this one first.

    `facts` go into the patch log (the reward, the cost). Raises `NotFound`, and `Conflict` for one that is not live.
    """
    patch = patch_log.get(patch_id)
    if not patch["live"]:
        raise Conflict("a live patch", f"{patch_id}, which is {patch['state']}", "see: osiris kernel log")
    live, before = repo.head(), repo.version(patch["parent"])
    order = patch_log.live_ids()
    later = order[order.index(patch_id) + 1 :]
    message = revert_message(patch, later, before.patch_id, reason)
    commit = repo.commit(before.files, live.commit, message, as_of)
    steps = {"revert": commit, "onto": live.commit, "with": later, "reason": reason}
    patch_log.record("rolling_back", patch_id, as_of, **steps, **facts)
    finish_step(patch_log, repo, as_of)
    return [patch_id, *later]


def restore_shipped_policy(patch_log: PatchLog, repo: PolicyRepo, as_of: datetime, reason: str) -> list[str]:
    """Make the shipped policy live, whatever is live now; returns the removed patches, the oldest first."""
    live, removed = repo.head(), patch_log.live_ids()
    commit = repo.commit_shipped(live.commit)
    if removed:
        patch_log.record(
            "rolling_back", removed[0], as_of, revert=commit, onto=live.commit, reason=reason, **{"with": removed[1:]}
        )
        finish_step(patch_log, repo, as_of)
    else:
        repo.set_live(commit, live.commit)
    return removed


def finish_step(patch_log: PatchLog, repo: PolicyRepo, as_of: datetime) -> str | None:
    """Finish the last step in the patch log if it was only begun; returns the id of its patch.

    Raises `Conflict` when somebody else has moved the live branch meanwhile. The step is then abandoned.
    """
    unfinished = patch_log.unfinished_step()
    if unfinished is None:
        return None
    step, facts = unfinished
    commit, before = (facts["commit"], facts["parent"]) if step == "applying" else (facts["revert"], facts["onto"])
    also_affected = {"with": facts["with"]} if "with" in facts else {}
    live = repo.head().commit
    if live not in (commit, before):
        reason = f"somebody else moved the live branch to {live[:12]}"
        patch_log.record("abandoned", facts["id"], as_of, begun=step, reason=reason, **also_affected)
        raise Conflict(f"a live policy at {before[:12]} for patch {facts['id']}", reason, "nothing was changed; go on")
    if live != commit:
        repo.set_live(commit, before)
    patch_log.record(COMPLETED_STEPS[step], facts["id"], as_of, **also_affected)
    return facts["id"]


def patch_message(patch: PatchEntry) -> str:
    """The commit message of a patch, with its author, rewards and Hermes score as trailers."""
    measured = patch.get("measured") or {}
    trailers = {
        "Patch-Id": patch["id"],
        "Drafted-By": patch["by"],
        "Reward-Before": _reward(measured, "incumbent"),
        "Reward-After": _reward(measured, "candidate"),
        "Hermes-Score": patch.get("hermes"),
    }
    return _message(f"Patch {patch['id']} of {patch['target']}", trailers)


def revert_message(patch: PatchEntry, later: Sequence[str], remaining: str | None, reason: str) -> str:
    """The commit message of a rollback; `remaining` is the newest patch that stays live."""
    trailers = {"Patch-Id": remaining or NO_PATCH, "Rolled-Back": ", ".join([patch["id"], *later]), "Reason": reason}
    title = f'Revert "Patch {patch["id"]} of {patch["target"]}"\n\nThis reverts commit {patch["commit"]}.'
    return _message(title, trailers)


def _message(title: str, trailers: dict[str, Any]) -> str:
    lines = [f"{name}: {' '.join(str(value).split())}" for name, value in trailers.items() if value is not None]
    return f"{title}\n\n" + "\n".join(lines) + "\n"


def _reward(measured: dict[str, Any], policy: str) -> str | None:
    return f"{measured[policy]['total']:+.4f}" if policy in measured else None
