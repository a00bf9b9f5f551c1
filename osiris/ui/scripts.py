"""The scripts and styles of the widgets, which lie beside this file."""

from pathlib import Path

UI_FOLDER = Path(__file__).parent


def read_script(name: str) -> str:
    """A widget's module, with what all of them share before it."""
    return (UI_FOLDER / "dom.js").read_text(encoding="utf-8") + (UI_FOLDER / f"{name}.js").read_text(encoding="utf-8")


def read_style(name: str) -> str:
    """A widget's style sheet."""
    return (UI_FOLDER / f"{name}.css").read_text(encoding="utf-8")
