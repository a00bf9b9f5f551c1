"""Recipes: a YAML file describes one experiment in the argument names of TRL and peft. Unknown keys are errors.

method: sft | dpo | kto
data: the kind of dataset, see osiris.training.datasets (default: the kind that the method is made for)
lora: arguments of peft.LoraConfig
args: arguments of trl.SFTConfig, trl.DPOConfig or trl.KTOConfig
"""

import dataclasses
import difflib
import json
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import Any, Literal, NamedTuple

import yaml

from osiris.config.settings import PROJECT_ROOT
from osiris.core.errors import BadInput, NotFound
from osiris.core.ideas import stable_hash
from osiris.training.recipe_limits import TOKEN_ARGUMENTS, LoraArguments, argument_type, boolean_mismatch

Method = Literal["sft", "dpo", "kto"]
DataKind = Literal["like", "ranked", "unpaired", "winners"]
DATA_KINDS: dict[Method, tuple[DataKind, ...]] = {"dpo": ("like", "ranked"), "kto": ("unpaired",), "sft": ("winners",)}
"""The kinds of dataset that a method can use, its default first."""
RECIPE_FOLDER = PROJECT_ROOT / "recipes"
RECIPE_SECTIONS = ("method", "data", "lora", "args")
FIXED_ARGUMENTS = {
    "save_strategy": "no",
    "eval_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "logging_nan_inf_filter": False,
}
"""Trainer arguments that every training sets itself. Nothing but the adapter is kept, and a NaN shows in the log."""
RESERVED_ARGUMENTS = TOKEN_ARGUMENTS | {
    *FIXED_ARGUMENTS,
    "output_dir",
    "seed",
    "data_seed",
    "do_train",
    "do_eval",
    "push_to_hub",
    "resume_from_checkpoint",
}
"""Trainer arguments that a recipe must not set."""


class RecipeHeader(NamedTuple):
    """What a recipe is for, without its arguments."""

    name: str
    method: Method
    data: DataKind


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. Its `hash` depends on the settings alone, not on comments or the order of keys."""

    name: str
    method: Method
    data: DataKind
    lora: dict[str, Any]
    args: dict[str, Any]

    @property
    def hash(self) -> str:
        """The identity of the settings, 32 hex digits."""
        return stable_hash(
            self.method, self.data, *(json.dumps(part, sort_keys=True) for part in (self.lora, self.args))
        )

    def to_params(self) -> dict[str, Any]:
        """All settings under flat names, as MLflow wants them: `lora.r`, `learning_rate`."""
        return (
            {"method": self.method, "data": self.data}
            | {f"lora.{key}": value for key, value in self.lora.items()}
            | self.args
        )

    def to_lora_config(self) -> Any:
        """The `peft.LoraConfig` of a new adapter."""
        from peft import LoraConfig

        return LoraConfig(**({"task_type": "CAUSAL_LM"} | self.lora))

    def to_trainer_args(self, output_dir: Path, seed: int) -> Any:
        """The configuration of the method's trainer; raises `BadInput` for values that do not go together."""
        try:
            return _config_class(self.method)(
                **(self.args | FIXED_ARGUMENTS), output_dir=str(output_dir), seed=seed, data_seed=seed
            )
        except (ValueError, TypeError, ImportError) as error:
            raise BadInput("trainer arguments that go together", str(error), f"correct recipe {self.name}") from error


def load_recipe(name_or_path: str | Path, *methods: Method) -> Recipe:
    """Read a recipe of this repository by name, or any YAML file by path.

    Raises `NotFound` if there is none. Raises `BadInput` for malformed YAML, a method other than `methods`, a kind of
    dataset that the method cannot use, an unknown key (with the nearest known one), or a value of the wrong type.
    """
    header, content, remedy = _read(name_or_path, methods)
    return Recipe(
        name=header.name,
        method=header.method,
        data=header.data,
        lora=_lora(content.get("lora"), remedy),
        args=_args(content.get("args"), header.method, remedy),
    )


def load_recipe_header(name_or_path: str | Path, *methods: Method) -> RecipeHeader:
    """Read a recipe's name, method and kind of data, checked as by `load_recipe`.

    The arguments are not looked at: to check them PEFT and TRL are needed, which take ten seconds to import.
    """
    return _read(name_or_path, methods)[0]


def _read(name_or_path: str | Path, methods: Sequence[Method]) -> tuple[RecipeHeader, dict[str, Any], str]:
    """The header, the whole content, and what to do where that is wrong."""
    path = _find(str(name_or_path))
    remedy = f"correct {path}"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput("a recipe in YAML", " ".join(str(error).split()), remedy) from error
    if not isinstance(content, dict):
        raise BadInput(f"a recipe with {', '.join(RECIPE_SECTIONS)}", repr(content), remedy)
    for key in content:
        _require_known(key, RECIPE_SECTIONS, "recipe section", remedy)
    method: Any = content.get("method")
    if method not in methods:
        raise BadInput(f"a recipe of method {' or '.join(methods)}", f"method {method!r}", remedy)
    data = content.get("data", DATA_KINDS[method][0])
    if data not in DATA_KINDS[method]:
        raise BadInput(f"data {' or '.join(DATA_KINDS[method])} for method {method}", repr(data), remedy)
    return RecipeHeader(path.stem, method, data), content, remedy


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML in which a repeated key is an error; otherwise the last of its values would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; raises `ConstructorError` for a repeated key."""
        seen: set[str] = set()
        for key, _ in node.value:
            # YAML allows `<<`, the key that merges another mapping, more than once
            if str(key.value) in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _find(name: str) -> Path:
    path = (
        Path(name).expanduser() if name.endswith((".yaml", ".yml")) or "/" in name else RECIPE_FOLDER / f"{name}.yaml"
    )
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPE_FOLDER.glob("*.yaml")))
        raise NotFound(f"a recipe ({known}) or a YAML file", str(path), "correct training.sft_recipe or .dpo_recipe")
    return path


def _config_class(method: Method) -> Any:
    import trl

    return {"sft": trl.SFTConfig, "dpo": trl.DPOConfig, "kto": trl.KTOConfig}[method]


def _require_known(key: object, names: Sequence[str], what: str, remedy: str) -> None:
    if key not in names:
        nearest = difflib.get_close_matches(str(key), names, n=1, cutoff=0.0)
        raise BadInput(f"a {what}, nearest is {nearest[0]}", f"the unknown key {key}", remedy)


def _section(section: object, config: Any, title: str, remedy: str) -> dict[str, Any]:
    """The section, checked to have no keys but those of the dataclass `config`."""
    if not isinstance(section, dict) or not section:
        raise BadInput(f"a section `{title}` with keys of {config.__name__}", repr(section), remedy)
    names = sorted(field.name for field in dataclasses.fields(config) if field.init)
    for key in section:
        _require_known(key, names, f"key of {config.__name__}", remedy)
    return section


def _lora(section: object, remedy: str) -> dict[str, Any]:
    """The arguments of a plain LoRA adapter, converted to their types."""
    from peft import LoraConfig
    from pydantic import ValidationError

    given = _section(section, LoraConfig, "lora", remedy)
    for key, value in given.items():
        if key not in LoraArguments.model_fields:
            raise BadInput(
                f"plain LoRA of {', '.join(LoraArguments.model_fields)}",
                f"lora.{key}, which may change the base or more than two matrices a layer",
                remedy,
            )
        if mismatch := boolean_mismatch(value, LoraArguments.model_fields[key].annotation):
            raise BadInput(f"lora.{key}: {mismatch}", repr(value), remedy)
    try:
        return LoraArguments(**given).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise _bad_value("lora", error, remedy) from error


def _args(section: object, method: Method, remedy: str) -> dict[str, Any]:
    """The trainer's arguments, converted to the types of its configuration and checked against `TRAINER_LIMITS`.

    The conversion is needed for numbers like `1e-3`, which YAML reads as text.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    config = _config_class(method)
    hints = typing.get_type_hints(config)
    values: dict[str, Any] = {}
    for key, value in _section(section, config, "args", remedy).items():
        if key in RESERVED_ARGUMENTS:
            raise BadInput("only keys a recipe may set", f"{key}, which the training sets itself", remedy)
        if mismatch := boolean_mismatch(value, hints[key]):
            raise BadInput(f"args.{key}: {mismatch}", repr(value), remedy)
        # a dict of one key: pydantic then names the key in its error; and its class cannot be known to mypy
        kind: Any = GenericAlias(dict, (str, argument_type(method, key, hints[key])))
        adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
        try:
            values[key] = adapter.validate_python({key: value})[key]
        except ValidationError as error:
            raise _bad_value("args", error, remedy) from error
    if not any(values.get("loss_weights") or [1.0]):
        raise BadInput("args.loss_weights of which one is above 0", repr(values["loss_weights"]), remedy)
    return values


def _bad_value(title: str, error: Any, remedy: str) -> BadInput:
    first = error.errors()[0]
    key = ".".join([title, *(str(part) for part in first["loc"] if isinstance(part, str) and part.islower())][:2])
    return BadInput(f"{key}: {first['msg']}", repr(first["input"]), remedy)
