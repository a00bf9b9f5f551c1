"""The scripts and styles of the widgets, which are in the same folder as this file."""

from pathlib import Path

UI_FOLDER = Path(__file__).parent


def read_script(name: str) -> str:
    """Return a widget's module, after the functions that all widgets share (`dom.js`)."""
    return (UI_FOLDER / "dom.js").read_text(encoding="utf-8") + (UI_FOLDER / f"{name}.js").read_text(encoding="utf-8")


def read_style(name: str) -> str:
    """Return a widget's style sheet."""
    return (UI_FOLDER / f"{name}.css").read_text(encoding="utf-8")
