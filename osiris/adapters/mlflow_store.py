"""MLflow's store in a workspace: its database, its artifacts and its errors.

MLflow keeps absolute paths of artifacts in its database. A workspace may be moved or copied: the paths in its database
are corrected when it is opened, so nothing is ever written to the former place.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Container, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from filelock import FileLock

from osiris.config.settings import Settings, set_environment
from osiris.core.errors import OsirisError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "osiris"
ARTIFACT_COLUMNS = {
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
    "logged_models": ("artifact_location",),
    "experiments": ("artifact_location",),
}
"""Columns of MLflow's tables that hold a path of artifacts. The path of the experiment shows
where the workspace was before, so it comes last."""


class TrackingFailed(OsirisError):
    """MLflow cannot be read or written; no training and no decision depends on it."""


class MlflowStore:
    """MLflow as one workspace uses it: SQLite under its `mlruns/`, or the server that the settings name."""

    def __init__(self, settings: Settings) -> None:
        """Open nothing yet."""
        self._database = settings.mlruns.resolve() / "mlflow.db"
        self._local = not settings.mlflow.tracking_uri
        self.artifacts = self._database.with_name("artifacts")
        self.uri = settings.mlflow.tracking_uri or database_uri(self._database)

    @property
    def exists(self) -> bool:
        """Whether the store can hold anything yet."""
        return not self._local or self._database.exists()

    @contextmanager
    def exclusive_access(self) -> Iterator[None]:
        """Let one process at a time use MLflow, and translate its errors."""
        with translate_errors():
            self._database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._database.with_name(".tracking.lock")):
                yield

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's own client."""
        silence_mlflow()
        from mlflow import MlflowClient

        if self._local:
            ensure_database(self._database)
            relocate_artifacts(self._database, self.artifacts)
        return MlflowClient(self.uri, self.uri)

    @property
    def experiment_id(self) -> str:
        """The id of the experiment, which is created if it is missing and restored if somebody deleted it."""
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            return self.client.create_experiment(EXPERIMENT, self.artifacts.as_uri() if self._local else None)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id

    def find_runs(self, query: str, deleted: bool = False) -> list["Run"]:
        """The runs of the experiment that match `query`: the active ones, or the `deleted` ones."""
        from mlflow.entities import ViewType

        experiment_ids, view = [self.experiment_id], ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
        return fetch_all_pages(lambda token: self.client.search_runs(experiment_ids, query, view, page_token=token))

    def restore_newest(self, query: str, statuses: Container[str]) -> "Run | None":
        """Restore the newest deleted run with a status in `statuses`, and return it; `None` if there is none."""
        for run in self.find_runs(query, deleted=True):
            if run.info.status in statuses:
                self.client.restore_run(run.info.run_id)
                return self.client.get_run(run.info.run_id)
        return None


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise every error of MLflow, its database and its files as `TrackingFailed`."""
    silence_mlflow()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        message = " ".join(str(error).split())[:300]
        raise TrackingFailed("MLflow to answer", message, "see mlruns/, or mlflow.tracking_uri") from error


def silence_mlflow() -> None:
    """Switch off MLflow's telemetry and its log messages; must be called before mlflow is imported."""
    # mlflow starts its telemetry while it is imported, and prints links: only these variables turn them off
    set_environment(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true")
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def import_mlflow() -> None:
    """Import MLflow and its store in a database, for what is done later in this process or its forks."""
    silence_mlflow()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def database_uri(database: Path) -> str:
    """The address of a SQLite file, whatever characters its path contains."""
    path = str(database)
    # The slashes are escaped too: SQLAlchemy decodes the path, but MLflow creates the folders of an undecoded path.
    return f"sqlite:///{quote(path, safe='') if set(path) & set('%?#') else path}"


def ensure_database(database: Path) -> None:
    """Create MLflow's SQLite database if there is none.

    MLflow creates its tables in some thirty steps. If it is killed between two of them, it fails on that file ever
    after. So the database is created under another name and renamed when it is complete.
    """
    from mlflow import MlflowClient

    database.parent.mkdir(parents=True, exist_ok=True)
    if database.exists():
        return
    with FileLock(database.with_name(".database.lock")):
        for orphan in database.parent.glob(f".{database.name}.*"):
            orphan.unlink()
        if not database.exists():
            draft = database.with_name(f".{database.name}.{os.getpid()}")
            client = MlflowClient(database_uri(draft), database_uri(draft))
            client.search_experiments()
            client.search_registered_models()
            draft.rename(database)


def relocate_artifacts(database: Path, artifacts: Path) -> None:
    """Correct the paths in the database, in one transaction, where they lead to another folder than `artifacts`."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        query = "SELECT artifact_location FROM experiments WHERE name = ?"
        (old,) = connection.execute(query, (EXPERIMENT,)).fetchone() or (None,)
        new = artifacts.as_uri()
        if old in (None, new):
            return
        for table, columns in ARTIFACT_COLUMNS.items():
            for column in columns:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                )


def fetch_all_pages(fetch_page: Callable[[str | None], Any]) -> list[Any]:
    """The entries of all pages; `fetch_page` returns the page of a token, the first one for `None`."""
    found = [*(page := fetch_page(None))]
    while page.token:
        found += (page := fetch_page(page.token))
    return found
