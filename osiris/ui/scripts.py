"""The scripts and styles of the widgets, which lie beside this file."""

from pathlib import Path

FOLDER = Path(__file__).parent


def script(name: str) -> str:
    """A widget's module, with what all of them share before it."""
    return (FOLDER / "dom.js").read_text(encoding="utf-8") + (FOLDER / f"{name}.js").read_text(encoding="utf-8")


def style(name: str) -> str:
    """A widget's style sheet."""
    return (FOLDER / f"{name}.css").read_text(encoding="utf-8")
