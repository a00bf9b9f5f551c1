"""The status of a workspace: counts, the live policy, the adapters and the one in use."""

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
    """Report the workspace: ideas by status and outcome, disputes, adapters, and the served one with the reason."""
    return {
        "workspace": str(workspace.folder),
        "as_of": workspace.now.isoformat(),
        "ideas": workspace.advice.count(),
        "status": {str(s): workspace.advice.count(f"status = '{s}'") for s in Status},
        "outcomes": count_accepted_outcomes(workspace),
        "unpublished_events": workspace.advice.count("event_id IS NOT NULL AND published_at IS NULL"),
        "feedback": len(workspace.advice.feedback()),
        "tickers": workspace.bars.tickers(),
        "disputed_bars": sum(len(disputes) for disputes in workspace.bars.disputes().values()),
        "model": workspace.settings.model.base,
        **get_live_policy(workspace),
        "adapters": workspace.registry.names(),
        **get_served_adapter(workspace),
        "gate_policy": workspace.settings.gate.serve,
    }


def get_served_adapter(workspace: Workspace) -> Row:
    """Report the adapter in use, the sha256 of its weights, and the adapters that were passed over, with the reason.

    Without an adapter, the name is `base` and the sha256 is that of the base's weights.
    """
    served = workspace.find_served()
    registry = workspace.registry
    return {
        "served": served.name or "base",
        "served_sha256": registry.weights_hash(served.name) if served.name else registry.base_hash(),
        "pinned": registry.pinned(),
        "prompt_version": workspace.snapshots.prompt_version,
        "prompt_note": workspace.describe_other_prompts(served.name),
        "passed_over": [f"{name}: {reason}" for name, reason in served.skipped],
    }


def get_live_policy(workspace: Workspace) -> Row:
    """Report the live policy's commit and patch, the patches on trial, and warnings about the live patches."""
    from osiris.kernel.observe import check_pass_rate
    from osiris.kernel.shadow_trial import patches_on_trial

    head = workspace.policy_repo.head()
    patch_log = workspace.patch_log
    warnings = [
        f"{patch_id} LETS TOO LITTLE THROUGH: {words}"
        for patch_id in patch_log.live_ids()
        if (words := check_pass_rate(workspace.advice, patch_log.get(patch_id), workspace.settings, workspace.now)[0])
    ]
    edited = {"policy_note": note} if (note := edit_warning()) else {}
    return {
        "policy": head.commit,
        "patch": head.patch_id,
        "on_trial": list(patches_on_trial(patch_log)),
        "policy_warnings": warnings,
        **edited,
    }


def count_accepted_outcomes(workspace: Workspace) -> dict[str, int]:
    """Count the accepted ideas by outcome."""
    return {str(o): workspace.advice.count(f"{ACCEPTED_SQL} AND outcome = '{o}'") for o in Outcome}


def build_adapter_table(workspace: Workspace) -> list[Row]:
    """Return one row for each adapter: parent, training rows, held-out numbers, verdict, and whether it is served."""
    logged = {row["name"]: row for row in workspace.tracking.adapters()}
    served = workspace.find_served().name
    return [_adapter_row(workspace, name, logged.get(name, {}), served) for name in workspace.registry.names()]


def compare_logged(adapters: Sequence[Row], a: str, b: str) -> Row:
    """Put two of `Tracking.adapters` side by side: facts, params and metrics as {key: [of a, of b]}.

    A value that only one adapter has is `None` for the other. Raises `NotFound` for an adapter that was never logged.
    """
    known = {row["name"]: row for row in adapters}
    for name in (a, b):
        if name not in known:
            raise NotFound(f"a logged adapter ({', '.join(known) or 'none yet'})", name, "see: osiris adapters")
    first, second = known[a], known[b]
    facts = ("kind", "version", "run_id", *CARD_TAGS, "verdict")
    return {
        "adapters": [a, b],
        "facts": {key: [first[key], second[key]] for key in facts},
        "params": _paired_values(first["params"], second["params"]),
        "metrics": _paired_values(first["metrics"], second["metrics"]),
    }


def to_comparison_rows(comparison: Row) -> list[Row]:
    """Turn the result of `compare_logged` into the rows of a table."""
    a, b = comparison["adapters"]
    return [
        {"what": f"{section}.{key}", a: values[0], b: values[1]}
        for section in ("facts", "params", "metrics")
        for key, values in comparison[section].items()
    ]


def _adapter_row(workspace: Workspace, name: str, logged: Row, served: str | None) -> Row:
    metrics = logged.get("metrics", {})
    verdict = _verdict(workspace, name)
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
    """Round to a thousandth, so that the table fits a terminal of 80 columns."""
    return None if value is None else round(value, 3)


def _verdict(workspace: Workspace, name: str) -> Row:
    """Return an adapter's verdict. If its file is broken, the reason says so, and other adapters are still shown."""
    try:
        return workspace.registry.verdict(name) or {}
    except BadInput as error:
        return {"reason": str(error)}


def _paired_values(first: Row, second: Row) -> dict[str, list[Any]]:
    return {key: [first.get(key), second.get(key)] for key in sorted(first.keys() | second.keys())}
