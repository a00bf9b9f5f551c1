"""What became of patches, as rows for `osiris kernel log` and notebook 08."""

from typing import Any

from osiris.core.errors import NotFound
from osiris.kernel.meta_loop import TurnReport
from osiris.kernel.patch import parse_patch
from osiris.kernel.patch_log import PatchLog
from osiris.sandbox.checkers import PatchRefused
from osiris.storage.patches import DEAD_LETTERS_KEY, PatchLists


def list_patches(patch_log: PatchLog) -> list[dict[str, Any]]:
    """One row for each patch, the newest first: its file, verdict and rewards, when it was applied and rolled back."""
    return [
        {
            "patch": patch["id"],
            "target": patch["target"],
            "by": patch["by"],
            "judged": _iso_time(patch.get("judged_at")),
            "state": patch["state"],
            "reward": (patch.get("measured") or {}).get("difference"),
            "trial until": _iso_time(patch.get("until")),
            "trial reward": (patch.get("trial") or {}).get("difference"),
            "live reward": (patch.get("live_reward") or {}).get("total"),
            "applied": _iso_time(patch.get("applied_at")),
            "rolled back": _iso_time(patch.get("rolled_back_at")),
            "reason": patch["reason"],
        }
        for patch in reversed(patch_log.patches().values())
    ]


def summarize_rollbacks(patch_log: PatchLog) -> dict[str, Any]:
    """How often patches were rolled back and why, their mean hours live, and the equity they made meanwhile (sum)."""
    patches = list(patch_log.patches().values())
    rolled_back = [patch for patch in patches if patch["state"] == "rolled_back"]
    # If the clock was set back, a patch may seem to end before it began: it then lived 0 hours.
    hours_live = [
        max(0.0, (patch["rolled_back_at"] - patch["applied_at"]).total_seconds() / 3600) for patch in rolled_back
    ]
    costs = [patch["cost"] for patch in rolled_back if patch.get("cost") is not None]
    applied = sum("applied_at" in patch for patch in patches)
    return {
        "applied": applied,
        "rolled back": len(rolled_back),
        "share": len(rolled_back) / applied if applied else None,
        "mean hours live": sum(hours_live) / len(hours_live) if hours_live else None,
        "made while live": sum(costs) if costs else None,
        "reasons": [f"{patch['id']}: {patch['reason']}" for patch in rolled_back],
    }


def get_turn_patch(patch_log: PatchLog, report: TurnReport) -> dict[str, Any]:
    """The patch of a turn with its diff, checks and measurement; a placeholder for a turn without a verdict."""
    blank: dict[str, Any] = {"diff": report.reason or "no patch in this turn", "checks": [], "measured": None}
    return blank | patch_log.patches().get(report.patch or "", {})


def list_queue(patch_log: PatchLog, lists: PatchLists, key: str = "") -> list[dict[str, Any]]:
    """One row for each item of the queue, the next first: `{patch, target, by, state, diff}`.

    For an item that is no patch, `state` says why.
    """
    rows: list[dict[str, Any]] = []
    known = patch_log.patches()
    for item in lists.list_queue():
        try:
            patch = parse_patch(item, key)
        except PatchRefused as error:
            rows.append({"patch": "-", "target": "-", "by": "-", "state": f"no patch: {error}", "diff": item[:200]})
            continue
        state = known.get(patch.id, {}).get("state") or "waiting"
        rows.append({"patch": patch.id, "target": patch.target, "by": patch.by, "state": state, "diff": patch.diff})
    return rows


def list_dead_letters(lists: PatchLists) -> list[dict[str, Any]]:
    """The dead letters, the newest first: `{at, reason, item}`."""
    return [
        {name: str(letter.get(name) or "-") for name in ("at", "reason", "item")}
        for letter in lists.read_list(DEAD_LETTERS_KEY)
    ]


def find_patch(patch_log: PatchLog, lists: PatchLists, patch_id: str, key: str = "") -> dict[str, Any]:
    """One patch: from the patch log, or as it waits in the queue; raises `NotFound`."""
    try:
        return patch_log.get(patch_id)
    except NotFound:
        waiting = [row for row in list_queue(patch_log, lists, key) if row["patch"] == patch_id]
        if not waiting:
            raise
        return {"id": patch_id, **waiting[0]}


def _iso_time(at: Any) -> str | None:
    return at.isoformat() if at is not None else None
