"""The settings object: defaults, overridden by `osiris.toml` in the workspace, overridden by variables `OSIRIS_*`.

For example, `OSIRIS_GATE__ALPHA=0.1` sets `gate.alpha`, and `OSIRIS_WORKSPACE` names the workspace folder. Unknown keys
are errors in the file and in the environment. No other module of Osiris reads the environment.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_origin

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from osiris.config.sections import (
    AdviseSettings,
    ClockSettings,
    ContextSettings,
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
LOG_FILE_VARIABLE = VARIABLE_PREFIX + "LOG_FILE"
PROJECT_ROOT = Path(__file__).resolve().parents[2]
"""The repository root: where `notebooks/`, `flows/` and `recipes/` lie."""

_set_by_us: set[str] = set()

RENAMED_KEYS = {
    "gate.level": "gate.alpha",
    "gate.policy": "gate.serve",
    "kernel.level": "kernel.alpha",
    "kernel.trial_level": "kernel.trial_alpha",
    "model.bound": "model.constrained",
}
"""Former names of keys: an error says what each is called now."""


class _Environment(EnvSettingsSource):
    """The variables `OSIRIS_*`. A list may be written with commas."""

    def decode_complex_value(self, field_name: str, field: Any, value: Any) -> Any:
        """Read the value of a list, table or section from JSON. A list may also be written as `AAPL,MSFT`."""
        is_list = field is not None and get_origin(field.annotation) is list
        try:
            decoded = super().decode_complex_value(field_name, field, value)
        except ValueError as error:
            if not is_list:
                name = _find_variable(field_name, value)
                raise SettingsError(f"JSON in {name}", repr(value), 'write it as {"KEY": VALUE}') from error
            decoded = None
        if is_list and not isinstance(decoded, list):
            return [part.strip() for part in value.split(",") if part.strip()]
        return decoded


class Settings(BaseSettings):
    """All settings of a workspace."""

    model_config = SettingsConfigDict(
        env_prefix=VARIABLE_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, protected_namespaces=()
    )

    workspace: Path = Path(".")
    clock: ClockSettings = ClockSettings()
    model: ModelSettings = ModelSettings()
    llm: LlmSettings = LlmSettings()
    advise: AdviseSettings = AdviseSettings()
    context: ContextSettings = ContextSettings()
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
        """Order the sources: the environment overrides the file, whose content is passed as init arguments."""
        return _Environment(settings_cls), init_settings

    def with_model(self, **changes: Any) -> "Settings":
        """The same settings with values of the table `model` changed."""
        return self.model_copy(update={"model": self.model.model_copy(update=changes)})

    @property
    def notes_file(self) -> Path:
        """File of the notes on tickers."""
        return self.data / "notes.jsonl"

    @property
    def data(self) -> Path:
        """Folder of the stores."""
        return self.workspace / "data"

    @property
    def prompts(self) -> Path:
        """Folder of the prompt templates that replace shipped ones."""
        return self.workspace / "prompts"

    @property
    def adapters(self) -> Path:
        """Folder of the adapters."""
        return self.workspace / "adapters"

    @property
    def mlruns(self) -> Path:
        """Folder of MLflow and of executed notebooks."""
        return self.workspace / "mlruns"


def load_settings(workspace: Path | str | None = None) -> Settings:
    """Read the settings of a workspace folder (default: `$OSIRIS_WORKSPACE`, else the current folder).

    Raises `SettingsError` for a malformed file, an unknown key or a bad value; `WorkspaceError` for a missing folder.
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
        raise _to_settings_error(error, folder / "osiris.toml") from error


def child_environment(workspace: Path) -> dict[str, str]:
    """Return the environment for a program that works on `workspace`."""
    return environment_with(**{WORKSPACE_VARIABLE: str(workspace)})


def log_environment(file: Path) -> dict[str, str]:
    """Return the environment for a process that is to write its log to the end of `file`."""
    return environment_with(**{LOG_FILE_VARIABLE: str(file)})


def environment_with(**variables: str) -> dict[str, str]:
    """Return the environment for a child process that is to have these variables too."""
    return os.environ | variables


def find_rank(variable: Literal["RANK", "LOCAL_RANK"]) -> int | None:
    """Return the number of this process, of all or of this machine's, if torch's launcher started it with others."""
    rank = os.environ.get(variable)
    return None if rank is None else int(rank)


def find_log_file() -> Path | None:
    """Return the file that the process which started this one wants its log in."""
    named = os.environ.get(LOG_FILE_VARIABLE)
    return Path(named) if named else None


def set_environment(**variables: str) -> None:
    """Set variables for a library that has no other switches, in this process and its children."""
    os.environ.update(variables)
    _set_by_us.update(variables)


def replace_environment(environment: Mapping[str, str]) -> None:
    """Set the variables of this process to those of `environment` alone."""
    os.environ.clear()
    os.environ.update(environment)


def given_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that somebody else has set, in an environment for a child of this process."""
    own = _set_by_us | {LOG_FILE_VARIABLE}
    return {name: value for name, value in environment.items() if name not in own}


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return tomllib.loads(
            path.read_text(encoding="utf-8-sig")
        )  # some Windows editors start a file with a byte-order mark
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("valid TOML", f"{error} in {path}", "correct the file") from error


def _reject_unknown_variables() -> None:
    known = {LOG_FILE_VARIABLE, *(VARIABLE_PREFIX + name.upper() for name in Settings.model_fields)}
    for name in sorted(os.environ):
        if name.startswith(VARIABLE_PREFIX) and name.split("__")[0] not in known:
            raise SettingsError(
                f"one of the sections {', '.join(sorted(known))} (key after two underscores)",
                f"the variable {name}",
                "unset or rename it",
            )


def _find_variable(key: str, value: str) -> str:
    """Return the name of the variable that sets a key to this value; `key` is the last part of its name."""
    names = (name for name, text in os.environ.items() if text == value and name.upper().startswith(VARIABLE_PREFIX))
    return next((name for name in names if name.upper().endswith(key.upper())), f"{VARIABLE_PREFIX}*")


def _to_settings_error(error: ValidationError, path: Path) -> SettingsError:
    """Describe the first problem, and name the variable or the file that has the bad value."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    variable = VARIABLE_PREFIX + "__".join(str(part) for part in first["loc"] if not isinstance(part, int)).upper()
    present = next((name for name in os.environ if name.upper() == variable), None)
    remedy = f"correct the variable {present}" if present else f"correct {path} or OSIRIS_*"
    if first["type"] == "extra_forbidden":
        if key in RENAMED_KEYS:
            return SettingsError(f"the key {RENAMED_KEYS[key]}", f"{key}, its former name", remedy)
        section = Settings.model_fields.get(str(first["loc"][0]))
        names = getattr(section.annotation, "model_fields", Settings.model_fields) if section else Settings.model_fields
        return SettingsError(f"one of {', '.join(sorted(names))}", f"the unknown key {key}", remedy)
    actual = "something else" if key == "llm.key" else repr(first.get("input"))  # a key must not reach a log
    return SettingsError(f"{key}: {first['msg']}", actual, remedy)
