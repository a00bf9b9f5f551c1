"""Plots with texts that appear when the pointer rests on a point.

A text is the title of a point in an SVG, which every browser shows. It needs no script: a page of a night stays a
hundred kilobytes, and is the same picture where nobody can hover, as on paper.
"""

import re
from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from IPython.display import HTML

HOVER_ID = "osiris-hover:"
_HOVER_GROUP = re.compile(rf'<g id="{HOVER_ID}([^"]*)">')


def add_hover_points(axis: plt.Axes, x: Iterable[Any], y: Iterable[float], texts: Sequence[str], colour: str) -> None:
    """Draw a point for each text; the text may have several lines."""
    for place, value, text in zip(x, y, texts, strict=True):
        axis.plot([place], [value], "o", markersize=4, color=colour, gid=HOVER_ID + text)


def to_svg(figure: Figure) -> str:
    """Render a figure as SVG, and give each point of `add_hover_points` its text as a title."""
    out = StringIO()
    figure.savefig(out, format="svg")
    svg = out.getvalue()
    return _HOVER_GROUP.sub(r"<g><title>\1</title>", svg[svg.index("<svg") :])


def to_html(figure: Figure) -> "HTML":
    """Render a figure for a notebook, and close it, so that it is not shown a second time as a picture."""
    from IPython.display import HTML

    plt.close(figure)
    return HTML(f'<div style="max-width: 100%; overflow-x: auto">{to_svg(figure)}</div>')
