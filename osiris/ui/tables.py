"""The tables of the notebooks: readable names, only significant digits, and texts in full."""

import json
from datetime import datetime
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

METRIC_NAMES = {
    "loss": "loss",
    "mean_token_accuracy": "share of tokens foreseen",
    "valid_share": "share of valid replies",
    "long_share": "share of long ideas",
    "rewards/margins": "margin of the chosen reply",
    "rewards/accuracies": "share of pairs in which the chosen reply leads",
    "rewards/chosen": "reward of the chosen reply",
    "rewards/rejected": "reward of the rejected reply",
    "logps/chosen": "log-probability of the chosen reply",
    "logps/rejected": "log-probability of the rejected reply",
    "logits/chosen": "mean logit of the chosen reply",
    "logits/rejected": "mean logit of the rejected reply",
    "mean_r": "mean R, filled trades",
    "win_rate": "win rate, filled trades",
    "rows": "lines trained on",
    "tensors_changed": "tensors changed",
}
METRIC_STAGES = ("before", "after", "heldout")
"""A metric such as `before/loss` belongs to one of these stages; each stage is a column."""
PRICE_DECIMALS, CHEAP_PRICE_DECIMALS = 2, 4
MAX_CHEAP_PRICE = 10.0
"""A table with a price below this shows all prices with `CHEAP_PRICE_DECIMALS`, any other with `PRICE_DECIMALS`."""
MAX_DATASET_LINES = 30


def format_ideas(rows: pd.DataFrame) -> pd.DataFrame:
    """Show drafted ideas with their reward to risk. All prices have the same decimals, and the rationale comes last."""
    prices = ["entry", "target", "stop"]
    cheap = bool((rows[prices] < MAX_CHEAP_PRICE).to_numpy().any())
    ratio = (rows["target"] - rows["entry"]).abs() / (rows["entry"] - rows["stop"]).abs()
    names = ["as_of", "ticker", "side", *prices, "reward_to_risk", "size", "confidence", "hermes_score", "novelty"]
    shown = rows.assign(reward_to_risk=ratio)[[*names, "status", "rationale"]]
    digits = dict.fromkeys(names[-5:], 3) | dict.fromkeys(prices, CHEAP_PRICE_DECIMALS if cheap else PRICE_DECIMALS)
    return to_readable(shown.round(digits))


def to_readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Rename the columns, so that their names have no underscores."""
    return rows.rename(columns=lambda name: str(name).replace("_", " "))


def format_metrics(values: dict[str, float]) -> pd.DataFrame:
    """Show a metric in each row, by its readable name and to three digits.

    The columns are its values before and after a training, or on held-out prompts.
    """
    table: dict[str, dict[str, str]] = {}
    for key, value in values.items():
        row, column = key, "value"
        for stage in METRIC_STAGES:
            for separator in ("/", "_"):
                if key.startswith(stage + separator) and len(key) > len(stage) + 1:
                    row, column = key[len(stage) + 1 :], stage
        table.setdefault(_metric_name(row, column), {})[column.replace("heldout", "held out")] = f"{value:.3g}"
    return pd.DataFrame.from_dict(table, orient="index").fillna("")


def format_dataset(pairs: pd.DataFrame) -> Styler:
    """Show the first lines of a dataset, numbered as `osiris pairs show` counts.

    Of the two replies of a pair, only the fields that differ are shown, in full.
    """
    shown = pairs.head(MAX_DATASET_LINES).set_axis(range(1, len(pairs.head(MAX_DATASET_LINES)) + 1))
    if {"good_reply", "bad_reply"} <= set(shown):
        differences = [
            _differences(good, bad) for good, bad in zip(shown["good_reply"], shown["bad_reply"], strict=True)
        ]
        replies = pd.DataFrame(differences, columns=["good reply", "bad reply"], index=shown.index, dtype=object)
        shown = pd.concat([shown[["prompt"]], replies], axis=1)
    # A dict of CSS properties, as pandas documents; its stub takes the keywords for the argument `subset`.
    wrapped: dict[str, Any] = {"white-space": "pre-wrap", "text-align": "left", "vertical-align": "top"}
    return to_readable(shown).style.set_properties(**wrapped).set_caption(f"{len(shown)} of {len(pairs)} lines")


def format_review_value(table: pd.DataFrame, as_of: datetime) -> Styler:
    """Show the value of the review (`osiris.evaluation.review_value`) as of a moment; an unknown value is a dash."""
    numbers: dict[Any, Any] = dict.fromkeys(["value", "low", "high"], "{:.3f}")
    numbers |= dict.fromkeys(["ideas", "sessions"], "{:.0f}")
    return table.style.format(numbers, na_rep="–").set_caption(f"as of {as_of:%Y-%m-%d %H:%M} UTC")


def metric_title(metric: str) -> str:
    """Return a metric's readable name."""
    return METRIC_NAMES.get(metric, metric.replace("_", " ").replace("/", ", "))


def _metric_name(metric: str, when: str) -> str:
    """Return the name as `metric_title` does, and mark two metrics of held-out prompts as those of filled trades.

    The gate computes these two over the ideas whose entry was reached, like the other measures of notebook 07.
    """
    if when == "heldout" and metric in ("long_share", "reward_to_risk"):
        return f"{metric_title(metric)}, filled trades"
    return metric_title(metric)


def _differences(good: str, bad: str) -> tuple[str, str]:
    """Write the fields in which two replies differ as lines `name: value`.

    Replies that are not JSON objects are returned as they are.
    """
    try:
        good_fields, bad_fields = json.loads(good), json.loads(bad)
    except ValueError:
        return good, bad
    if not (isinstance(good_fields, dict) and isinstance(bad_fields, dict)):
        return good, bad
    names = [name for name in {**good_fields, **bad_fields} if good_fields.get(name) != bad_fields.get(name)]
    return _to_lines(good_fields, names), _to_lines(bad_fields, names)


def _to_lines(reply: dict[str, Any], names: list[str]) -> str:
    return "\n".join(f"{name}: {reply[name]}" for name in names if name in reply)
