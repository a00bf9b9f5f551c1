"""The one settings object: defaults, overridden by `osiris.toml` in the workspace, overridden by `OSIRIS_*`.

Nothing else in Osiris reads the environment. `OSIRIS_GATE__LEVEL=0.1` sets `gate.alpha`; `OSIRIS_WORKSPACE` names the
workspace folder. Unknown keys are errors in both places.
"""

import os
import tomllib
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from osiris.config.sections import (
    AdviseSettings,
    ClockSettings,
    GateSettings,
    KernelSettings,
    LlmSettings,
    MlflowSettings,
    ModelSettings,
    OutcomesSettings,
    PrefectSettings,
    PricesSettings,
    RedisSettings,
    ReviewSettings,
    RewardsSettings,
    TrainingSettings,
)
from osiris.core.errors import SettingsError, WorkspaceError

VARIABLE_PREFIX = "OSIRIS_"
WORKSPACE_VARIABLE = VARIABLE_PREFIX + "WORKSPACE"
PROJECT_ROOT = Path(__file__).resolve().parents[2]
"""The repository root: where `notebooks/`, `flows/` and `recipes/` lie."""


class _Environment(EnvSettingsSource):
    """The variables `OSIRIS_*`; a list may be written with commas."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        """What a list, table or section is given as: JSON, a list also as `AAPL,MSFT`."""
        is_list = field is not None and get_origin(field.annotation) is list
        try:
            decoded = super().decode_complex_value(field_name, field, value)
        except ValueError as error:
            if not is_list:
                name = _variable_of(field_name, value)
                raise SettingsError(f"JSON in {name}", repr(value), 'write it as {"KEY": VALUE}') from error
            decoded = None
        if is_list and not isinstance(decoded, list):
            return [part.strip() for part in value.split(",") if part.strip()]
        return decoded


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        env_prefix=VARIABLE_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, protected_namespaces=()
    )

    workspace: Path = Path(".")
    clock: ClockSettings = ClockSettings()
    model: ModelSettings = ModelSettings()
    llm: LlmSettings = LlmSettings()
    advise: AdviseSettings = AdviseSettings()
    review: ReviewSettings = ReviewSettings()
    outcomes: OutcomesSettings = OutcomesSettings()
    prices: PricesSettings = PricesSettings()
    redis: RedisSettings = RedisSettings()
    training: TrainingSettings = TrainingSettings()
    gate: GateSettings = GateSettings()
    rewards: RewardsSettings = RewardsSettings()
    kernel: KernelSettings = KernelSettings()
    prefect: PrefectSettings = PrefectSettings()
    mlflow: MlflowSettings = MlflowSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: the environment wins over the file, which is handed in as init arguments."""
        return _Environment(settings_cls), init_settings

    @property
    def data(self) -> Path:
        """Folder of the stores."""
        return self.workspace / "data"

    @property
    def adapters(self) -> Path:
        """Folder of the adapters."""
        return self.workspace / "adapters"

    @property
    def mlruns(self) -> Path:
        """Folder of MLflow and of executed pages."""
        return self.workspace / "mlruns"


def load_settings(workspace: Path | str | None = None) -> Settings:
    """Read the settings of a workspace folder (default: `$OSIRIS_WORKSPACE`, else the current folder).

    Raises `SettingsError` for a malformed file, an unknown key or a bad value, `WorkspaceError` for a missing folder.
    """
    folder = Path(workspace or os.environ.get(WORKSPACE_VARIABLE) or ".").expanduser().resolve()
    if not folder.is_dir():
        raise WorkspaceError("a workspace folder", f"{folder}, which is not a folder", "make it, or name another one")
    _reject_unknown_variables()
    try:
        return Settings(**(_read_toml(folder / "osiris.toml") | {"workspace": folder})).model_copy(
            update={"workspace": folder}
        )
    except ValidationError as error:
        raise _first_problem(error, folder / "osiris.toml") from error


def child_environment(workspace: Path) -> dict[str, str]:
    """The environment of a program that is to work on `workspace`."""
    return os.environ | {WORKSPACE_VARIABLE: str(workspace)}


def set_environment(**variables: str) -> None:
    """Set variables for a library that has no other switches, in this process and those it starts."""
    os.environ.update(variables)


def _read_toml(path: Path) -> dict:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows editors begin a file with a mark
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("valid TOML", f"{error} in {path}", "correct the file") from error


def _reject_unknown_variables() -> None:
    known = {VARIABLE_PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(VARIABLE_PREFIX) and name.split("__")[0] not in known:
            raise SettingsError(
                f"one of the sections {', '.join(sorted(known))} (key after two underscores)",
                f"the variable {name}",
                "unset or rename it",
            )


def _variable_of(key: str, value: str) -> str:
    """The variable that has this value for a key, named by its last part."""
    known = (name for name, said in os.environ.items() if said == value and name.upper().startswith(VARIABLE_PREFIX))
    return next((name for name in known if name.upper().endswith(key.upper())), f"{VARIABLE_PREFIX}*")


def _first_problem(error: ValidationError, path: Path) -> SettingsError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    variable = VARIABLE_PREFIX + "__".join(str(part) for part in first["loc"] if not isinstance(part, int)).upper()
    given = next((name for name in os.environ if name.upper() == variable), None)
    where = f"correct the variable {given}" if given else f"correct {path} or OSIRIS_*"
    if first["type"] == "extra_forbidden":
        section = Settings.model_fields.get(str(first["loc"][0]))
        names = getattr(section.annotation, "model_fields", Settings.model_fields) if section else Settings.model_fields
        return SettingsError(f"one of {', '.join(sorted(names))}", f"the unknown key {key}", where)
    actual = "something else" if key == "llm.key" else repr(first.get("input"))
    return SettingsError(f"{key}: {first['msg']}", actual, where)
