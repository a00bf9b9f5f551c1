"""What is in a workspace: counts, the adapter in use, where the parts keep their files."""

from typing import Any

from osiris.records import Outcome, Status
from osiris.store.tables import ACCEPTED_SQL
from osiris.workspace import Workspace

Row = dict[str, Any]


def workspace_status(workspace: Workspace) -> Row:
    """What is in the workspace: ideas by status and outcome, disputes, adapters, and which one is served and why."""
    served = workspace.served()
    return {
        "workspace": str(workspace.folder),
        "as_of": workspace.now.isoformat(),
        "ideas": workspace.advice.count(),
        "status": {str(s): workspace.advice.count(f"status = '{s}'") for s in Status},
        "outcomes": accepted_outcomes(workspace),
        "unpublished_events": workspace.advice.count("event_id IS NOT NULL AND published_at IS NULL"),
        "feedback": len(workspace.advice.feedback()),
        "tickers": workspace.bars.tickers(),
        "disputed_bars": sum(len(found) for found in workspace.bars.disputes().values()),
        "model": workspace.settings.model.base,
        "adapters": workspace.shelf.names(),
        "served": served.name or "base",
        "passed_over": [f"{name}: {reason}" for name, reason in served.skipped],
        "gate_policy": workspace.settings.gate.policy,
    }


def accepted_outcomes(workspace: Workspace) -> dict[str, int]:
    """How many accepted ideas have each outcome."""
    return {str(o): workspace.advice.count(f"{ACCEPTED_SQL} AND outcome = '{o}'") for o in Outcome}


def adapter_table(workspace: Workspace) -> list[Row]:
    """A row an adapter: what it was trained from and on, its held-out numbers, the verdict, whether it is served."""
    logged = {row["name"]: row for row in workspace.tracking.adapters()}
    served = workspace.served().name
    return [_adapter_row(workspace, name, logged.get(name, {}), served) for name in workspace.shelf.names()]


def comparison_rows(found: Row) -> list[Row]:
    """`Tracking.compare` as rows of a table."""
    a, b = found["adapters"]
    return [
        {"what": f"{section}.{key}", a: values[0], b: values[1]}
        for section in ("facts", "params", "metrics")
        for key, values in found[section].items()
    ]


def _adapter_row(workspace: Workspace, name: str, logged: Row, served: str | None) -> Row:
    metrics, verdict = logged.get("metrics", {}), workspace.shelf.verdict(name) or {}
    return {
        "adapter": name,
        "served": name == served,
        "kind": logged.get("kind"),
        "parent": logged.get("parent"),
        "rows": int(metrics["rows"]) if "rows" in metrics else None,
        "heldout_mean_r": metrics.get("heldout_mean_r"),
        "heldout_win_rate": metrics.get("heldout_win_rate"),
        "valid_share": metrics.get("heldout_valid_share"),
        "verdict": verdict.get("reason"),
        "mlflow_version": logged.get("version"),
    }
