"""MLflow's model registry: every adapter is a version of one registered model, and an alias names the served one."""

from typing import TYPE_CHECKING, Any

from osiris.adapters.mlflow_store import MlflowStore, fetch_all_pages

if TYPE_CHECKING:
    from mlflow.entities import Run

REGISTERED_MODEL = "osiris-phi3"


class ModelRegistry:
    """The versions and aliases of the registered model in one store, which the caller has locked."""

    def __init__(self, store: MlflowStore) -> None:
        """Use `store`; nothing is opened yet."""
        self._store = store

    def find_versions(self) -> dict[str, int]:
        """The number of the model version of each run, by the run's id."""
        return {version.run_id: int(version.version) for version in self._find_all()}

    def ensure_version(self, run: "Run", name: str) -> int:
        """The number of the version of a run; the version, and the model itself, are created on the first call."""
        known = self.find_versions().get(run.info.run_id)
        if known is not None:
            return known
        if not self._exists():
            self._store.client.create_registered_model(REGISTERED_MODEL)
        tags = {key: value for key, value in run.data.tags.items() if key.startswith("osiris.")}
        source = f"{run.info.artifact_uri}/adapter"
        version = self._store.client.create_model_version(
            REGISTERED_MODEL, source, run.info.run_id, tags=tags, description=name
        )
        return int(version.version)

    def set_alias(self, alias: str, version: int | None) -> None:
        """Point an alias at a version; `None` deletes the alias."""
        if version is not None:
            self._store.client.set_registered_model_alias(REGISTERED_MODEL, alias, str(version))
        elif self._exists():
            self._store.client.delete_registered_model_alias(REGISTERED_MODEL, alias)

    def find_aliases(self) -> dict[str, dict[str, str]]:
        """Each alias, with the tags of the version that it points at."""
        if not self._exists():
            return {}
        tags = {str(version.version): version.tags for version in self._find_all()}
        aliases = self._store.client.get_registered_model(REGISTERED_MODEL).aliases
        return {alias: tags[str(version)] for alias, version in aliases.items()}

    def _exists(self) -> bool:
        return bool(self._store.client.search_registered_models(f"name = '{REGISTERED_MODEL}'"))

    def _find_all(self) -> list[Any]:
        query = f"name = '{REGISTERED_MODEL}'"
        return fetch_all_pages(lambda token: self._store.client.search_model_versions(query, page_token=token))
