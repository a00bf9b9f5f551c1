"""The checkers that read a candidate's files and run nothing of them: modules of this Python, in a bare environment."""

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
    """Why something is no patch, or none that may be run."""


def run_checker(module: str, options: list[str], files: dict[str, str]) -> str:
    """Have a checker look at files; raises `Refused` with what it says of them."""
    with temporary_files(files) as folder:
        result = run_python(
            ["-m", module, *options, *(str(folder / name) for name in files)], MAX_CHECKER_SECONDS, folder
        )
        if result.returncode:
            output = (result.stdout or result.stderr).replace(f"{folder}/", "").strip().splitlines()
            raise PatchRefused("; ".join(output) or f"{module} ended with {result.returncode}")
    return ""


def run_python(arguments: list[str], seconds: float, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run a module of this Python, told nothing of its caller's environment; `home` is not where it imports from."""
    try:
        return subprocess.run(
            [sys.executable, "-I", *arguments], cwd=home, timeout=seconds, capture_output=True,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "400"}, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise PatchRefused(f"not done within {seconds:g} s") from error


@contextmanager
def temporary_files(files: dict[str, str]) -> Iterator[Path]:
    """A folder with these files, as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="osiris-proof-") as folder:
        write_files(Path(folder), files)
        yield Path(folder)
