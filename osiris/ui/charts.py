"""The plots of the notebooks. Each function draws from data frames or reports and returns a matplotlib figure."""

from collections.abc import Sequence
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from osiris.market.bar_frames import adjust_splits
from osiris.ui.hover import add_hover_points
from osiris.ui.plot_style import FAINT, INK, OUTCOME_COLOURS, in_plot_style
from osiris.ui.tables import metric_title

if TYPE_CHECKING:
    from osiris.evaluation.heldout import Evaluation

METRIC_UNITS = {
    "loss": "nats a token", "mean_token_accuracy": "share", "learning_rate": "step size", "logps/chosen": "nats",
    "rewards/margins": "log ratio", "rewards/accuracies": "share",
}  # fmt: skip
EARLIEST_SHOWN = timedelta(days=5)
"""A price path starts this long before the draft, and ends `LATEST_SHOWN` after the close."""
LATEST_SHOWN = timedelta(days=3)


def plot_setup(
    bars: dict[str, list[Any]], idea: dict[str, Any], earlier: Sequence[dict[str, Any]], dark: bool
) -> Figure:
    """Draw daily bars and volume around an idea, with its entry, target and stop, and marks for earlier ideas.

    `bars` has columns `end` (ISO 8601), `open`, `high`, `low`, `close`, `volume`; prices are in the idea's basis.
    """
    ends = pd.to_datetime(bars["end"])
    opens, highs, lows, closes = (np.array(bars[name], float) for name in ("open", "high", "low", "close"))
    places = np.arange(len(ends))  # one unit per bar: weekends and holidays leave no gap
    moment = pd.Timestamp(idea["as_of"])
    ink = "#d0d0d0" if dark else "#333333"
    colours = np.where(closes >= opens, OUTCOME_COLOURS["win"], OUTCOME_COLOURS["loss"])
    figure = Figure(figsize=(8, 4.2), facecolor="none")
    layout = {"left": 0.07, "right": 0.99, "bottom": 0.06, "top": 0.99, "hspace": 0.04, "height_ratios": [5, 1]}
    price, volume = figure.subplots(2, 1, sharex=True, gridspec_kw=layout)
    price.vlines(places, lows, highs, colours, linewidth=0.8)
    # A body of at least 2 % of the range keeps a bar visible that closed where it opened.
    body = np.maximum(np.abs(closes - opens), (highs - lows) * 0.02)
    low = np.minimum(opens, closes)
    width = 330 / len(places)  # in points, for a figure 8 inches wide: lines draw four times faster than rectangles
    price.vlines(places, low, low + body, colours, linewidth=width)
    volume.vlines(places, 0, np.array(bars["volume"], float), colours, linewidth=width, alpha=0.6)
    volume.set_ylim(0)
    drafted = int((ends <= moment).sum()) - 0.5  # halfway between the last bar the model saw and the next one
    for axis in (price, volume):
        axis.axvline(drafted, color=ink, linewidth=0.8, linestyle=":")
    for name, colour in (("target", OUTCOME_COLOURS["win"]), ("entry", ink), ("stop", OUTCOME_COLOURS["loss"])):
        price.hlines(idea[name], drafted - 0.5, len(ends) + 2, colour, linewidth=1.4)
        price.text(len(ends) + 2.3, idea[name], f"{name} {idea[name]:,.6g}", color=colour, va="center", fontsize=9)
    _mark_earlier(price, earlier, ends, lows, highs)
    price.set_xlim(-1, len(ends) + max(12, len(ends) * 0.18))
    ticks = places[:: max(len(places) // 8, 1)]
    volume.set_xticks(ticks, [f"{ends[i]:%d %b %y}" for i in ticks], fontsize=8)
    volume.set_yticks([])
    volume.set_ylabel("volume", color=ink, fontsize=8)
    for axis in (price, volume):
        axis.set_facecolor("none")
        axis.tick_params(colors=ink, labelsize=8)
        axis.spines[:].set_visible(False)
        axis.grid(color=ink, alpha=0.15, linewidth=0.5)
    return figure


@in_plot_style
def plot_estimates(table: pd.DataFrame) -> Figure:
    """Draw estimates with their confidence intervals: rates on the left, means in R on the right.

    `table` is that of `osiris.evaluation.review_value`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.6 + 0.42 * len(table) / 2), layout="constrained")
    is_rate = table.index.str.contains("rate")
    for axis, chosen, unit, neutral in ((axes[0], table[is_rate], "share", 0.5), (axes[1], table[~is_rate], "R", 0.0)):
        draw_intervals(axis, chosen)
        axis.axvline(neutral, color=INK, linewidth=0.6)
        axis.set(xlabel=unit)
    axes[0].set_xlim(0, 1)
    return figure


def draw_intervals(axis: plt.Axes, table: pd.DataFrame) -> None:
    """Draw a line for each row, from `low` to `high` through `value`, with the first row on top.

    Each label is the row's name with its number of `ideas`.
    """
    shown = table[::-1]
    places = range(len(shown))
    axis.hlines(places, shown["low"], shown["high"], color=OUTCOME_COLOURS["open"], linewidth=2)
    axis.plot(shown["value"], places, "o", color=OUTCOME_COLOURS["open"])
    axis.set_yticks(places, [f"{name} ({row['ideas']:.0f})" for name, row in shown.iterrows()])


def to_png(figure: Figure) -> bytes:
    """Render a figure as a PNG, at 150 dpi so that it is sharp on dense screens."""
    out = BytesIO()
    figure.savefig(out, format="png", dpi=150)
    return out.getvalue()


def _mark_earlier(
    axis: plt.Axes, earlier: Sequence[dict[str, Any]], ends: pd.DatetimeIndex, lows: np.ndarray, highs: np.ndarray
) -> None:
    """Mark the bar at which each earlier idea was drafted, in the colour of its outcome.

    The mark is a triangle below the bar for a long idea, and above it for a short one.
    """
    for idea in earlier:
        place = int((ends <= pd.Timestamp(idea["as_of"])).sum()) - 1
        if place >= 0:
            level, marker = (lows[place] * 0.99, "^") if idea["side"] == "long" else (highs[place] * 1.01, "v")
            axis.plot([place], [level], marker, color=OUTCOME_COLOURS.get(idea["outcome"], "#8a8a8a"), markersize=7)


@in_plot_style
def plot_drafts(ideas: pd.DataFrame) -> Figure:
    """Draw histograms of the Hermes scores (0-1) and of the reward to risk of drafted ideas, by side."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3), layout="constrained")
    ratio = (ideas["target"] - ideas["entry"]).abs() / (ideas["entry"] - ideas["stop"]).abs()
    for side, colour in (("long", OUTCOME_COLOURS["win"]), ("short", OUTCOME_COLOURS["loss"])):
        chosen = ideas["side"] == side
        left.hist(ideas["hermes_score"][chosen].dropna(), bins=np.arange(-0.05, 1.15, 0.1), alpha=0.6, color=colour)
        right.hist(ratio[chosen], bins=20, alpha=0.6, color=colour, label=f"{side} ({chosen.sum()})")
    left.set(xlabel="Hermes score (0 to 1)", ylabel="ideas", title="Scores by Hermes")
    right.set(xlabel="gain at the target / loss at the stop", ylabel="ideas", title="Reward to risk")
    right.legend()
    return figure


@in_plot_style
def plot_price_paths(ideas: pd.DataFrame, bars: dict[str, pd.DataFrame], max_ideas: int = 12) -> Figure:
    """Draw a small plot for each idea: close and range in R, with target, entry, stop and exit, adjusted for splits."""
    shown = ideas.head(max_ideas)
    rows = max(1, -(-len(shown) // 4))
    figure, axes = plt.subplots(rows, 4, figsize=(12, 2.4 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    for axis, idea in zip(axes.flat, shown.itertuples(), strict=False):
        ticker = str(idea.ticker)
        if ticker in bars and len(bars[ticker]):
            _draw_price_path(axis, idea, bars[ticker])
        else:
            axis.set(title=f"{ticker}: no prices", xticks=[], yticks=[])
    return figure


@in_plot_style
def plot_training_curves(history: Sequence[dict[str, float]], names: Sequence[str]) -> Figure:
    """Draw training metrics by step, one panel for each name; a metric that was never logged has an empty panel."""
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 3), layout="constrained", squeeze=False)
    for axis, name in zip(axes.flat, names, strict=True):
        points = [(entry["step"], entry[name]) for entry in history if name in entry]
        axis.plot(*zip(*points, strict=True), marker="o") if points else None
        axis.set_title(metric_title(name), fontsize=10)
        axis.set(xlabel="step", ylabel=METRIC_UNITS.get(name, ""))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@in_plot_style
def plot_counts(values: dict[str, float], heading: str) -> Figure:
    """Draw a bar for each named count."""
    figure, axis = plt.subplots(figsize=(6, 0.5 + 0.5 * max(len(values), 1)), layout="constrained")
    axis.barh([name.replace("_", " ") for name in values], list(values.values()), color=OUTCOME_COLOURS["open"])
    axis.set(title=heading, xlabel="lines")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@in_plot_style
def plot_equity(evaluations: Sequence["Evaluation"]) -> Figure:
    """Draw the cumulative R of held-out trades by draft time, for each adapter, and the distribution of R.

    Each moment of the left plot has a text with its trades, for `osiris.ui.hover`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
    for evaluation in evaluations:
        trades = evaluation.filled.sort_values("as_of")
        moments = trades.groupby("as_of")
        by_time = moments["r"].sum().cumsum()
        texts = [_describe_trades(evaluation.adapter, group, by_time[moment]) for moment, group in moments]
        (line,) = left.plot(by_time.index, by_time.to_numpy(), label=evaluation.adapter)
        add_hover_points(left, by_time.index, by_time.to_numpy(), texts, str(line.get_color()))
        right.hist(trades["r"], bins=np.arange(-2, 4.25, 0.25), histtype="step", linewidth=1.5, color=line.get_color())
    left.axhline(0, color=INK, linewidth=0.6)
    left.set(title="Equity on held-out prompts", xlabel="moment of the draft", ylabel="cumulative R")
    left.xaxis.set_major_formatter(ConciseDateFormatter(left.xaxis.get_major_locator()))
    right.set(title="R of held-out trades", xlabel="R of a trade", ylabel="trades")
    if evaluations:
        left.legend()
    return figure


def _describe_trades(adapter: str, trades: pd.DataFrame, total: float) -> str:
    """The trades of one moment in lines of text."""
    first = f"{adapter}, {trades['as_of'].iloc[0]:%d %b %Y}: {total:+.1f} R in all"
    return "\n".join([first, *(f"{trade.ticker} {trade.side} {trade.r:+.2f} R" for trade in trades.itertuples())])


def _draw_price_path(axis: plt.Axes, idea: Any, bars: pd.DataFrame) -> None:
    """Draw close and range of the bars around an idea, in units of its own risk, so that up is profit."""
    end = idea.closed_at if pd.notna(idea.closed_at) else bars["end"].iloc[-1]
    shown = bars[(bars["end"] >= idea.as_of - EARLIEST_SHOWN) & (bars["end"] <= end + LATEST_SHOWN)]
    adjusted = adjust_splits(shown)
    # The levels are raw prices of the moment of the draft. `unit` brings the adjusted bars to that same basis.
    drafted = int((shown["end"] <= idea.as_of).sum()) - 1
    unit = shown["close"].iloc[drafted] / adjusted["close"].iloc[drafted]
    sign = 1 if idea.side == "long" else -1
    risk = abs(idea.entry - idea.stop)
    close, low, high = (sign * (adjusted[name] * unit - idea.entry) / risk for name in ("close", "low", "high"))
    axis.fill_between(adjusted["end"], low, high, color=FAINT, linewidth=0)
    axis.plot(adjusted["end"], close, color=INK, linewidth=1)
    axis.axvline(idea.as_of, color=INK, linewidth=0.8, linestyle=":")
    axis.axhline(sign * (idea.target - idea.entry) / risk, color=OUTCOME_COLOURS["win"], linewidth=1)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.axhline(-1, color=OUTCOME_COLOURS["loss"], linewidth=1)
    colour = OUTCOME_COLOURS.get(idea.outcome, INK)
    if pd.notna(idea.closed_at):
        axis.plot([idea.closed_at], [idea.r_multiple], marker="o", color=colour)
    how = f" by {idea.exit_reason}" if idea.exit_reason else ""
    name = f"{idea.ticker} {idea.side}, {idea.as_of:%d %b %Y}"
    axis.set_title(f"{name}\n{idea.outcome}{how}", fontsize=9, color=colour)
    axis.set_ylabel("R", fontsize=8)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(axis.xaxis.get_major_locator()))
    axis.tick_params(axis="x", labelsize=7)
