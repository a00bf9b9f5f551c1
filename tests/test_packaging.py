"""What the project says it needs is what it uses, is pinned, and is what is installed; `make` sets it up."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

from osiris.settings import HOUSE

PYPROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
CORE, DEV = PYPROJECT["dependencies"], PYPROJECT["optional-dependencies"]["dev"]
FRAME = [
    "prefect",
    "jupyterlab",
    "ipywidgets",
    "papermill",
    "lancedb",
    "duckdb",
    "yfinance",
    "redis",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "mlflow",
]
NOT_IMPORTED = {  # name -> the text that shows where it is put to work through something else
    "accelerate": "SFTTrainer(",
    "bitsandbytes": "BitsAndBytesConfig(",
    "jupyterlab": '"jupyter", "lab"',
}
IGNORE_LOCAL_PART = re.compile(r"\+.*")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def pins() -> dict[str, str]:
    lines = (HOUSE / "constraints.txt").read_text().splitlines()
    split = (line.split("==") for line in lines if not line.startswith("#"))
    return {normal(name): pin for name, pin in split}


def sources() -> Iterator[tuple[str, str]]:
    """(file, Python source) of the package, the flows and the code cells of the notebooks."""
    for path in sorted((*HOUSE.glob("osiris/**/*.py"), *HOUSE.glob("flows/**/*.py"))):
        yield str(path.relative_to(HOUSE)), path.read_text()
    for path in sorted(HOUSE.glob("notebooks/*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                yield str(path.relative_to(HOUSE)), cell.source


@cache
def owners() -> dict[str, set[str]]:
    """Import name -> the installed distributions that bring it."""
    return {name: {normal(owner) for owner in brought} for name, brought in packages_distributions().items()}


@cache
def imported() -> dict[str, str]:
    """Outside packages that are imported anywhere, inside functions too -> a file that does it."""
    found: dict[str, str] = {}
    for file, source in sources():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            found |= {name.split(".")[0]: file for name in names}
    return {name: file for name, file in found.items() if name not in {*sys.stdlib_module_names, "osiris", "flows"}}


def test_the_constraints_are_exact_versions_and_nothing_else():
    lines = (HOUSE / "constraints.txt").read_text().splitlines()
    assert [line for line in lines[:2] if not line.startswith("# ")] == []
    assert [line for line in lines[2:] if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    names = [normal(line.split("==")[0]) for line in lines[2:]]
    assert names == sorted(set(names))


@pytest.mark.parametrize("name", [*CORE, *DEV])
def test_a_dependency_is_pinned_at_the_version_that_is_installed(name: str):
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name), "versions belong in constraints.txt alone"
    assert pins()[normal(name)] == IGNORE_LOCAL_PART.sub("", version(name))


def test_the_dependencies_of_the_dependencies_are_pinned_too():
    """But for torch's: which it needs depends on the build that pip found, for the CPU or for a GPU."""
    asked, seen = [Requirement(name) for name in (*CORE, *DEV)], set()
    while asked:
        wanted = asked.pop()
        name = normal(wanted.name)
        if (name, *wanted.extras) in seen:
            continue
        seen.add((name, *wanted.extras))
        assert pins().get(name) == IGNORE_LOCAL_PART.sub("", version(name)), name
        if name == "torch":
            continue
        for line in requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in ("", *wanted.extras)):
                asked.append(needed)
    assert len(seen) > 2 * len(CORE)


def test_everything_imported_is_declared():
    declared = {normal(name) for name in CORE}
    assert {name: file for name, file in imported().items() if not declared & owners().get(name, set())} == {}


def test_no_dependency_is_decoration():
    used = set().union(*(owners().get(name, set()) for name in imported()), NOT_IMPORTED)
    assert {normal(name) for name in CORE} - used == set()


@pytest.mark.parametrize(("name", "sign"), NOT_IMPORTED.items())
def test_what_is_not_imported_is_used_another_way(name: str, sign: str):
    assert [file for file, source in sources() if sign in source]


@pytest.mark.parametrize("name", FRAME)
def test_the_packages_of_the_frame_are_dependencies(name: str):
    assert name in CORE


def test_the_conda_environment_agrees_with_the_package():
    environment = yaml.safe_load((HOUSE / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.11", "redis-server", "pip"]
    assert PYPROJECT["requires-python"] == ">=3.11,<3.12"
    assert pip == {"pip": ["-c constraints.txt", "-e ."]}


class Machine:
    """A copy of the Makefile on a machine whose PATH holds a few tools and the Pythons that a test puts there.

    A Python here is a shell script: it answers with its version, has the venv module or not, makes a folder that looks
    like a virtual environment, and writes what pip was asked for into `pip.log`.
    """

    def __init__(self, root: Path) -> None:
        self.clone, self.bin = root / "a clone", root / "bin"
        self.clone.mkdir()
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(HOUSE / name, self.clone)
        for tool in ("cat", "chmod", "cksum", "cp", "make", "mkdir", "rm"):
            (self.bin / tool).symlink_to(shutil.which(tool))

    def install(self, name: str, version: str, venv: bool = True) -> None:
        script = self.bin / name
        script.write_text(f"""#!/bin/sh
case "$*" in
  *version_info*) echo {version} ;;
  *ensurepip*) {'echo "$0"' if venv else "exit 1"} ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >> pip.log ;;
  *" install "*) echo "${{*##*install }}" >> pip.log; [ ! -e broken ] ;;
esac
""")
        script.chmod(0o755)

    def make(self, *goals: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": os.devnull}
        return subprocess.run(["make", *goals], cwd=self.clone, env=environment, capture_output=True, text=True)

    def asked(self) -> list[str]:
        log = self.clone / "pip.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


WHOLE = ["venv", "-c constraints.txt --upgrade pip", "-c constraints.txt torch", "-c constraints.txt -e .[dev]"]


@pytest.mark.parametrize("goal", ["setup", "demo", "test"])
def test_an_older_python_gets_one_line(machine: Machine, goal: str):
    machine.install("python3", "3.9.2")
    ran = machine.make(goal)
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert "Osiris needs Python 3.11; found 3.9.2. Install python3.11 (Debian: apt-get install python3.11" in line
    assert not (machine.clone / ".venv").exists()


def test_no_python_and_one_without_venv_get_one_line_each(machine: Machine):
    (line,) = machine.make("setup").stderr.splitlines()
    assert "Osiris needs Python 3.11; found none." in line
    machine.install("python3.11", "3.11.2", venv=False)
    (line,) = machine.make("setup").stderr.splitlines()
    assert "python3.11 lacks it. Install it (Debian: apt-get install python3.11-venv)" in line


def test_set_up_installs_torch_by_itself_then_the_rest_and_does_so_once(machine: Machine):
    machine.install("python3", "3.9.2")
    machine.install("python3.11", "3.11.2")
    assert machine.make("setup").returncode == 0
    assert machine.asked() == WHOLE
    assert (machine.make("setup").returncode, machine.asked()) == (0, [])


def test_a_set_up_that_broke_off_is_made_anew(machine: Machine):
    machine.install("python3", "3.11.9")
    (machine.clone / "broken").touch()
    assert machine.make("setup").returncode == 2
    assert machine.asked() == WHOLE[:2]  # pip failed, nothing after it was tried
    (machine.clone / "broken").unlink()
    assert machine.make("setup").returncode == 0
    assert machine.asked() == WHOLE


def test_a_new_pin_is_installed_into_the_finished_environment(machine: Machine):
    machine.install("python3", "3.11.9")
    machine.make("setup")
    machine.asked()
    with (machine.clone / "constraints.txt").open("a") as constraints:
        constraints.write("zzz==1.0\n")
    assert machine.make("setup").returncode == 0
    assert machine.asked() == WHOLE[1:]


def test_a_moved_clone_is_set_up_anew(machine: Machine):
    machine.install("python3", "3.11.9")
    machine.make("setup")
    machine.asked()
    machine.clone = machine.clone.rename(machine.clone.with_name("moved"))
    assert machine.make("setup").returncode == 0
    assert machine.asked() == WHOLE
