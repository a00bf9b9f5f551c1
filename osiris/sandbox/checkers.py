"""Runs checkers such as ruff, mypy and pytest: modules of this Python, in a bare environment.

What it keeps out: the environment of the caller, in which there may be keys, and a checker that never ends. What it
does not: these processes are not in the sandbox. So ruff and mypy only read a candidate's files, and pytest runs the
policy's own tests, which ask the candidate in its sandbox (`osiris.kernel.candidate`).
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osiris.policy import POLICY_FOLDER
from osiris.sandbox.session import write_files

MAX_CHECKER_SECONDS = 60
POLICY_TESTS = POLICY_FOLDER / "tests"


class PatchRefused(Exception):
    """Something is no patch, or is a patch that may not be run; the message says why."""


def run_checker(module: str, options: list[str], files: dict[str, str]) -> str:
    """Run a checker on files; raises `PatchRefused` with its messages."""
    with temporary_files(files) as folder:
        result = run_python(
            ["-m", module, *options, *(str(folder / name) for name in files)], MAX_CHECKER_SECONDS, folder
        )
        if result.returncode:
            output = (result.stdout or result.stderr).replace(f"{folder}/", "").strip().splitlines()
            raise PatchRefused("; ".join(output) or f"{module} ended with {result.returncode}")
    return ""


def run_python(arguments: list[str], seconds: float, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run this Python without its caller's environment, in the folder `home`.

    `-I` keeps Python from importing modules out of `home`, where a candidate's files may be.
    Raises `PatchRefused` after `seconds`.
    """
    try:
        return subprocess.run(
            [sys.executable, "-I", *arguments], cwd=home, timeout=seconds, capture_output=True,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "400"}, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise PatchRefused(f"not done within {seconds:g} s") from error


@contextmanager
def temporary_files(files: dict[str, str]) -> Iterator[Path]:
    """A temporary folder with these files, removed at the end of the context."""
    with tempfile.TemporaryDirectory(prefix="osiris-proof-") as folder:
        write_files(Path(folder), files)
        yield Path(folder)
