"""The tables of the pages: what stands apart is shown whole, what stands twice has one number or two names."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

import osiris.llm
from osiris.ui import tables
from osiris.ui.charts import plot_counts, plot_training_curves
from tests.builders import MOMENT, idea

REPLY = {"ticker": "GOOG", "rationale": "momentum down, fade " + "x" * 60, "side": "short", "target_atr": 2.0}


def test_ideas_have_their_ratio_one_rationale_and_prices_of_the_same_decimals():
    rows = pd.DataFrame([idea(target=106.123456, entry=100.5, stop=97.25)])
    shown = tables.format_ideas(rows)
    assert shown.columns.is_unique
    assert not any("_" in name for name in shown.columns)
    assert shown.iloc[0][["entry", "target", "stop", "reward to risk"]].tolist() == [100.5, 106.12, 97.25, 1.73]


def test_cheap_prices_keep_the_digits_that_tell_them_apart():
    shown = tables.format_ideas(pd.DataFrame([idea(entry=0.5012, target=0.5056, stop=0.4991)]))
    assert shown.iloc[0]["target"] == 0.5056


def test_no_idea_makes_an_empty_table():
    assert tables.format_ideas(pd.DataFrame([idea()]).iloc[:0]).empty


def test_metrics_are_a_row_each_before_beside_after_to_three_digits():
    shown = tables.format_metrics(
        {"before/loss": 0.66678762, "after/loss": 0.41233161, "rows": 64.0, "heldout_mean_r": 0.12345}
    )
    assert shown.loc["loss", ["before", "after"]].tolist() == ["0.667", "0.412"]
    assert shown.loc["lines trained on", "value"] == "64"
    assert shown.loc["mean R, filled trades", "held out"] == "0.123"
    assert tables.format_metrics({}).empty


def test_what_is_of_filled_trades_alone_is_called_so():
    shown = tables.format_metrics({"heldout_long_share": 0.25, "heldout_reward_to_risk": 1.147})
    assert list(shown.index) == ["share of long ideas, filled trades", "reward to risk, filled trades"]


def test_of_a_pair_what_differs_is_shown_whole_under_the_number_of_its_line():
    bad = REPLY | {"side": "long", "rationale": "momentum down, follow " + "y" * 60}
    frame = pd.DataFrame([{"prompt": "p", "good_reply": json.dumps(REPLY), "bad_reply": json.dumps(bad)}])
    shown = tables.format_dataset(frame)
    assert list(shown.data.index) == [1]
    assert shown.data.loc[1, "good reply"] == f"rationale: {REPLY['rationale']}\nside: short"
    assert bad["rationale"] in shown.to_html()


@pytest.mark.parametrize("reply", ["no JSON", "[1]"])
def test_what_is_no_reply_is_shown_as_it_is(reply):
    frame = pd.DataFrame([{"prompt": "p", "good_reply": reply, "bad_reply": "{}"}])
    assert tables.format_dataset(frame).data.loc[1, "good reply"] == reply


def test_lines_of_another_kind_and_none_at_all_are_shown_too():
    assert list(tables.format_dataset(pd.DataFrame([{"prompt": "p", "reply": "r"}])).data.columns) == [
        "prompt",
        "reply",
    ]
    assert tables.format_dataset(pd.DataFrame([])).data.empty


def test_what_a_review_is_worth_says_of_when_and_has_no_nan():
    table = pd.DataFrame(
        {"value": [np.nan], "low": [0.1], "high": [0.2], "ideas": [3], "sessions": [0]}, index=["rate"]
    )
    html = tables.format_review_value(table, MOMENT).to_html()
    assert "as of 2005-02-25 21:00 UTC" in html
    assert "nan" not in html.lower()


def test_plots_name_what_they_measure_and_count_in_whole_steps():
    figure = plot_training_curves([{"step": step, "rewards/margins": 0.1} for step in (1, 2, 3)], ["rewards/margins"])
    (axis,) = figure.axes
    assert (axis.get_title(), axis.get_ylabel()) == ("margin of the chosen reply", "log ratio")
    assert all(tick == int(tick) for tick in axis.get_xticks())
    assert all(tick == int(tick) for tick in plot_counts({"pairs_edit": 2.0}, "pairs").axes[0].get_xticks())


def test_advice_on_faster_kernels_is_no_box_on_a_page():
    assert osiris.llm.__doc__
    assert not logging.getLogger("bitsandbytes.backends.cpu.ops").isEnabledFor(logging.WARNING)
