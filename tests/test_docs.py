"""The documentation says what the code has: terms, generated pages, links, commands."""

import importlib
import re
import subprocess
import sys

import pytest

from osiris.config.settings import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"
PAGES = [PROJECT_ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
TERM = re.compile(r"^- \*\*(?P<term>[^*]+)\*\* \(`(?P<name>[\w.]+)`\): (?P<sentence>.+)$")


def looked_up(name: str) -> object:
    """What a dotted name means: a module, or what lies in one."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            found = getattr(found, part)
        return found
    raise AssertionError(f"{name} is no name of the code")


def test_every_term_of_the_glossary_names_something_in_the_code():
    lines = [line for line in (DOCS / "reference" / "glossary.md").read_text().splitlines() if line.startswith("- ")]
    terms = [TERM.match(line) for line in lines]
    assert [line for line, term in zip(lines, terms, strict=True) if term is None] == []
    assert len(terms) > 60
    for term in terms:
        looked_up(term["name"])


@pytest.mark.system
def test_generated_pages_are_those_of_the_code():
    command = [sys.executable, "docs/generate.py", "--check"]
    ran = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_every_link_to_a_file_leads_to_one(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    gone = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in gone if not (page.parent / link).exists()] == []


def test_every_command_in_the_docs_is_one_that_osiris_has():
    from typer.main import get_command

    from osiris.cli import app

    root = get_command(app)
    unknown = []
    for page in PAGES:
        if page.name in ("log.md", "cli.md"):
            continue
        for block in re.findall(r"```(?:bash|sh|console|text)?\n(.*?)```", page.read_text(), re.S):
            for line in block.splitlines():
                words = line.removeprefix("$ ").removeprefix(".venv/bin/").split()
                if words[:1] != ["osiris"] or len(words) == 1:
                    continue
                command = root
                for word in words[1:]:
                    children = getattr(command, "commands", None)
                    if not children or word.startswith("-"):
                        break
                    choices = re.split(r"[|\[\]]", word)
                    if [choice for choice in choices if choice and choice not in children]:
                        unknown.append(f"{page.name}: {line}")
                        break
                    command = children[choices[0]]
    assert unknown == []


@pytest.mark.system
def test_the_python_of_the_readme_prints_what_the_readme_says():
    text = (PROJECT_ROOT / "README.md").read_text()
    (program, printed) = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", text, re.S).groups()
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == printed
