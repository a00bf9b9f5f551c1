"""What is in a workspace: counts, the adapter in use, where the parts keep their files."""

from collections.abc import Sequence
from typing import Any

from osiris.adapters.mlflow_runs import CARD_TAGS
from osiris.core.errors import BadInput, NotFound
from osiris.core.ideas import Outcome, Status
from osiris.core.types import Row
from osiris.policy import edit_warning
from osiris.storage.tables import ACCEPTED_SQL
from osiris.workspace import Workspace


def get_workspace_status(workspace: Workspace) -> Row:
    """What is in the workspace: ideas by status and outcome, disputes, adapters, and which one is served and why."""
    return {
        "workspace": str(workspace.folder),
        "as_of": workspace.now.isoformat(),
        "ideas": workspace.advice.count(),
        "status": {str(s): workspace.advice.count(f"status = '{s}'") for s in Status},
        "outcomes": count_accepted_outcomes(workspace),
        "unpublished_events": workspace.advice.count("event_id IS NOT NULL AND published_at IS NULL"),
        "feedback": len(workspace.advice.feedback()),
        "tickers": workspace.bars.tickers(),
        "disputed_bars": sum(len(found) for found in workspace.bars.disputes().values()),
        "model": workspace.settings.model.base,
        **get_live_policy(workspace),
        "adapters": workspace.registry.names(),
        **get_served_adapter(workspace),
        "gate_policy": workspace.settings.gate.serve,
    }


def get_served_adapter(workspace: Workspace) -> Row:
    """The adapter in use, the sha256 of its weights (of the base's, where none is), and those passed over, with why."""
    served, shelf = workspace.find_served(), workspace.registry
    return {
        "served": served.name or "base",
        "served_sha256": shelf.weights_hash(served.name) if served.name else shelf.base_hash(),
        "pinned": shelf.pinned(),
        "passed_over": [f"{name}: {reason}" for name, reason in served.skipped],
    }


def get_live_policy(workspace: Workspace) -> Row:
    """The commit of the policy that drafts, the patch it came by, which are on trial, and what is wrong."""
    from osiris.kernel.observe import check_pass_rate
    from osiris.kernel.shadow_trial import patches_on_trial

    head, book = workspace.policy_repo.head(), workspace.patch_log
    warnings = [
        f"{patch_id} LETS TOO LITTLE THROUGH: {words}"
        for patch_id in book.live_ids()
        if (words := check_pass_rate(workspace.advice, book.get(patch_id), workspace.settings, workspace.now)[0])
    ]
    edited = {"policy_note": note} if (note := edit_warning()) else {}
    return {
        "policy": head.commit,
        "patch": head.patch_id,
        "on_trial": list(patches_on_trial(book)),
        "policy_warnings": warnings,
        **edited,
    }


def count_accepted_outcomes(workspace: Workspace) -> dict[str, int]:
    """How many accepted ideas have each outcome."""
    return {str(o): workspace.advice.count(f"{ACCEPTED_SQL} AND outcome = '{o}'") for o in Outcome}


def build_adapter_table(workspace: Workspace) -> list[Row]:
    """A row an adapter: what it was trained from and on, its held-out numbers, the verdict, whether it is served."""
    logged = {row["name"]: row for row in workspace.tracking.adapters()}
    served = workspace.find_served().name
    return [_adapter_row(workspace, name, logged.get(name, {}), served) for name in workspace.registry.names()]


def compare_logged(adapters: Sequence[Row], a: str, b: str) -> Row:
    """Two of `Tracking.adapters` side by side: facts, params and metrics as {key: [of a, of b]}, `None` for none.

    Raises `NotFound` for an adapter that was never logged.
    """
    known = {row["name"]: row for row in adapters}
    for name in (a, b):
        if name not in known:
            raise NotFound(f"a logged adapter ({', '.join(known) or 'none yet'})", name, "see: osiris adapters")
    one, other = known[a], known[b]
    facts = ("kind", "version", "run_id", *CARD_TAGS, "verdict")
    return {
        "adapters": [a, b],
        "facts": {key: [one[key], other[key]] for key in facts},
        "params": _paired_values(one["params"], other["params"]),
        "metrics": _paired_values(one["metrics"], other["metrics"]),
    }


def to_comparison_rows(comparison: Row) -> list[Row]:
    """What was `compared`, as rows of a table."""
    a, b = comparison["adapters"]
    return [
        {"what": f"{section}.{key}", a: values[0], b: values[1]}
        for section in ("facts", "params", "metrics")
        for key, values in comparison[section].items()
    ]


def _adapter_row(workspace: Workspace, name: str, logged: Row, served: str | None) -> Row:
    metrics, verdict = logged.get("metrics", {}), _verdict(workspace, name)
    return {
        "adapter": name,
        "served": name == served,
        "kind": logged.get("kind"),
        "parent": logged.get("parent"),
        "rows": int(metrics["rows"]) if "rows" in metrics else None,
        "heldout_mean_r": _rounded(metrics.get("heldout_mean_r")),
        "heldout_win_rate": _rounded(metrics.get("heldout_win_rate")),
        "valid_share": _rounded(metrics.get("heldout_valid_share")),
        "skill_r": _rounded(verdict.get("skill")),
        "could_show_r": _rounded(verdict.get("detectable")),
        "verdict": verdict.get("reason"),
    }


def _rounded(value: float | None) -> float | None:
    """To a thousandth, so that the table fits a terminal of 80 columns."""
    return None if value is None else round(value, 3)


def _verdict(workspace: Workspace, name: str) -> Row:
    """What was decided about an adapter; where that cannot be read, the reason says so, and the others are shown."""
    try:
        return workspace.registry.verdict(name) or {}
    except BadInput as error:
        return {"reason": str(error)}


def _paired_values(one: Row, other: Row) -> dict[str, list[Any]]:
    return {key: [one.get(key), other.get(key)] for key in sorted(one.keys() | other.keys())}
