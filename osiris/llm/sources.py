"""Find the files of a model (the starter, SmolLM2, a folder, a GGUF file or a model of the hub) and hash them."""

import hashlib
from functools import cache
from pathlib import Path

from osiris.config.settings import Settings
from osiris.core.errors import NotFound, OsirisError, SourceUnavailable
from osiris.core.files import hash_file
from osiris.llm.gguf import converted_folder, ensure_converted, is_gguf
from osiris.llm.primed import PrimerRecipe, primed_folder, require_primed
from osiris.llm.smollm2 import ensure_smollm2_file, smollm2_file
from osiris.llm.starter import RECIPE_FILE, ensure_starter, starter_folder
from osiris.llm.starter_recipe import ModelKind, starter_recipe

STARTER = "starter"
SMOLLM2 = "smollm2"
MODEL_REMEDY = "correct model.base and model.judge in osiris.toml, or go online once so that it can be downloaded"


def locate_model(name: str, kind: ModelKind, settings: Settings) -> str:
    """Return what `from_pretrained` takes for a name: a folder, or the name itself.

    Builds the starter, fetches SmolLM2 and converts a GGUF file if the cache does not have them. With `model.primed`,
    the drafter is the primed model; raises `NotFound` if that was not made yet. A GGUF file is named
    by its path, or within a repository of the hub: `OWNER/REPOSITORY/FILE.gguf`.
    """
    if settings.model.primed and kind == "drafter" and not is_starter(name):
        return str(require_primed(_primed_folder(name, settings), name))
    if name == STARTER:
        return str(ensure_starter(kind, settings))
    if name == SMOLLM2:
        return str(ensure_converted(ensure_smollm2_file(settings.model.cache), settings.model.cache))
    if is_gguf(name):
        return str(ensure_converted(_find_gguf(name), settings.model.cache))
    folder = Path(name).expanduser()
    return str(folder) if folder.is_dir() else name


def is_starter(name: str) -> bool:
    """Whether a name means a starter model: the word itself, or the folder of one that was built."""
    return name == STARTER or (Path(name).expanduser() / RECIPE_FILE).is_file()


def is_model_ready(kind: ModelKind, settings: Settings) -> bool:
    """Whether a model can be loaded now, without building or downloading it."""
    name = settings.model.base if kind == "drafter" else settings.model.judge
    if name == STARTER:
        return starter_folder(starter_recipe(kind), settings.model.cache).is_dir()
    if settings.model.primed and kind == "drafter":
        return is_model_ready(kind, settings.with_model(primed=False)) and _primed_folder(name, settings).is_dir()
    try:
        if name == SMOLLM2 or is_gguf(name):
            file = smollm2_file(settings.model.cache) if name == SMOLLM2 else _find_gguf(name, local_only=True)
            return file.is_file() and converted_folder(file, settings.model.cache).is_dir()
        return bool(find_weight_files(name, kind, settings, local_only=True))
    except (NotFound, SourceUnavailable):
        return False


def _primed_folder(name: str, settings: Settings) -> Path:
    """Where the cache keeps the primed model of a base, whose own weights are hashed for it."""
    weights = _hash_weights(name, "drafter", settings.with_model(primed=False))
    return primed_folder(weights, PrimerRecipe(), settings.model.cache)


def compute_base_hash(settings: Settings) -> str:
    """Return the sha256 (64 hex digits) of the base model's weight files' sha256, in the order of their names.

    Builds the starter or downloads the weights if they are missing; raises `missing_model_error` if that fails.
    """
    return _hash_weights(settings.model.base, "drafter", settings)


def _hash_weights(name: str, kind: ModelKind, settings: Settings) -> str:
    digest = hashlib.sha256()
    for path in find_weight_files(name, kind, settings):
        digest.update(hash_file(path).encode())
    return digest.hexdigest()


def find_weight_files(name: str, kind: ModelKind, settings: Settings, local_only: bool = False) -> list[Path]:
    """Return the safetensors files of a model, sorted.

    Raises `NotFound` if there are none, and `missing_model_error` if the model cannot be found or downloaded.
    """
    from huggingface_hub.errors import HFValidationError

    folder = Path(locate_model(name, kind, settings))
    if not folder.is_dir():
        try:
            folder = _download_weights(name, local_only)
        except (OSError, HFValidationError) as error:
            raise missing_model_error(name, error) from error
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise NotFound("a model with safetensors weights", f"{name!r}, which has none", MODEL_REMEDY)
    return files


def _find_gguf(name: str, local_only: bool = False) -> Path:
    """Return a GGUF file by its path, or as `OWNER/REPOSITORY/FILE` on the hub, from which it is downloaded once."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    path = Path(name).expanduser()
    if path.is_file():
        return path
    repository, _, file = name.rpartition("/")
    try:
        return Path(hf_hub_download(repository, file, local_files_only=local_only))
    except (OSError, HFValidationError) as error:
        raise missing_model_error(name, error) from error


@cache
def _download_weights(name: str, local_only: bool) -> Path:
    """Ask the hub only once in a process, because the process keeps the weights that it loaded."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=["*.safetensors"], local_files_only=local_only))


def missing_model_error(name: str, error: BaseException) -> OsirisError:
    """Return the error for a model that could not be loaded: `SourceUnavailable` if the network was the cause."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    reason = str(error).strip().splitlines()[0]
    cause: BaseException | None = error
    while cause and not isinstance(cause, LocalEntryNotFoundError | ConnectionError | TimeoutError):
        cause = cause.__cause__ or cause.__context__
    kind = SourceUnavailable if cause else NotFound
    known = "`starter`, `smollm2`, a model folder, a GGUF file, or a model of the hub within reach"
    return kind(known, f"{name!r} ({reason})", MODEL_REMEDY)
