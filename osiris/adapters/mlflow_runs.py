"""MLflow's runs: each adapter has one, with parameters, curves, dataset, notebook and a version of the model.

By default MLflow keeps a SQLite file and artifacts under the workspace's `mlruns/`. Several processes (notebooks,
flows, the command line) may use them one after another. The setting `mlflow.tracking_uri` names a server instead.
Only `osiris.adapters.model_registry` and the modules `osiris.adapters.mlflow_*` know MLflow.
"""

import json
import math
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from osiris.adapters.mlflow_parts import describe_adapter, load_dataset_input, to_mlflow_metrics
from osiris.adapters.mlflow_store import EXPERIMENT, MlflowStore, TrackingFailed
from osiris.adapters.model_registry import REGISTERED_MODEL, ModelRegistry
from osiris.config.settings import Settings
from osiris.core.errors import NotFound

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["EXPERIMENT", "REGISTERED_MODEL", "LoggedAdapter", "Tracking", "TrackingFailed"]
ADAPTER_TAG = "osiris.adapter"
NIGHT_TAG = "osiris.night"
VERDICT_TAG = "osiris.verdict"
VERDICT_COUNT_TAG = "osiris.verdicts"
CARD_TAGS = (
    "parent", "base_hash", "data_hash", "recipe", "recipe_hash", "prompt_versions", "weights", "as_of", "failed"
)  # fmt: skip
"""Keys of an adapter's card that become tags `osiris.KEY` of its run."""
COMPLETE_STATUSES = ("FINISHED", "FAILED")
"""Statuses of a run that was logged to its end. For MLflow, a run that a killed process left is still running."""
DESCRIPTION_TAG = "mlflow.note.content"
"""The tag whose Markdown MLflow shows as the description of a run."""
MAX_BATCH_METRICS = 1000
"""MLflow's limit for the metrics in one batch."""
MAX_PARAM_CHARACTERS = 6000
"""MLflow's limit for the text of one parameter."""


class LoggedAdapter(NamedTuple):
    """An adapter's run and model version in MLflow."""

    run_id: str
    version: int


class Tracking:
    """The MLflow runs of one workspace. Nothing is imported, opened or created before the first call that needs it.

    A run, model or experiment that somebody deleted in MLflow is restored, or created anew, when it is needed. Every
    error of MLflow is raised as `TrackingFailed`.
    """

    def __init__(self, settings: Settings) -> None:
        """Use `settings.mlflow.tracking_uri`, or SQLite in the workspace."""
        self._store = MlflowStore(settings)
        self._models = ModelRegistry(self._store)
        self.uri = self._store.uri

    def ensure_nightly_run(self, nightly_date: str) -> str:
        """The id of the MLflow run that groups the runs of one nightly run (YYYYMMDD); created on the first call."""
        with self._store.exclusive_access():
            query = f"tags.`{NIGHT_TAG}` = '{nightly_date}'"
            found = next(iter(self._store.find_runs(query)), None) or self._store.restore_newest(
                query, COMPLETE_STATUSES
            )
            if found:
                return found.info.run_id
            run = self._store.client.create_run(
                self._store.experiment_id, run_name=f"night {nightly_date}", tags={NIGHT_TAG: nightly_date}
            )
            self._store.client.set_terminated(run.info.run_id)
            return run.info.run_id

    def log_adapter(
        self,
        name: str,
        kind: str,
        card: Mapping[str, Any],
        dataset_path: Path,
        adapter_dir: Path,
        parent_run_id: str | None = None,
    ) -> LoggedAdapter:
        """Write the run and the model version of a published adapter; a second call for it changes nothing.

        The card's `params` and `metrics` become those of the run. Its `history` has a dict for each step: `step`, and a
        point of each curve. `dataset_path` is the JSONL that the adapter was trained on. A failed training gets the
        status FAILED. A run that an earlier process left unfinished is replaced. Raises `BadInput` for a missing or
        empty dataset.
        """
        params, metrics, history = card.get("params", {}), card.get("metrics", {}), card.get("history", [])
        with self._store.exclusive_access():
            dataset = load_dataset_input(dataset_path, f"{kind} of {name}")
            run = self._find_complete_run(name)
            if run is None:
                run = self._create_run(name, kind, card, metrics.get("seconds", 0.0), parent_run_id)
                self._set_description(run, None)
                for key, value in sorted(params.items()):
                    self._store.client.log_param(run.info.run_id, key, str(value)[:MAX_PARAM_CHARACTERS])
                self._log_points(run, to_mlflow_metrics(history, metrics, run.info.start_time))
                self._store.client.log_inputs(run.info.run_id, [dataset])
                self._store.client.log_artifact(run.info.run_id, str(dataset_path), "dataset")
                self._store.client.log_artifacts(run.info.run_id, str(adapter_dir), "adapter")
                self._store.client.set_terminated(run.info.run_id, "FAILED" if card.get("failed") else "FINISHED")
            return LoggedAdapter(run.info.run_id, self._models.ensure_version(run, name))

    def attach_notebook(self, run_id: str, notebook: Path) -> None:
        """Add an executed notebook or its page to a run, an extra step: it ends only after its run was written."""
        with self._store.exclusive_access():
            self._store.client.log_artifact(run_id, str(notebook), "page")

    def log_verdict(self, name: str, metrics: Mapping[str, float], verdict: Mapping[str, Any]) -> str:
        """Add the metrics and the verdict of the gate to an adapter's run; returns the run's id.

        The same verdict is added only once. The metrics of a later verdict replace those of an earlier one, with NaN
        for those that the later one could not measure. Raises `NotFound` for an adapter that was not logged.
        """
        with self._store.exclusive_access():
            run, verdict_json = self._find_complete_run(name), json.dumps(verdict, sort_keys=True, default=str)
            if run is None:
                raise NotFound("a logged adapter", name, "log it before its verdict")
            if run.data.tags.get(VERDICT_TAG) != verdict_json:
                number = int(run.data.tags.get(VERDICT_COUNT_TAG, 0))
                before = {key: math.nan for key in run.data.metrics if key.startswith(("heldout_", "gate_"))}
                self._log_points(run, to_mlflow_metrics([], {**before, **metrics}, int(time.time() * 1000), number))
                self._set_description(run, verdict)
                self._store.client.set_tag(run.info.run_id, VERDICT_COUNT_TAG, str(number + 1))
                self._store.client.set_tag(run.info.run_id, VERDICT_TAG, verdict_json)
            return run.info.run_id

    def set_aliases(self, aliases: Mapping[str, str | None]) -> None:
        """Point each alias of the registered model at the version of an adapter.

        `None`, or an adapter that was never logged, deletes the alias.
        """
        if not self._store.exists:
            return
        with self._store.exclusive_access():
            for alias, name in aliases.items():
                run = self._find_complete_run(name) if name else None
                self._models.set_alias(alias, self._models.ensure_version(run, str(name)) if run else None)

    def aliases(self) -> dict[str, str]:
        """Each alias of the registered model, with the adapter that it points at."""
        with self._store.exclusive_access():
            return {alias: tags[ADAPTER_TAG] for alias, tags in self._models.find_aliases().items()}

    def adapters(self) -> list[dict[str, Any]]:
        """All logged adapters, newest first: name, kind, run, version, card, verdict, params (text), last metrics."""
        if not self._store.exists:
            return []
        with self._store.exclusive_access():
            versions = self._models.find_versions()
            runs = [
                run
                for run in self._store.find_runs(f"tags.`{ADAPTER_TAG}` LIKE '%'")
                if run.info.status in COMPLETE_STATUSES
            ]
            return [
                _row(run, versions) for run in sorted(runs, key=lambda run: run.data.tags[ADAPTER_TAG], reverse=True)
            ]

    def server_command(self, port: int = 5000) -> str:
        """The shell command that serves these runs on the loopback interface; for a server, its address."""
        if self.uri.startswith(("http://", "https://")):
            return self.uri
        program = Path(sys.executable).with_name("mlflow")
        stores = ["--backend-store-uri", self.uri, "--default-artifact-root", str(self._store.artifacts)]
        command = shlex.join([str(program), "server", *stores, "--host", "127.0.0.1", "--port", str(port)])
        return f"MLFLOW_DISABLE_TELEMETRY=true {command}"

    def _find_complete_run(self, name: str) -> "Run | None":
        query = f"tags.`{ADAPTER_TAG}` = '{name}'"
        for run in self._store.find_runs(query):
            if run.info.status in COMPLETE_STATUSES:
                return run
            self._store.client.delete_run(run.info.run_id)
        return self._store.restore_newest(query, COMPLETE_STATUSES)

    def _create_run(
        self, name: str, kind: str, card: Mapping[str, Any], seconds: float, parent_run_id: str | None
    ) -> "Run":
        """A new run whose start lies `seconds` back, so that MLflow shows how long the training took."""
        tags = {ADAPTER_TAG: name, "osiris.kind": kind} | {f"osiris.{key}": str(card.get(key, "")) for key in CARD_TAGS}
        nested = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
        began = int((time.time() - seconds) * 1000)
        return self._store.client.create_run(self._store.experiment_id, began, tags | nested, name)

    def _set_description(self, run: "Run", verdict: Mapping[str, Any] | None) -> None:
        """Write the description that MLflow shows with a run, and the reason of the verdict as a tag of its own.

        MLflow lists tags as columns, so the reasons of several adapters can be compared in one table.
        """
        card = {key: run.data.tags.get(f"osiris.{key}", "") for key in CARD_TAGS}
        self._store.client.set_tag(run.info.run_id, DESCRIPTION_TAG, describe_adapter(run.info.run_name, card, verdict))
        if verdict:
            self._store.client.set_tag(run.info.run_id, "gate", verdict["reason"])

    def _log_points(self, run: "Run", metrics: list[Any]) -> None:
        for start in range(0, len(metrics), MAX_BATCH_METRICS):
            self._store.client.log_batch(run.info.run_id, metrics=metrics[start : start + MAX_BATCH_METRICS])


def _row(run: "Run", versions: Mapping[str, int]) -> dict[str, Any]:
    """A logged adapter, as `Tracking.adapters` returns it."""
    return {
        "name": run.data.tags[ADAPTER_TAG],
        "kind": run.data.tags.get("osiris.kind"),
        "run_id": run.info.run_id,
        "version": versions.get(run.info.run_id),
        **{key: run.data.tags.get(f"osiris.{key}") for key in CARD_TAGS},
        "verdict": json.loads(run.data.tags.get(VERDICT_TAG, "null")),
        "params": dict(run.data.params),
        "metrics": {key: value for key, value in run.data.metrics.items() if not math.isnan(value)},
    }
