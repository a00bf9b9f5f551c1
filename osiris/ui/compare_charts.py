"""The plots of notebook 07: adapters side by side, and the calibration of their confidences."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from osiris.evaluation.calibration import MEASURES, Calibration
from osiris.ui.charts import draw_intervals
from osiris.ui.plot_style import INK, OUTCOME_COLOURS, in_plot_style

NEUTRAL_VALUES = {"win rate": None, "mean R": 0.0, "reward to risk": None, "long share": 0.5}
"""The value at which a measure says nothing; a win rate has one only together with the reward to risk."""

MEASURE_UNITS = {
    "win rate": "share of trades",
    "mean R": "R of a trade",
    "reward to risk": "gain / loss",
    "long share": "share of trades",
}


@in_plot_style
def plot_adapter_measures(table: pd.DataFrame) -> Figure:
    """Draw a panel for each measure of `estimate_measures`, and in it each adapter's value with its 95 % interval."""
    adapters = list(table.index.get_level_values("adapter").unique())
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(12, 1.2 + 0.4 * len(adapters)), layout="constrained")
    for axis, measure in zip(axes, MEASURES, strict=True):
        draw_intervals(axis, table[table.index.get_level_values("measure") == measure].droplevel("measure"))
        if axis is not axes[0]:
            axis.set_yticklabels([])
        axis.set(title=measure, xlabel=MEASURE_UNITS[measure], ylim=(-0.5, max(len(adapters), 1) - 0.5))
        if NEUTRAL_VALUES[measure] is not None:
            axis.axvline(NEUTRAL_VALUES[measure], color=INK, linewidth=0.6)
    return figure


@in_plot_style
def plot_reliability(calibrations: dict[str, Calibration | None]) -> Figure:
    """Draw a reliability diagram for each calibration, with its Brier score and that of the base rate.

    A diagram shows the forecast share of wins against the observed share.
    """
    figure, axes = plt.subplots(
        1, len(calibrations), figsize=(3.6 * len(calibrations), 3.6), layout="constrained", squeeze=False
    )
    for axis, (name, calibration) in zip(axes.flat, calibrations.items(), strict=True):
        axis.plot([0, 1], [0, 1], color=INK, linewidth=0.6)
        axis.set(xlabel="forecast share of wins", ylabel="observed share of wins", xlim=(0, 1), ylim=(0, 1))
        axis.set_title(f"{name}\ntoo few ideas", fontsize=9)
        if calibration is not None:
            bins = calibration.bins
            axis.vlines(bins["predicted"], bins["low"], bins["high"], color=OUTCOME_COLOURS["open"], linewidth=2)
            axis.plot(bins["predicted"], bins["observed"], "o", color=OUTCOME_COLOURS["open"])
            brier = f"Brier {calibration.brier:.3f}, base rate {calibration.base_rate_brier:.3f}"
            scores = f"{brier} ({calibration.count} ideas)"
            axis.set_title(f"{name}\n{scores}", fontsize=9)
    return figure
