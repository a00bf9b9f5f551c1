"""MLflow: one run an adapter, with its parameters, curves, dataset, page and a version of the registered model.

By default SQLite and artifacts under the workspace's `mlruns/`, so that several processes (notebooks, flows, the
command line) may use it one after another; `mlflow.tracking_uri` names a server instead. No other file imports mlflow.
"""

import json
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from osiris.adapters.mlflow_parts import describe_adapter, load_dataset_input, to_mlflow_metrics
from osiris.adapters.mlflow_store import EXPERIMENT, MlflowStore, TrackingFailed, fetch_all_pages
from osiris.config.settings import Settings
from osiris.core.errors import NotFound

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["EXPERIMENT", "REGISTERED_MODEL", "LoggedAdapter", "Tracking", "TrackingFailed"]
REGISTERED_MODEL = "osiris-phi3"
ADAPTER_TAG, NIGHT_TAG, VERDICT_TAG, VERDICT_COUNT_TAG = (
    "osiris.adapter",
    "osiris.night",
    "osiris.verdict",
    "osiris.verdicts",
)
CARD_TAGS = ("parent", "base_hash", "data_hash", "recipe", "recipe_hash", "as_of", "failed")
COMPLETE_STATUSES = ("FINISHED", "FAILED")
"""Status of a run that was logged to its end; one that was left unfinished is still running to MLflow."""
DESCRIPTION_TAG = "mlflow.note.content"
"""The tag whose Markdown MLflow shows as the description of a run."""
MAX_BATCH_METRICS, MAX_PARAM_CHARACTERS = 1000, 6000
"""Limits of MLflow: metrics in a batch, letters of a parameter."""


class LoggedAdapter(NamedTuple):
    """Where an adapter is found in MLflow."""

    run_id: str
    version: int


class Tracking:
    """The runs of one workspace. Nothing is imported, opened or created before the first call that needs it.

    What somebody deleted in MLflow (a run, the model, the experiment) is restored, or made anew, when it is needed.
    Whatever MLflow cannot do is raised as `TrackingFailed`.
    """

    def __init__(self, settings: Settings) -> None:
        """Use `settings.mlflow.tracking_uri`, or SQLite in the workspace."""
        self._store = MlflowStore(settings)
        self.uri = self._store.uri

    def ensure_nightly_run(self, night: str) -> str:
        """Return the run under which the runs of one night are grouped, made on the first call; its id."""
        with self._store.exclusive_access():
            query = f"tags.`{NIGHT_TAG}` = '{night}'"
            found = next(iter(self._store.find_runs(query)), None) or self._store.restore_newest(
                query, COMPLETE_STATUSES
            )
            if found:
                return found.info.run_id
            run = self._store.client.create_run(
                self._store.experiment_id, run_name=f"night {night}", tags={NIGHT_TAG: night}
            )
            self._store.client.set_terminated(run.info.run_id)
            return run.info.run_id

    def log_adapter(
        self,
        name: str,
        kind: str,
        card: Mapping[str, Any],
        params: Mapping[str, Any],
        history: Sequence[Mapping[str, float]],
        metrics: Mapping[str, float],
        dataset_path: Path,
        adapter_dir: Path,
        parent_run_id: str | None = None,
    ) -> LoggedAdapter:
        """Write the run and the model version of a published adapter; a second call for it changes nothing.

        `history` is a dict a step with the key `step`, all else being curves; `dataset_path` is its training JSONL.
        The run of a training that failed has MLflow's status for it. A run that an earlier process left unfinished is
        replaced. Raises `BadInput` for a missing or empty dataset.
        """
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
            return LoggedAdapter(run.info.run_id, self._ensure_version(run, name))

    def attach_notebook(self, run_id: str, page: Path) -> None:
        """Add an executed notebook to a run: it is complete only after the run was written."""
        with self._store.exclusive_access():
            self._store.client.log_artifact(run_id, str(page), "page")

    def log_verdict(self, name: str, metrics: Mapping[str, float], verdict: Mapping[str, Any]) -> str:
        """Add what the gate measured and decided to an adapter's run, once for the same words; returns the run's id.

        What a later verdict measures is shown in place of an earlier one's, and not a number for what it could not
        measure. Raises `NotFound` for an adapter that was not logged.
        """
        with self._store.exclusive_access():
            run, verdict_json = self._find_complete_run(name), json.dumps(verdict, sort_keys=True, default=str)
            if run is None:
                raise NotFound("a logged adapter", name, "log it before its verdict")
            if run.data.tags.get(VERDICT_TAG) != verdict_json:
                number = int(run.data.tags.get(VERDICT_COUNT_TAG, 0))
                before = {key: math.nan for key in run.data.metrics if key.startswith(("heldout_", "gate_"))}
                self._log_points(run, to_mlflow_metrics([], before | metrics, int(time.time() * 1000), number))
                self._set_description(run, verdict)
                self._store.client.set_tag(run.info.run_id, VERDICT_COUNT_TAG, str(number + 1))
                self._store.client.set_tag(run.info.run_id, VERDICT_TAG, verdict_json)
            return run.info.run_id

    def set_aliases(self, aliases: Mapping[str, str | None]) -> None:
        """Point each alias of the registered model at that adapter's version; `None`, or one never logged, drops it."""
        if not self._store.exists:
            return
        with self._store.exclusive_access():
            for alias, name in aliases.items():
                run = self._find_complete_run(name) if name else None
                if run is not None:
                    self._store.client.set_registered_model_alias(
                        REGISTERED_MODEL, alias, str(self._ensure_version(run, str(name)))
                    )
                elif self._store.client.search_registered_models(f"name = '{REGISTERED_MODEL}'"):
                    self._store.client.delete_registered_model_alias(REGISTERED_MODEL, alias)

    def aliases(self) -> dict[str, str]:
        """The adapter that each alias of the registered model points at."""
        with self._store.exclusive_access():
            if not self._store.client.search_registered_models(f"name = '{REGISTERED_MODEL}'"):
                return {}
            names = {str(version.version): version.tags[ADAPTER_TAG] for version in self._model_versions()}
            version_of_alias = self._store.client.get_registered_model(REGISTERED_MODEL).aliases
            return {alias: names[str(version)] for alias, version in version_of_alias.items()}

    def adapters(self) -> list[dict[str, Any]]:
        """All logged adapters, newest first: name, kind, run, version, card, verdict, params (text), last metrics."""
        if not self._store.exists:
            return []
        with self._store.exclusive_access():
            versions = self._versions()
            runs = [
                run
                for run in self._store.find_runs(f"tags.`{ADAPTER_TAG}` LIKE '%'")
                if run.info.status in COMPLETE_STATUSES
            ]
            return [
                _row(run, versions) for run in sorted(runs, key=lambda run: run.data.tags[ADAPTER_TAG], reverse=True)
            ]

    def server_command(self, port: int = 5000) -> str:
        """Return the shell command that serves these runs on the loopback interface, or a server's own address."""
        if self.uri.startswith(("http://", "https://")):
            return self.uri
        program = Path(sys.executable).with_name("mlflow")
        stores = ["--backend-store-uri", self.uri, "--default-artifact-root", str(self._store.artifacts)]
        command = shlex.join([str(program), "server", *stores, "--host", "127.0.0.1", "--port", str(port)])
        return f"MLFLOW_DISABLE_TELEMETRY=true {command}"

    def _model_versions(self) -> list[Any]:
        query = f"name = '{REGISTERED_MODEL}'"
        return fetch_all_pages(lambda token: self._store.client.search_model_versions(query, page_token=token))

    def _versions(self) -> dict[str, int]:
        return {version.run_id: int(version.version) for version in self._model_versions()}

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
        """A new run, begun so long ago as the training took."""
        tags = {ADAPTER_TAG: name, "osiris.kind": kind} | {f"osiris.{key}": str(card.get(key, "")) for key in CARD_TAGS}
        nested = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
        began = int((time.time() - seconds) * 1000)
        return self._store.client.create_run(self._store.experiment_id, began, tags | nested, name)

    def _set_description(self, run: "Run", verdict: Mapping[str, Any] | None) -> None:
        """Say in words, where MLflow shows a run, what it is and what the gate said; the latter as a column too."""
        card = {key: run.data.tags.get(f"osiris.{key}", "") for key in CARD_TAGS}
        self._store.client.set_tag(run.info.run_id, DESCRIPTION_TAG, describe_adapter(run.info.run_name, card, verdict))
        if verdict:
            self._store.client.set_tag(run.info.run_id, "gate", verdict["reason"])

    def _log_points(self, run: "Run", metrics: list[Any]) -> None:
        for start in range(0, len(metrics), MAX_BATCH_METRICS):
            self._store.client.log_batch(run.info.run_id, metrics=metrics[start : start + MAX_BATCH_METRICS])

    def _ensure_version(self, run: "Run", name: str) -> int:
        known = self._versions().get(run.info.run_id)
        if known is not None:
            return known
        if not self._store.client.search_registered_models(f"name = '{REGISTERED_MODEL}'"):
            self._store.client.create_registered_model(REGISTERED_MODEL)
        tags = {key: value for key, value in run.data.tags.items() if key.startswith("osiris.")}
        source = f"{run.info.artifact_uri}/adapter"
        made = self._store.client.create_model_version(
            REGISTERED_MODEL, source, run.info.run_id, tags=tags, description=name
        )
        return int(made.version)


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
