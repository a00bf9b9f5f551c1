"""Write the pages of the documentation that repeat the code: settings, commands, columns, routes, the list of files.

`python docs/generate.py` writes them; `python docs/generate.py --check` exits with 1 when a page differs.
"""

import ast
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path, PurePath
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
NOTE = "<!-- Written by docs/generate.py from the code. Change the code, then run: python docs/generate.py -->\n"
LIMIT_SIGNS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
FOLDERS = ("osiris", "flows", "notebooks")


def main(arguments: list[str]) -> int:
    """Write all pages, or with `--check` name those that differ."""
    sys.path.insert(0, str(ROOT))
    stale = []
    for name, render in PAGES.items():
        path = DOCS / name
        wanted = render()
        if path.exists() and path.read_text(encoding="utf-8") == wanted:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
    for name in stale:
        print(f"docs/{name} {'differs: run python docs/generate.py' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


def settings_page() -> str:
    """Every table and key of `osiris.toml`."""
    from osiris.config.settings import Settings

    lines = [
        "# Settings\n",
        NOTE,
        "Settings live in `osiris.toml` in the workspace folder. An environment variable overrides the file:",
        "`OSIRIS_GATE__ALPHA=0.1` sets `gate.alpha`. A list in a variable takes commas:",
        "`OSIRIS_ADVISE__TICKERS=AAPL,MSFT`. An unknown key is an error in both places.\n",
    ]
    for table, field in Settings.model_fields.items():
        section = field.annotation
        if not hasattr(section, "model_fields"):
            continue
        lines += [f"## {table}\n", f"{_first_paragraph(section.__doc__)}\n"]
        rows = (
            (f"`{key}`", _type_text(info.annotation), _default_text(info), _limits_text(info), info.description or "")
            for key, info in section.model_fields.items()
        )
        lines += [*_table(("key", "type", "default", "limits", "description"), rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def cli_page() -> str:
    """Every command with its arguments and options."""
    import typer.main

    from osiris.cli import app

    lines = [
        "# Commands\n",
        NOTE,
        "`osiris` is `.venv/bin/osiris` once `make demo` or `make test` has run. The workspace is the current folder,",
        "`--workspace DIR` or `$OSIRIS_WORKSPACE`. The exit status is 0 when a command is done, 1 when it is done and",
        "leaves something to look at, and 2 after an error, which one line on stderr explains.\n",
    ]
    for path, command in _commands(typer.main.get_command(app), "osiris"):
        lines += [f"## {path}\n", f"{_help_text(command.help)}\n"]
        rows = [_parameter_row(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            lines += [*_table(("argument or option", "default", "description"), rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def data_page() -> str:
    """Every stored column, as `osiris.core.schemas` defines them."""
    from osiris.core import schemas
    from osiris.kernel.patch_log import PATCH_FACTS

    lines = [
        "# Stored data\n",
        NOTE,
        "Times are UTC. Prices are in the currency of the instrument. R is the profit divided by the initial risk,",
        "|entry - stop|. `advice` and `feedback` are LanceDB tables in `data/advice.lancedb`. Each can be rebuilt from",
        "`data/journal.jsonl`. [Events and patches](events.md) describes the patch log and the names in Redis.\n",
    ]
    for table, make, columns in (
        ("advice", schemas.advice_schema, schemas.ADVICE_COLUMNS),
        ("feedback", schemas.feedback_schema, schemas.FEEDBACK_COLUMNS),
    ):
        lines += [f"## {table}\n", f"{_first_paragraph(make.__doc__)}\n"]
        rows = ((f"`{field.name}`", f"`{field.type}`", columns[field.name][1]) for field in make())
        lines += [*_table(("column", "type", "description"), rows), ""]
    lines += [
        "## patches\n",
        "`data/patches.jsonl` is append-only: one line for each step of a patch, with its facts.\n",
    ]
    lines += [*_table(("fact", "description"), ((f"`{name}`", text) for name, text in PATCH_FACTS.items())), ""]
    return "\n".join(lines).rstrip() + "\n"


def api_page() -> str:
    """Every route of the HTTP API, from the description that the API gives of itself."""
    from osiris.api import create_app
    from osiris.workspace import managed_workspace

    with tempfile.TemporaryDirectory() as folder, managed_workspace(folder) as workspace:
        described = create_app(workspace).openapi()
    lines = [
        "# HTTP API\n",
        NOTE,
        "`osiris api` serves these routes on loopback. Every request needs the bearer token in `data/api-token`.",
        "The same description, with examples, is at `/openapi.json`. Errors are RFC 9457 problem details.\n",
    ]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            lines += _route_lines(f"{method.upper()} {path}", operation)
    lines.append("## Bodies\n")
    for name, schema in sorted(described["components"]["schemas"].items()):
        required = schema.get("required", [])
        rows = (
            (f"`{key}`", _schema_text(field), "yes" if key in required else "", field.get("description", ""))
            for key, field in schema.get("properties", {}).items()
        )
        lines += [f"### {name}\n", *([schema["description"], ""] if "description" in schema else [])]
        lines += [*_table(("field", "type", "required", "description"), rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def architecture_page() -> str:
    """The hand-written page about layers, with the list of files between its two marks."""
    lines: list[str] = []
    for folder in FOLDERS:
        for place in _source_folders(ROOT / folder):
            name = place.relative_to(ROOT).as_posix()
            about = _about(place / "__init__.py")
            rows = [
                (f"`{path.name}`", _about(path))
                for path in sorted(place.iterdir())
                if path.suffix in (".py", ".ipynb") and path.name != "__init__.py"
            ]
            if rows:
                lines += [f"### {name}/\n", *([f"{about}\n"] if about else []), *_table(("file", "about"), rows), ""]
    return _filled("architecture.md", "files", lines)


def sandbox_page() -> str:
    """The hand-written page about the sandbox, with the lists of what a patch may be made of between its two marks."""
    from osiris.sandbox.allowed import describe_allowed

    return _filled("explanation/sandbox.md", "allowed", [*_table(("about", "allowed"), describe_allowed().items()), ""])


PAGES: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings_page,
    "reference/cli.md": cli_page,
    "reference/data.md": data_page,
    "reference/api.md": api_page,
    "architecture.md": architecture_page,
    "explanation/sandbox.md": sandbox_page,
}


def _filled(name: str, mark: str, lines: list[str]) -> str:
    """The page `name` with `lines` between its marks `mark`."""
    text = (DOCS / name).read_text(encoding="utf-8")
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"docs/{name} needs the marks {begin} and {end}")
    return f"{before}{begin}\n\n" + "\n".join(lines) + f"\n{end}{after}"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = list(heads)
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    return lines + ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]


def _cell(text: str) -> str:
    """Text that stays inside one cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().split("\n\n")[0].split())


def _help_text(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").strip().split("\n\n"))


def _type_text(annotation: Any) -> str:
    """A type in the words of TOML."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join("nothing" if part is type(None) else _type_text(part) for part in arguments)
    if origin is list:
        return f"list of {_type_text(arguments[0])}"
    if origin is dict:
        return f"table of {_type_text(arguments[1])}"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}
    words = {"SecretStr": "secret text", "AwareDatetime": "moment with offset"}
    return names.get(annotation) or words.get(getattr(annotation, "__name__", ""), str(annotation))


def _default_text(info: Any) -> str:
    value = info.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if type(value).__name__ == "SecretStr":
        return "not shown" if value.get_secret_value() else '`""`'
    if isinstance(value, PurePath):
        value = value.as_posix()
    return f"`{json.dumps(value.value if isinstance(value, Enum) else value)}`"


def _limits_text(info: Any) -> str:
    found = [
        f"{words} {getattr(limit, sign)}"
        for limit in info.metadata
        for sign, words in LIMIT_SIGNS.items()
        if hasattr(limit, sign)
    ]
    return ", ".join(found)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The commands below a click group, each with its words on the command line."""
    subcommands = getattr(command, "commands", None)
    if not subcommands or getattr(command, "invoke_without_command", False):
        yield path, command
    for name, sub in (subcommands or {}).items():
        yield from _commands(sub, f"{path} {name}")


def _parameter_row(parameter: Any) -> tuple[str, str, str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    is_option = parameter.param_type_name == "option"
    shown = " ".join(f"`{name}`" for name in names) if is_option else f"`{(parameter.name or '').upper()}`"
    default = parameter.default
    if parameter.required:
        text = "required"
    elif default in (None, "", False) or callable(default):
        text = ""
    else:
        text = f"`{default.as_posix() if isinstance(default, PurePath) else default}`"
    return shown, text, getattr(parameter, "help", None) or ""


def _route_lines(title: str, operation: dict[str, Any]) -> list[str]:
    lines = [f"## {title}\n", f"{_help_text(operation.get('description') or operation.get('summary'))}\n"]
    rows = [
        (
            f"`{parameter['name']}`",
            parameter["in"],
            _schema_text(parameter.get("schema", {})),
            "yes" if parameter.get("required") else "",
            parameter.get("description") or parameter.get("schema", {}).get("description", ""),
        )
        for parameter in operation.get("parameters", [])
    ]
    if rows:
        lines += [*_table(("parameter", "in", "type", "required", "description"), rows), ""]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        lines.append(f"Body: {_schema_text(body)}.\n")
    answers = (
        (f"`{status}`", answer.get("description", ""), _schema_text(_answer_schema(answer)))
        for status, answer in sorted(operation.get("responses", {}).items())
    )
    return [*lines, *_table(("status", "meaning", "answer"), answers), ""]


def _answer_schema(answer: dict[str, Any]) -> dict[str, Any]:
    return next((one.get("schema", {}) for one in answer.get("content", {}).values()), {})


def _schema_text(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_schema_text(one) for one in schema[several]))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_schema_text(schema.get('items', {}))}"
    kind = schema.get("type", "")
    return f"{kind} ({schema['format']})" if "format" in schema else str(kind)


def _source_folders(folder: Path) -> list[Path]:
    """`folder` and those below it that hold code, in order."""
    below = [
        path
        for path in folder.rglob("*")
        if path.is_dir() and not any(part.startswith((".", "__")) for part in path.relative_to(ROOT).parts)
    ]
    return [folder, *sorted(below)] if folder.is_dir() else []


def _about(path: Path) -> str:
    """The first line of a module's docstring, or the title of a notebook."""
    if not path.exists():
        return ""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        first = next(("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"), "")
        return first.strip().splitlines()[0].lstrip("# ") if first.strip() else ""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return docstring.splitlines()[0] if docstring else ""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
