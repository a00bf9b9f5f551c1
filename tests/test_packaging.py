"""What the project says it needs is what it uses, is pinned, and is what is installed."""

import ast
import platform
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions, packages_distributions, requires, version

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import osiris
from osiris.config.settings import PROJECT_ROOT

PYPROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
CORE, EXTRAS = PYPROJECT["dependencies"], PYPROJECT["optional-dependencies"]
DEV = EXTRAS["dev"]
USED = sorted({*CORE, *(name for extra, names in EXTRAS.items() if extra != "dev" for name in names)})
USED = [name for name in USED if not name.startswith("osiris[")]
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
    "gguf": "GgufConfig(",
    "jupyterlab": '"jupyter", "lab"',
    "mypy": 'run_checker("mypy"',
    "ruff": 'run_checker("ruff"',
    "voila": '"-m", "voila"',
}
PYTHONS = ("3.11.2", platform.python_version())  # Debian's, and this one: some packages need more on an early 3.11
IGNORE_LOCAL_PART = re.compile(r"\+.*")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def pins() -> dict[str, str]:
    lines = (PROJECT_ROOT / "constraints.txt").read_text().splitlines()
    split = (line.split("==") for line in lines if not line.startswith("#"))
    return {normal(name): pin for name, pin in split}


def sources() -> Iterator[tuple[str, str]]:
    """(file, Python source) of the package, the flows and the code cells of the notebooks."""
    for path in sorted((*PROJECT_ROOT.glob("osiris/**/*.py"), *PROJECT_ROOT.glob("flows/**/*.py"))):
        yield str(path.relative_to(PROJECT_ROOT)), path.read_text()
    for path in sorted(PROJECT_ROOT.glob("notebooks/*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                yield str(path.relative_to(PROJECT_ROOT)), cell.source


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


def test_the_newest_version_of_the_changelog_is_this_one_and_each_has_a_day():
    headings = re.findall(r"^## (.+)$", (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    dated = [heading for heading in headings if heading != "Unreleased"]
    found = [re.fullmatch(r"(\d+\.\d+\.\d+), (\d{4}-\d{2}-\d{2})", heading) for heading in dated]
    assert all(found), dated
    assert found[0][1] == PYPROJECT["version"] == osiris.__version__
    days = [one[2] for one in found]
    assert days == sorted(days, reverse=True)


def test_the_constraints_are_exact_versions_and_nothing_else():
    lines = (PROJECT_ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines[:2] if not line.startswith("# ")] == []
    assert [line for line in lines[2:] if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    names = [normal(line.split("==")[0]) for line in lines[2:]]
    assert names == sorted(set(names))


@pytest.mark.parametrize("name", [*USED, *DEV])
def test_a_dependency_is_pinned_at_the_version_that_is_installed(name: str):
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name), "versions belong in constraints.txt alone"
    assert pins()[normal(name)] == IGNORE_LOCAL_PART.sub("", version(name))


def test_the_dependencies_of_the_dependencies_are_pinned_too():
    """But for torch's: which it needs depends on the build that pip found, for the CPU or for a GPU."""
    asked, seen = [Requirement(name) for name in (*USED, *DEV)], set()
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
            places = [{"extra": e, "python_full_version": v} for e in ("", *wanted.extras) for v in PYTHONS]
            if needed.marker is None or any(needed.marker.evaluate(place) for place in places):
                asked.append(needed)
    assert len(seen) > 2 * len(USED)


def test_every_pin_is_for_debians_python_too():
    """One that is not cannot be installed there, however well it works here."""
    asked = {d.name: d.metadata.get("Requires-Python") or "" for d in distributions() if normal(d.name) in pins()}
    refused = {name: asks for name, asks in asked.items() if not all(SpecifierSet(asks).contains(v) for v in PYTHONS)}
    assert refused == {}


def test_everything_imported_is_declared():
    declared = {normal(name) for name in USED}
    assert {name: file for name, file in imported().items() if not declared & owners().get(name, set())} == {}


def test_no_dependency_is_decoration():
    used = set().union(*(owners().get(name, set()) for name in imported()), NOT_IMPORTED)
    assert {normal(name) for name in USED} - used == set()


@pytest.mark.parametrize(("name", "sign"), NOT_IMPORTED.items())
def test_what_is_not_imported_is_used_another_way(name: str, sign: str):
    assert [file for file, source in sources() if sign in source]


@pytest.mark.parametrize("name", FRAME)
def test_the_packages_of_the_frame_are_dependencies(name: str):
    assert name in USED


def test_the_conda_environment_agrees_with_the_package():
    environment = yaml.safe_load((PROJECT_ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == ["python=3.11", "redis-server", "pip"]
    assert PYPROJECT["requires-python"] == ">=3.11,<3.12"
    assert pip == {"pip": ["-c constraints.txt", "-e .[all]"]}
