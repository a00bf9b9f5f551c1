"""GGUF files as models: read once by transformers, de-quantized, and kept as safetensors in the cache.

A GGUF file holds a whole model: weights, tokenizer and chat template. From the cache it goes the way of any other model
folder, so that adapters can be trained over it.
"""

import shutil
import struct
from importlib.util import find_spec
from pathlib import Path

from osiris.core.errors import BadInput, NotInstalled
from osiris.core.files import hash_file, make_once, publish_folder
from osiris.llm.suppress_output import suppress_output

MAGIC = b"GGUF"
READ_ERRORS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError, EOFError, struct.error,
)  # fmt: skip
"""What transformers and gguf raise for a file that was cut off, is damaged or is of an unknown kind."""
REMEDY = "name a GGUF file that was downloaded completely, of an architecture that transformers knows"


def is_gguf(name: str) -> bool:
    """Whether the name of a model is that of a GGUF file."""
    return name.lower().endswith(".gguf")


def ensure_converted(file: Path, cache: Path) -> Path:
    """Return the folder of the model in a GGUF file, converting it first when the cache does not have it.

    Its weights are in bfloat16. The folder appears complete or not at all. If several processes want it, one converts
    it and the rest wait. Raises `BadInput` for a file that transformers cannot read, and `NotInstalled` without the
    package `gguf`.
    """
    folder = converted_folder(file, cache)
    if not folder.is_dir():
        _check_file(file)
    return make_once(folder, lambda: _convert(file, folder))


def converted_folder(file: Path, cache: Path) -> Path:
    """Return the folder of the model in a GGUF file, whether or not it is converted yet."""
    return cache.expanduser() / f"gguf-{hash_file(file)[:16]}"


def _check_file(file: Path) -> None:
    with file.open("rb") as stream:
        begins = stream.read(len(MAGIC))
    if begins != MAGIC:
        raise BadInput("a GGUF file", f"{file}, which begins with {begins!r}", REMEDY)
    if find_spec("gguf") is None:
        raise NotInstalled("the package gguf", "an installation without it", "pip install 'osiris[train]'")


def _convert(file: Path, folder: Path) -> None:
    import torch
    from rich.console import Console
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    unfinished = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    with Console(stderr=True).status(f"converting {file.name}, once"), suppress_output():
        try:
            where, options = str(file.parent), {"gguf_file": file.name}
            tokenizer = AutoTokenizer.from_pretrained(where, **options)
            model = AutoModelForCausalLM.from_pretrained(
                where, **options, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
            )
        except READ_ERRORS as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise BadInput("a GGUF file that transformers can read", f"{file} ({reason})", REMEDY) from error
        # The weights are plain by now, and nothing may load them as quantized ones again.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None
        model.is_quantized = False
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    publish_folder(unfinished, folder)
