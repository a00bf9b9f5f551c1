"""A point of a plot says what it is when the pointer rests on it, on any page and without a script."""

import xml.etree.ElementTree as ElementTree

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from osiris.evaluation.heldout import Evaluation
from osiris.ui.charts import plot_equity
from osiris.ui.hover import add_hover_points, to_html, to_svg

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script> & \"quoted\" 'too'"


def titles(svg):
    return [one.text for one in ElementTree.fromstring(svg).iter(f"{SVG}title")]


@pytest.fixture
def axis():
    figure, axis = plt.subplots()
    yield axis
    plt.close(figure)


def test_each_point_has_its_text_which_is_text_whatever_it_says(axis):
    texts = ["first\nof two lines", HOSTILE, "ünï€"]
    add_hover_points(axis, [1, 2, 3], [1.0, 2.0, 3.0], texts, "#3b6fc8")
    svg = to_svg(axis.figure)
    assert titles(svg) == texts
    assert "<script>" not in svg


def test_a_plot_without_points_has_no_text(axis):
    axis.plot([1, 2], [3, 4])
    assert titles(to_svg(axis.figure)) == []


def test_a_plot_for_a_notebook_is_shown_once(axis):
    shown = to_html(axis.figure)
    assert "<svg" in shown.data
    assert not plt.fignum_exists(axis.figure.number)


def test_a_moment_of_the_equity_line_lists_its_trades():
    days = pd.to_datetime(["2005-04-11T20:00Z", "2005-04-12T20:00Z"])
    trades = pd.DataFrame(
        {
            "as_of": [days[0], days[0], days[1]],
            "ticker": ["AAPL", "IBM", "IBM"],
            "side": ["long", "short", "long"],
            "r": [2.0, -1.0, 0.5],
            "filled": True,
        }
    )
    figure = plot_equity([Evaluation("20050412-dpo", 2, 3, 3, trades)])
    assert titles(to_svg(figure)) == [
        "20050412-dpo, 11 Apr 2005: +1.0 R in all\nAAPL long +2.00 R\nIBM short -1.00 R",
        "20050412-dpo, 12 Apr 2005: +1.5 R in all\nIBM long +0.50 R",
    ]
    plt.close(figure)
