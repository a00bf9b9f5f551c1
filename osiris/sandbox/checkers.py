"""The checkers that read a candidate's files and run nothing of them: modules of this Python, in a bare environment."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osiris.policy import FOLDER
from osiris.sandbox.session import write_files

SECONDS = 60
TESTS = FOLDER / "tests"


class Refused(Exception):
    """Why something is no patch, or none that may be run."""


def on_files(module: str, options: list[str], files: dict[str, str]) -> str:
    """Have a checker look at files; raises `Refused` with what it says of them."""
    with laid_out(files) as here:
        ran = run_program(["-m", module, *options, *(str(here / name) for name in files)], SECONDS, here)
        if ran.returncode:
            said = (ran.stdout or ran.stderr).replace(f"{here}/", "").strip().splitlines()
            raise Refused("; ".join(said) or f"{module} ended with {ran.returncode}")
    return ""


def run_program(arguments: list[str], seconds: float, home: Path) -> "subprocess.CompletedProcess[str]":
    """Run a module of this Python, told nothing of its caller's environment; `home` is not where it imports from."""
    try:
        return subprocess.run(
            [sys.executable, "-I", *arguments], cwd=home, timeout=seconds, capture_output=True,
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "400"}, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Refused(f"not done within {seconds:g} s") from error


@contextmanager
def laid_out(files: dict[str, str]) -> Iterator[Path]:
    """A folder with these files, as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="osiris-proof-") as folder:
        write_files(Path(folder), files)
        yield Path(folder)
