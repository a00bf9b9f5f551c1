"""Small parts that several widgets share."""

from collections.abc import Callable

import ipywidgets as widgets


def escape_tex(text: str) -> str:
    """Make `text` safe for a Label, which would typeset `$...$` and backslashes as TeX."""
    return text.replace("$", "＄").replace("\\", "＼")


def button(text: str, action: Callable[[], None]) -> widgets.Button:
    """Make a button that calls `action`, unless it is disabled by then: a second click may be under way already."""
    widget = widgets.Button(description=text, layout=widgets.Layout(width="auto"))
    widget.on_click(lambda _: None if widget.disabled else action())
    return widget
