"""The one style of the plots: no background, and a grey ink that can be read on white and on dark alike."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

INK = "#797979"
"""Its contrast is 4.3:1 on white and on JupyterLab's dark background (#111111) alike."""
FAINT = "#79797955"
OUTCOME_COLOURS = {"win": "#2a9d5c", "loss": "#c8453b", "breakeven": "#8a8a8a", "open": "#3b6fc8"}
SERIES_COLOURS = ("#3b6fc8", "#e08a2e", "#2a9d5c", "#a05fc0", "#c8453b")
STYLE: dict[str, Any] = {
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.prop_cycle": plt.cycler(color=SERIES_COLOURS),
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
P = ParamSpec("P")


def in_plot_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw in the style; the settings of the user's own plots stay as they are."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        # Not `plt.rc_context`: it would also take back that IPython shows figures, which is set with the first of them.
        before = {name: plt.rcParams[name] for name in STYLE}
        plt.rcParams.update(STYLE)
        try:
            return draw(*args, **kwargs)
        finally:
            plt.rcParams.update(before)

    return styled
