"""What MLflow is told of the adapters: from their cards, datasets and verdicts, so that it can be told again.

MLflow is where people look, and nothing rests on it: what it could not be told tonight is a note, and the next night
tells it.
"""

from typing import Any

from osiris.adapters.mlflow_runs import Tracking, TrackingFailed
from osiris.adapters.registry import AdapterRegistry
from osiris.adapters.verdicts import OVERRIDE_KEYS
from osiris.config.settings import Settings
from osiris.core.errors import AdapterRejected, BadInput, NotFound
from osiris.training.datasets import dataset_file

LOGGING_ERRORS = (TrackingFailed, AdapterRejected, BadInput, NotFound)
"""Why something could not be logged."""
REGISTRY_ONLY_KEYS = {*OVERRIDE_KEYS, "gate_promoted", "as_of", "held_out"} - {"promoted"}
"""What the verdict on the shelf says and that of MLflow does not."""


def log_adapter(registry: AdapterRegistry, tracking: Tracking, settings: Settings, name: str) -> str:
    """Log a published adapter, unless that was done, with the parameters it was trained by; returns its run's id."""
    card = registry.validate(name).model_dump()
    metrics, params = card.get("metrics", {}), card.get("params", {})
    kind, dataset = "dpo" if name.endswith("-dpo") else "qlora", dataset_file(settings, name)
    logged = tracking.log_adapter(
        name,
        kind,
        card,
        params,
        card.get("history", []),
        metrics,
        dataset,
        registry.path(name),
        tracking.ensure_nightly_run(name[:8]),
    )
    return logged.run_id


def log_missing(shelf: AdapterRegistry, tracking: Tracking, settings: Settings, notes: list[str]) -> None:
    """Log the adapters and verdicts that MLflow does not have; `notes` gets what it could not be told."""
    try:
        logged = {row["name"]: row for row in tracking.adapters()}
    except TrackingFailed as error:
        notes.append(not_logged_note(error))
        return
    for name in reversed(shelf.names()):
        row = logged.get(name)
        try:
            verdict = shelf.verdict(name)
            if row is None or row["version"] is None:
                log_adapter(shelf, tracking, settings, name)
            if verdict and "metrics" in verdict and not (row and row["verdict"]):
                tracking.log_verdict(name, heldout_metrics(name, verdict), to_gate_verdict(verdict))
        except LOGGING_ERRORS as error:
            notes.append(not_logged_note(error))


def heldout_metrics(name: str, verdict: dict[str, Any]) -> dict[str, float]:
    """The numbers of a verdict that a run shows: those of the adapter, and the p-value."""
    metrics = {f"heldout_{key}": value for key, value in verdict["metrics"].get(name, {}).items()}
    return metrics | ({"gate_p_value": verdict["p_value"]} if verdict.get("p_value") is not None else {})


def to_gate_verdict(verdict: dict[str, Any]) -> dict[str, Any]:
    """A verdict of the shelf as the gate gave it, without the word of a person."""
    promoted = verdict.get("gate_promoted", verdict["promoted"])
    return {key: value for key, value in verdict.items() if key not in REGISTRY_ONLY_KEYS} | {"promoted": promoted}


def not_logged_note(error: Exception) -> str:
    """A note that MLflow lacks something."""
    return f"MLflow lacks it until the next night: {error}"
