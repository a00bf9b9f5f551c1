"""What became of patches, as people look at it: `osiris kernel log`, page 08."""

from typing import Any

from osiris.core.errors import NotFound
from osiris.kernel.meta_loop import TurnReport
from osiris.kernel.patch import read_patch
from osiris.kernel.patch_log import PatchBook
from osiris.sandbox.checkers import Refused
from osiris.storage.patches import DEAD, PatchLists


def history(book: PatchBook) -> list[dict[str, Any]]:
    """A row a patch, the newest first: what it changed, its verdict, its rewards, when it went live and was undone."""
    return [
        {
            "patch": patch["id"],
            "target": patch["target"],
            "by": patch["by"],
            "judged": _moment(patch.get("judged_at")),
            "state": patch["state"],
            "reward": (patch.get("measured") or {}).get("difference"),
            "trial until": _moment(patch.get("until")),
            "trial reward": (patch.get("trial") or {}).get("difference"),
            "live reward": (patch.get("live_reward") or {}).get("total"),
            "applied": _moment(patch.get("applied_at")),
            "rolled back": _moment(patch.get("rolled_back_at")),
            "reason": patch["reason"],
        }
        for patch in reversed(book.patches().values())
    ]


def rollbacks(book: PatchBook) -> dict[str, Any]:
    """How often patches were rolled back, why, how long they lived (hours, mean) and what they cost (equity, sum)."""
    patches = list(book.patches().values())
    undone = [patch for patch in patches if patch["state"] == "rolled_back"]
    # A clock that was set back would have a patch end before it began.
    lived = [max(0.0, (patch["rolled_back_at"] - patch["applied_at"]).total_seconds() / 3600) for patch in undone]
    costs = [patch["cost"] for patch in undone if patch.get("cost") is not None]
    applied = sum("applied_at" in patch for patch in patches)
    return {
        "applied": applied,
        "rolled back": len(undone),
        "share": len(undone) / applied if applied else None,
        "mean hours live": sum(lived) / len(lived) if lived else None,
        "made while live": sum(costs) if costs else None,
        "reasons": [f"{patch['id']}: {patch['reason']}" for patch in undone],
    }


def of_turn(book: PatchBook, report: TurnReport) -> dict[str, Any]:
    """The patch of a turn with its diff, checks and measurement; blank for a turn without a verdict."""
    blank = {"diff": report.reason or "no patch in this turn", "checks": [], "measured": None}
    return blank | book.patches().get(report.patch or "", {})


def queued(book: PatchBook, lists: PatchLists, key: str = "") -> list[dict[str, Any]]:
    """A row an item of the queue, the next first: `{patch, target, by, state, diff}`; `state` says what is wrong."""
    found, known = [], book.patches()
    for item in lists.items():
        try:
            patch = read_patch(item, key)
        except Refused as error:
            found.append({"patch": "-", "target": "-", "by": "-", "state": f"no patch: {error}", "diff": item[:200]})
            continue
        state = known.get(patch.id, {}).get("state") or "waiting"
        found.append({"patch": patch.id, "target": patch.target, "by": patch.by, "state": state, "diff": patch.diff})
    return found


def dead_letters(lists: PatchLists) -> list[dict[str, Any]]:
    """The dead letters, the newest first: `{at, reason, item}`."""
    return [{name: str(letter.get(name) or "-") for name in ("at", "reason", "item")} for letter in lists.read(DEAD)]


def known(book: PatchBook, lists: PatchLists, patch_id: str, key: str = "") -> dict[str, Any]:
    """One patch: of the book, or as it waits in the queue; raises `NotFound`."""
    try:
        return book.get(patch_id)
    except NotFound:
        waiting = [row for row in queued(book, lists, key) if row["patch"] == patch_id]
        if not waiting:
            raise
        return {"id": patch_id, **waiting[0]}


def _moment(at: Any) -> str | None:
    return at.isoformat() if at is not None else None
