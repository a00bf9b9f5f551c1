"""The tables of the pages: readable names, as many digits as tell something, texts whole."""

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
PRICE_DECIMALS, CHEAP_PRICE_DECIMALS = 2, 4
MAX_CHEAP_PRICE = 10.0
"""Prices below it are shown with `MANY` decimals, others with `FEW`; all of one table alike."""
MAX_DATASET_LINES = 30


def format_ideas(rows: pd.DataFrame) -> pd.DataFrame:
    """Drafted ideas with their reward to risk, prices to the same decimals, the rationale last."""
    prices = ["entry", "target", "stop"]
    cheap = bool(len(rows)) and rows[prices].min(axis=None) < MAX_CHEAP_PRICE
    ratio = (rows["target"] - rows["entry"]).abs() / (rows["entry"] - rows["stop"]).abs()
    names = ["as_of", "ticker", "side", *prices, "reward_to_risk", "size", "confidence", "hermes_score", "novelty"]
    shown = rows.assign(reward_to_risk=ratio)[[*names, "status", "rationale"]]
    digits = dict.fromkeys(names[-5:], 3) | dict.fromkeys(prices, CHEAP_PRICE_DECIMALS if cheap else PRICE_DECIMALS)
    return to_readable(shown.round(digits))


def to_readable(rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows under names without underscores."""
    return rows.rename(columns=lambda name: str(name).replace("_", " "))


def format_metrics(values: dict[str, float]) -> pd.DataFrame:
    """A row a metric under its readable name, to three digits: before and after a training, or on held-out prompts."""
    found: dict[str, dict[str, str]] = {}
    for key, value in values.items():
        when, name = key, ""
        for known in METRIC_STAGES:
            for separator in ("/", "_"):
                if key.startswith(known + separator):
                    when, name = known, key[len(known) + 1 :]
        row, column = (name, when) if name else (key, "value")
        found.setdefault(_metric_name(row, column), {})[column.replace("heldout", "held out")] = f"{value:.3g}"
    return pd.DataFrame.from_dict(found, orient="index").fillna("")


def format_dataset(pairs: pd.DataFrame) -> Styler:
    """The first lines of a dataset, numbered as `osiris pairs show` counts; of two replies what differs, whole."""
    shown = pairs.head(MAX_DATASET_LINES).set_axis(range(1, len(pairs.head(MAX_DATASET_LINES)) + 1))
    if {"good_reply", "bad_reply"} <= set(shown):
        differences = [
            _differences(good, bad) for good, bad in zip(shown["good_reply"], shown["bad_reply"], strict=True)
        ]
        replies = pd.DataFrame(differences, columns=["good reply", "bad reply"], index=shown.index, dtype=object)
        shown = pd.concat([shown[["prompt"]], replies], axis=1)
    whole = {"white-space": "pre-wrap", "text-align": "left", "vertical-align": "top"}
    return to_readable(shown).style.set_properties(**whole).set_caption(f"{len(shown)} of {len(pairs)} lines")


def format_review_value(table: pd.DataFrame, as_of: datetime) -> Styler:
    """What a review is worth (`loop.reviewers`), with the moment that it was true; what is not known is a dash."""
    numbers = dict.fromkeys(["value", "low", "high"], "{:.3f}") | dict.fromkeys(["ideas", "sessions"], "{:.0f}")
    return table.style.format(numbers, na_rep="–").set_caption(f"as of {as_of:%Y-%m-%d %H:%M} UTC")


def metric_title(metric: str) -> str:
    """A metric's readable name."""
    return METRIC_NAMES.get(metric, metric.replace("_", " ").replace("/", ", "))


def _metric_name(metric: str, when: str) -> str:
    """As `title`; the gate counts these two over the ideas whose entry was reached, as the table above it does."""
    if when == "heldout" and metric in ("long_share", "reward_to_risk"):
        return f"{metric_title(metric)}, filled trades"
    return metric_title(metric)


def _differences(good: str, bad: str) -> tuple[str, str]:
    """Two replies as lines `name: value` of what differs; whole where they are not JSON objects."""
    try:
        one, other = json.loads(good), json.loads(bad)
    except ValueError:
        return good, bad
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return good, bad
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return _to_lines(one, names), _to_lines(other, names)


def _to_lines(reply: dict[str, Any], names: list[str]) -> str:
    return "\n".join(f"{name}: {reply[name]}" for name in names if name in reply)
