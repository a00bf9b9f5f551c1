"""Remove each safeguard in turn and show that one of its tests fails: `make mutants`.

`python -m tests.mutations [NAME ...]` works on a copy of the tree. A mutation that no test notices is reported, and the
exit status is 1. All of them take about an hour and a half.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track

from osiris.config.settings import PROJECT_ROOT
from tests.mutations import Mutation, read_mutations


def main(names: list[str]) -> int:
    """Try the mutations named, or all; returns the exit status."""
    chosen = [mutation for mutation in read_mutations() if not names or mutation.name in names]
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder) / "tree")
        missed = [one for one in track(chosen, "Trying mutations") if not is_noticed(one, tree, console)]
    console.print(f"{len(chosen) - len(missed)} of {len(chosen)} mutations make a test fail")
    return 1 if missed else 0


def copy_tree(tree: Path) -> Path:
    """The package, its pages and tests, in a folder of their own, and beside it a virtual environment that has them."""
    no_caches = shutil.ignore_patterns("__pycache__")
    for part in ("osiris", "flows", "tests", "notebooks", "recipes", "docs"):
        shutil.copytree(PROJECT_ROOT / part, tree / part, ignore=no_caches)
    shutil.copy(PROJECT_ROOT / "pyproject.toml", tree)
    here, there = Path(sys.prefix), tree.with_name("venv")
    shutil.copytree(
        here, there, symlinks=True, copy_function=link_or_copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    named = [path for path in (there / "bin").iterdir() if path.is_file() and not path.is_symlink()]
    for path in (*named, *there.glob("lib/python*/site-packages/_editable_impl_osiris.pth")):
        text = path.read_bytes().replace(str(here).encode(), str(there).encode())
        path.unlink()  # one file with that of the other environment
        path.write_bytes(text.replace(str(PROJECT_ROOT).encode(), str(tree).encode()))
        path.chmod(0o755)
    return tree


def link_or_copy(source: str, target: str) -> None:
    """Another name of the same file; a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def is_noticed(mutation: Mutation, tree: Path, console: Console) -> bool:
    """Whether one of its tests fails when the safeguard is gone."""
    path = tree / mutation.file
    whole = path.read_text()
    path.write_text(mutation.applied_to(whole))
    python = tree.with_name("venv") / "bin" / "python"  # also of the servers and kernels that a test starts
    command = [python, "-m", "pytest", "-q", "-x", "--no-header", *mutation.tests.split()]
    ran = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    path.write_text(whole)
    failed = [line for line in ran.stdout.splitlines() if line.startswith("FAILED")]
    if ran.returncode == 1 and failed:
        console.print(f"{mutation.name}: {failed[0].split(' - ')[0].removeprefix('FAILED ')}", highlight=False)
        return True
    console.print(f"[red]{mutation.name}[/red]: no test failed (status {ran.returncode})\n{ran.stdout[-500:]}")
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
