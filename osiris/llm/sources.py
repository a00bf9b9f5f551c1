"""Find the files of a model (the locally built starter, a folder, or a model of the hub) and hash them."""

import hashlib
from functools import cache
from pathlib import Path

from osiris.config.settings import Settings
from osiris.core.errors import NotFound, OsirisError, SourceUnavailable
from osiris.llm.starter import ensure_starter, starter_folder
from osiris.llm.starter_recipe import ModelKind, starter_recipe

STARTER = "starter"
MODEL_REMEDY = "correct model.base and model.judge in osiris.toml, or go online once so that it can be downloaded"


def locate_model(name: str, kind: ModelKind, settings: Settings) -> str:
    """Return what `from_pretrained` takes for a name: a folder, or the name itself. Builds the starter if needed."""
    if name == STARTER:
        return str(ensure_starter(kind, settings))
    folder = Path(name).expanduser()
    return str(folder) if folder.is_dir() else name


def is_model_ready(kind: ModelKind, settings: Settings) -> bool:
    """Whether a model can be loaded now, without building or downloading it."""
    name = settings.model.base if kind == "drafter" else settings.model.judge
    if name == STARTER:
        return starter_folder(starter_recipe(kind), settings.model.cache).is_dir()
    try:
        return bool(find_weight_files(name, kind, settings, local_only=True))
    except (NotFound, SourceUnavailable):
        return False


def compute_base_hash(settings: Settings) -> str:
    """Return the sha256 (64 hex digits) of the base model's weight files' sha256, in the order of their names.

    Builds the starter or downloads the weights if they are missing; raises `missing_model_error` if that fails.
    """
    digest = hashlib.sha256()
    for path in find_weight_files(settings.model.base, "drafter", settings):
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


@cache
def _download_weights(name: str, local_only: bool) -> Path:
    """Ask the hub only once in a process, because the process keeps the weights that it loaded."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=["*.safetensors"], local_files_only=local_only))


def hash_file(path: Path) -> str:
    """Return the sha256 of a file. It is read again only if its size or its modification time differs."""
    status = path.stat()
    return _cached_file_hash(path, status.st_size, status.st_mtime_ns)


@cache
def _cached_file_hash(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing_model_error(name: str, error: BaseException) -> OsirisError:
    """Return the error for a model that could not be loaded: `SourceUnavailable` if the network was the cause."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    reason = str(error).strip().splitlines()[0]
    cause: BaseException | None = error
    while cause and not isinstance(cause, LocalEntryNotFoundError | ConnectionError | TimeoutError):
        cause = cause.__cause__ or cause.__context__
    kind = SourceUnavailable if cause else NotFound
    return kind("`starter`, a model folder, or a model of the hub within reach", f"{name!r} ({reason})", MODEL_REMEDY)
