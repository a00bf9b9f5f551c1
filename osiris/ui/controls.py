"""Small things that pages share."""

from collections.abc import Callable

import ipywidgets as widgets


def escape_tex(text: str) -> str:
    """`text` for a Label, which would typeset what stands between dollars or behind a backslash as TeX."""
    return text.replace("$", "＄").replace("\\", "＼")


def button(text: str, action: Callable[[], None]) -> widgets.Button:
    """A button that calls `act`, unless it is disabled: the second click of two may be under way already."""
    widget = widgets.Button(description=text, layout=widgets.Layout(width="auto"))
    widget.on_click(lambda _: None if widget.disabled else action())
    return widget
