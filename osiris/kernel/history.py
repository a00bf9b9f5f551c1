"""What became of patches, as people look at it: `osiris kernel log`, page 08."""

from typing import Any

from osiris.kernel.book import PatchBook
from osiris.kernel.meta_loop import TurnReport


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


def _moment(at: Any) -> str | None:
    return at.isoformat() if at is not None else None
