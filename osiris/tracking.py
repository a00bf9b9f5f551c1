"""MLflow: one run an adapter, with its parameters, curves, dataset, page and a version of the registered model.

By default SQLite and artifacts under the workspace's `mlruns/`, so that several processes (notebooks, flows, the
command line) may use it one after another; `mlflow.tracking_uri` names a server instead. No other file imports mlflow.
"""

import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from osiris.errors import NotFound
from osiris.mlflow_parts import dataset_input, ensure_database, note
from osiris.settings import Settings, export

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT, MODEL = "osiris", "osiris-phi3"
ADAPTER, NIGHT, VERDICT = "osiris.adapter", "osiris.night", "osiris.verdict"
TAGGED = ("parent", "base_hash", "data_hash", "recipe", "recipe_hash", "as_of", "failed")
WHOLE = ("FINISHED", "FAILED")
"""Status of a run that was logged to its end; one that was left unfinished is still running to MLflow."""
NOTE = "mlflow.note.content"
"""The tag whose Markdown MLflow shows as the description of a run."""
MOST_METRICS, LONGEST_PARAM = 1000, 6000
"""Limits of MLflow: metrics in a batch, letters of a parameter."""


class Logged(NamedTuple):
    """Where an adapter is found in MLflow."""

    run_id: str
    version: int


class Tracking:
    """The runs of one workspace. Nothing is imported, opened or created before the first call that needs it."""

    def __init__(self, settings: Settings) -> None:
        """Use `settings.mlflow.tracking_uri`, or SQLite in the workspace."""
        self._database = settings.mlruns.resolve() / "mlflow.db"
        self._artifacts = self._database.with_name("artifacts")
        self._local = not settings.mlflow.tracking_uri
        self.uri = settings.mlflow.tracking_uri or f"sqlite:///{self._database}"

    def night(self, night: str) -> str:
        """Return the run under which the runs of one night are grouped, made on the first call; its id."""
        with self._lock():
            found = self._runs(f"tags.`{NIGHT}` = '{night}'")
            if found:
                return found[0].info.run_id
            run = self._client.create_run(self._experiment, run_name=f"night {night}", tags={NIGHT: night})
            self._client.set_terminated(run.info.run_id)
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
    ) -> Logged:
        """Write the run and the model version of a published adapter; a second call for it changes nothing.

        `history` is a dict a step with the key `step`, all else being curves; `dataset_path` is its training JSONL.
        The run of a training that failed has MLflow's status for it. A run that an earlier process left unfinished is
        replaced. Raises `BadInput` for a missing or empty dataset.
        """
        dataset = dataset_input(dataset_path, f"{kind} of {name}")
        with self._lock():
            run = self._whole_run(name)
            if run is None:
                run = self._begin(name, kind, card, metrics.get("seconds", 0.0), parent_run_id)
                self._describe(run, None)
                self._log_numbers(run, params, history, metrics)
                self._client.log_inputs(run.info.run_id, [dataset])
                self._client.log_artifact(run.info.run_id, str(dataset_path), "dataset")
                self._client.log_artifacts(run.info.run_id, str(adapter_dir), "adapter")
                self._client.set_terminated(run.info.run_id, "FAILED" if card.get("failed") else "FINISHED")
            return Logged(run.info.run_id, self._version(run, name))

    def attach_page(self, run_id: str, page: Path) -> None:
        """Add an executed notebook to a run: it is complete only after the run was written."""
        self._client.log_artifact(run_id, str(page), "page")

    def log_verdict(self, name: str, metrics: Mapping[str, float], verdict: Mapping[str, Any]) -> str:
        """Add what the gate measured and decided to an adapter's run, once for the same words; returns the run's id.

        Raises `NotFound` for an adapter that was not logged.
        """
        with self._lock():
            run, said = self._whole_run(name), json.dumps(verdict, sort_keys=True, default=str)
            if run is None:
                raise NotFound("a logged adapter", name, "log it before its verdict")
            if run.data.tags.get(VERDICT) != said:
                self._log_numbers(run, {}, [], metrics)
                self._describe(run, verdict)
                self._client.set_tag(run.info.run_id, VERDICT, said)
            return run.info.run_id

    def point_aliases(self, aliases: Mapping[str, str | None]) -> None:
        """Point each alias of the registered model at that adapter's version; `None`, or one never logged, drops it."""
        versions = {row["name"]: row["version"] for row in self.adapters()}
        with self._lock():
            for alias, name in aliases.items():
                if versions.get(name or "") is not None:
                    self._client.set_registered_model_alias(MODEL, alias, str(versions[name]))
                elif versions:
                    self._client.delete_registered_model_alias(MODEL, alias)

    def aliases(self) -> dict[str, str]:
        """The adapter that each alias of the registered model points at."""
        if not self._client.search_registered_models(f"name = '{MODEL}'"):
            return {}
        names = {str(row["version"]): row["name"] for row in self.adapters()}
        pointed = self._client.get_registered_model(MODEL).aliases
        return {alias: names[str(version)] for alias, version in pointed.items()}

    def adapters(self) -> list[dict[str, Any]]:
        """All logged adapters, newest first: name, kind, run, version, card, verdict, params (text), last metrics."""
        if self._local and not self._database.exists():
            return []
        versions = self._versions()
        runs = [run for run in self._runs(f"tags.`{ADAPTER}` LIKE '%'") if run.info.status in WHOLE]
        return [
            {
                "name": run.data.tags[ADAPTER],
                "kind": run.data.tags["osiris.kind"],
                "run_id": run.info.run_id,
                "version": versions.get(run.info.run_id),
                **{key: run.data.tags.get(f"osiris.{key}") for key in TAGGED},
                "verdict": json.loads(run.data.tags.get(VERDICT, "null")),
                "params": dict(run.data.params),
                "metrics": dict(run.data.metrics),
            }
            for run in sorted(runs, key=lambda run: run.data.tags[ADAPTER], reverse=True)
        ]

    def open_command(self, port: int = 5000) -> str:
        """Return the shell command that serves these runs on the loopback interface, or a server's own address."""
        if self.uri.startswith(("http://", "https://")):
            return self.uri
        program = Path(sys.executable).with_name("mlflow")
        stores = ["--backend-store-uri", self.uri, "--default-artifact-root", str(self._artifacts)]
        command = shlex.join([str(program), "server", *stores, "--host", "127.0.0.1", "--port", str(port)])
        return f"MLFLOW_DISABLE_TELEMETRY=true {command}"

    def _lock(self) -> FileLock:
        self._database.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self._database.with_name(".tracking.lock"))

    @cached_property
    def _client(self) -> "MlflowClient":
        # mlflow begins its telemetry while it is imported, and prints links: these variables are its only switches
        export(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true")
        from mlflow import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        if self._local:
            ensure_database(self._database)
        return MlflowClient(self.uri, self.uri)

    @cached_property
    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found:
            return found.experiment_id
        return self._client.create_experiment(EXPERIMENT, self._artifacts.as_uri() if self._local else None)

    def _runs(self, query: str) -> list["Run"]:
        return _all(lambda token: self._client.search_runs([self._experiment], query, page_token=token))

    def _versions(self) -> dict[str, int]:
        query = f"name = '{MODEL}'"
        found = _all(lambda token: self._client.search_model_versions(query, page_token=token))
        return {version.run_id: int(version.version) for version in found}

    def _whole_run(self, name: str) -> "Run | None":
        for run in self._runs(f"tags.`{ADAPTER}` = '{name}'"):
            if run.info.status in WHOLE:
                return run
            self._client.delete_run(run.info.run_id)
        return None

    def _begin(self, name: str, kind: str, card: Mapping[str, Any], seconds: float, parent_run_id: str | None) -> "Run":
        """A new run, begun so long ago as the training took."""
        tags = {ADAPTER: name, "osiris.kind": kind} | {f"osiris.{key}": str(card.get(key, "")) for key in TAGGED}
        nested = {"mlflow.parentRunId": parent_run_id} if parent_run_id else {}
        began = int((time.time() - seconds) * 1000)
        return self._client.create_run(self._experiment, began, tags | nested, name)

    def _describe(self, run: "Run", verdict: Mapping[str, Any] | None) -> None:
        """Say in words, where MLflow shows a run, what it is and what the gate said; the latter as a column too."""
        card = {key: run.data.tags.get(f"osiris.{key}", "") for key in TAGGED}
        self._client.set_tag(run.info.run_id, NOTE, note(run.info.run_name, card, verdict))
        if verdict:
            self._client.set_tag(run.info.run_id, "gate", verdict["reason"])

    def _log_numbers(
        self,
        run: "Run",
        params: Mapping[str, Any],
        history: Sequence[Mapping[str, float]],
        metrics: Mapping[str, float],
    ) -> None:
        from mlflow.entities import Metric

        points = [
            (key, value, int(entry["step"])) for entry in history for key, value in entry.items() if key != "step"
        ]
        points += [(key, value, 0) for key, value in metrics.items()]
        numbers = [Metric(key, float(value), run.info.start_time, step) for key, value, step in points]
        for key, value in sorted(params.items()):
            self._client.log_param(run.info.run_id, key, str(value)[:LONGEST_PARAM])
        for start in range(0, len(numbers), MOST_METRICS):
            self._client.log_batch(run.info.run_id, metrics=numbers[start : start + MOST_METRICS])

    def _version(self, run: "Run", name: str) -> int:
        known = self._versions().get(run.info.run_id)
        if known is not None:
            return known
        if not self._client.search_registered_models(f"name = '{MODEL}'"):
            self._client.create_registered_model(MODEL)
        tags = {key: value for key, value in run.data.tags.items() if key.startswith("osiris.")}
        source = f"{run.info.artifact_uri}/adapter"
        made = self._client.create_model_version(MODEL, source, run.info.run_id, tags=tags, description=name)
        return int(made.version)


def _all(ask: Callable[[str | None], Any]) -> list[Any]:
    found = [*(page := ask(None))]
    while page.token:
        found += (page := ask(page.token))
    return found
