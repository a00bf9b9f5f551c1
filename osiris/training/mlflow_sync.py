"""Log adapters and verdicts in MLflow, from their cards, datasets and verdict files.

No training and no decision depends on MLflow: people read it. If it cannot be written, the step warns, and the
next nightly run logs what is missing.
"""

import logging
from typing import Any

from osiris.adapters.mlflow_runs import Tracking, TrackingFailed
from osiris.adapters.registry import AdapterRegistry
from osiris.adapters.verdicts import OVERRIDE_KEYS
from osiris.config.settings import Settings
from osiris.core.errors import AdapterRejected, BadInput, NotFound
from osiris.training.datasets import dataset_file

log = logging.getLogger(__name__)

LOGGING_ERRORS = (TrackingFailed, AdapterRejected, BadInput, NotFound)
"""Errors that are reported as a note, because a nightly run must not fail when MLflow cannot be written."""
REGISTRY_ONLY_KEYS = {*OVERRIDE_KEYS, "gate_promoted", "as_of", "held_out"} - {"promoted"}
"""Keys of a verdict in the registry that are not part of the gate's own verdict."""


def log_adapter(registry: AdapterRegistry, tracking: Tracking, settings: Settings, name: str) -> str:
    """Log a published adapter with its training parameters, unless that was done; returns its run's id."""
    card = registry.validate(name).model_dump()
    kind = "dpo" if name.endswith("-dpo") else "qlora"
    nightly_run_id = tracking.ensure_nightly_run(name[:8])
    logged = tracking.log_adapter(name, kind, card, dataset_file(settings, name), registry.path(name), nightly_run_id)
    return logged.run_id


def log_missing(registry: AdapterRegistry, tracking: Tracking, settings: Settings) -> None:
    """Log the adapters and verdicts that are missing in MLflow; each that fails is a warning."""
    try:
        logged = {row["name"]: row for row in tracking.adapters()}
    except TrackingFailed as error:
        log.warning(not_logged_note(error))
        return
    for name in reversed(registry.names()):
        row = logged.get(name)
        try:
            verdict = registry.verdict(name)
            if row is None or row["version"] is None:
                log_adapter(registry, tracking, settings, name)
            if verdict and "metrics" in verdict and not (row and row["verdict"]):
                tracking.log_verdict(name, heldout_metrics(name, verdict), to_gate_verdict(verdict))
        except LOGGING_ERRORS as error:
            log.warning(not_logged_note(error))


def heldout_metrics(name: str, verdict: dict[str, Any]) -> dict[str, float]:
    """The numbers of a verdict that the adapter's run shows: its own metrics and the p-value."""
    metrics = {f"heldout_{key}": value for key, value in verdict["metrics"].get(name, {}).items()}
    return metrics | ({"gate_p_value": verdict["p_value"]} if verdict.get("p_value") is not None else {})


def to_gate_verdict(verdict: dict[str, Any]) -> dict[str, Any]:
    """A verdict of the registry as the gate gave it, without a person's decision."""
    promoted = verdict.get("gate_promoted", verdict["promoted"])
    return {key: value for key, value in verdict.items() if key not in REGISTRY_ONLY_KEYS} | {"promoted": promoted}


def not_logged_note(error: Exception) -> str:
    """The note for something that could not be logged."""
    return f"MLflow lacks it until the next nightly run: {error}"
