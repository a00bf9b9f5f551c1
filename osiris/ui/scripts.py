"""The scripts and styles of the widgets, which are in `static/`."""

import re
from pathlib import Path

STATIC_FOLDER = Path(__file__).parent / "static"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=function |const )", re.MULTILINE)


def read_script(name: str) -> str:
    """Return a widget's module as one text, which is what anywidget takes: the modules that it imports come first.

    A module imports names from its own folder, as in `import { element } from "./dom.js";`. No name may be defined in
    two modules of a widget, since all of them share one scope here.
    """
    parts: dict[str, str] = {}
    _add_module(name, parts)
    return "".join(parts.values())


def _add_module(name: str, parts: dict[str, str]) -> None:
    """Add a module to `parts` after what it imports. No module is added twice."""
    text = (STATIC_FOLDER / f"{name}.js").read_text(encoding="utf-8")
    for imported in _IMPORT.findall(text):
        if imported not in parts:
            _add_module(imported, parts)
    parts[name] = _EXPORT.sub("", _IMPORT.sub("", text))


def read_style(name: str) -> str:
    """Return a widget's style sheet."""
    return (STATIC_FOLDER / f"{name}.css").read_text(encoding="utf-8")
