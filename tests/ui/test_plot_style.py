"""One style for all plots, which leaves the user's own settings alone."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_rgb

from osiris.ui.plot_style import INK, in_plot_style


@in_plot_style
def drawn():
    figure, axis = plt.subplots()
    axis.set(xlabel="R of a trade", title="title")
    return figure


def luminance(colour):
    """The relative luminance of WCAG 2."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_the_ink_can_be_read_on_white_and_on_dark(background):
    low, high = sorted((luminance(INK), luminance(background)))
    assert (high + 0.05) / (low + 0.05) > 4.3


def test_a_plot_has_no_background_and_the_ink_everywhere():
    figure = drawn()
    (axis,) = figure.axes
    assert [figure.get_facecolor()[3], axis.get_facecolor()[3]] == [0, 0]
    texts = [axis.title, axis.xaxis.label, *axis.get_xticklabels()]
    assert {to_rgb(text.get_color()) for text in texts} == {to_rgb(INK)}
    plt.close(figure)


def test_the_settings_of_the_user_stay_as_they_are():
    before = dict(plt.rcParams)
    plt.close(drawn())
    assert dict(plt.rcParams) == before


def test_what_ipython_sets_with_the_first_figure_is_kept():
    @in_plot_style
    def first():
        plt.rcParams["interactive"] = True
        return plt.figure()

    before = plt.rcParams["interactive"]
    plt.close(first())
    found = plt.rcParams["interactive"]
    plt.rcParams["interactive"] = before
    assert found is True, "else only the first plot of a notebook is shown"


def test_a_plot_that_fails_leaves_no_style_behind():
    @in_plot_style
    def fails():
        raise ZeroDivisionError

    before = plt.rcParams["axes.grid"]
    with pytest.raises(ZeroDivisionError):
        fails()
    assert plt.rcParams["axes.grid"] == before
