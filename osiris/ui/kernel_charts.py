"""The plots of notebook 08: the rewards of a patch on past data, and the history of the patches."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from osiris.evaluation.stats import format_p_value
from osiris.ui.plot_style import INK, OUTCOME_COLOURS, in_plot_style

CHART_COMPONENTS = ("profit", "risk_adjusted", "novelty", "latency", "total")


@in_plot_style
def plot_rewards(measured: dict[str, Any] | None) -> Figure:
    """Draw the reward components of candidate and incumbent, and the difference of their profits.

    The difference has a 95 % interval. `measured` is `None` if the turn measured nothing.
    """
    figure, (parts, difference) = plt.subplots(1, 2, figsize=(11, 3), layout="constrained", width_ratios=[3, 2])
    parts.set(title="rewards on the past", ylabel="reward")
    difference.set_title("profit at equal risk, candidate less incumbent, 95 %", fontsize=10)
    if measured is None:
        difference.set_title("nothing was measured in this turn")
        return figure
    for shift, name, colour in ((-0.2, "incumbent", INK), (0.2, "candidate", OUTCOME_COLOURS["open"])):
        places = [place + shift for place in range(len(CHART_COMPONENTS))]
        parts.bar(places, [measured[name][part] for part in CHART_COMPONENTS], width=0.38, color=colour, label=name)
    parts.set_xticks(range(len(CHART_COMPONENTS)), [part.replace("_", " ") for part in CHART_COMPONENTS])
    parts.axhline(0, color=INK, linewidth=0.6)
    parts.legend()
    difference.hlines(0, measured["low"], measured["high"], color=OUTCOME_COLOURS["open"], linewidth=3)
    difference.plot(measured["gain"], 0, "o", color=OUTCOME_COLOURS["open"])
    difference.axvline(0, color=INK, linewidth=0.6)
    difference.set_yticks([])
    words = f"{format_p_value(measured['p_value'])}, level {measured['level']:.4g}, {measured['weeks']} weeks"
    difference.set_xlabel(f"R a week; {words}")
    return figure


@in_plot_style
def plot_patch_history(history: list[dict[str, Any]]) -> Figure:
    """Draw a bar for each measured patch: its reward on past data, and a diamond for its reward while live.

    The live reward is known once the patch was rolled back.
    """
    measured = [row for row in reversed(history) if row["reward"] is not None]
    figure, axis = plt.subplots(figsize=(11, 1 + 0.35 * max(len(measured), 1)), layout="constrained")
    colours = {"applied": OUTCOME_COLOURS["win"], "rolled_back": OUTCOME_COLOURS["loss"]}
    for place, row in enumerate(measured):
        axis.barh(place, row["reward"], color=colours.get(row["state"], INK), height=0.5)
        if row["live reward"] is not None:
            axis.plot(row["live reward"], place, "D", color=INK, markersize=5)
    axis.set_yticks(range(len(measured)), [f"{row['patch']} {row['state']}" for row in measured])
    axis.axvline(0, color=INK, linewidth=0.6)
    axis.set_xlabel("reward")
    axis.set_title("patches: better by so much on the past (bar), live reward when rolled back (diamond)", fontsize=10)
    return figure
