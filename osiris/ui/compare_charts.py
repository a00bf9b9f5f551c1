"""The plots of page 07: adapters side by side, and how far what was said of ideas can be believed."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from osiris.evaluation.calibration import MEASURES, Calibration
from osiris.ui.charts import OUTCOME_COLOURS, draw_intervals

NEUTRAL_VALUES = {"win rate": None, "mean R": 0.0, "reward to risk": None, "long share": 0.5}


def plot_adapter_measures(table: pd.DataFrame) -> Figure:
    """One panel a measure of `loop.comparison.standing`, one line an adapter: the value and its 95 % interval."""
    adapters = list(table.index.get_level_values("adapter").unique())
    figure, axes = plt.subplots(1, len(MEASURES), figsize=(12, 1.2 + 0.4 * len(adapters)), layout="constrained")
    for axis, measure in zip(axes, MEASURES, strict=True):
        draw_intervals(axis, table[table.index.get_level_values("measure") == measure].droplevel("measure"))
        if axis is not axes[0]:
            axis.set_yticklabels([])
        axis.set(title=measure, ylim=(-0.5, max(len(adapters), 1) - 0.5))
        if NEUTRAL_VALUES[measure] is not None:
            axis.axvline(NEUTRAL_VALUES[measure], color="grey", linewidth=0.6)
    return figure


def plot_reliability(calibrations: dict[str, Calibration | None]) -> Figure:
    """A reliability diagram each: said against happened, and the Brier score beside that of the base rate."""
    figure, axes = plt.subplots(
        1, len(calibrations), figsize=(3.6 * len(calibrations), 3.6), layout="constrained", squeeze=False
    )
    for axis, (name, one) in zip(axes.flat, calibrations.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.6)
        axis.set(xlabel="said", ylabel="won", xlim=(0, 1), ylim=(0, 1))
        axis.set_title(f"{name}\ntoo few ideas", fontsize=9)
        if one is not None:
            bins = one.bins
            axis.vlines(bins["said"], bins["low"], bins["high"], color=OUTCOME_COLOURS["open"], linewidth=2)
            axis.plot(bins["said"], bins["happened"], "o", color=OUTCOME_COLOURS["open"])
            scores = f"Brier {one.brier:.3f}, base rate {one.base_rate_brier:.3f} ({one.count} ideas)"
            axis.set_title(f"{name}\n{scores}", fontsize=9)
    return figure
