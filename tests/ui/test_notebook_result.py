"""What a page shows of its result, and what it hands on."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from osiris.drafting.draft_ideas import DraftingReport
from osiris.kernel.state import TurnReport
from osiris.labeling.settle import OutcomeReport
from osiris.ui.notebook_result import RESULT_MEDIA_TYPE, emit
from tests.builders import MOMENT


def displayed(result):
    InteractiveShell.instance()
    with capture_output() as captured:
        emit(result)
    (output,) = captured.outputs
    return output.data


def emitted(result):
    data = displayed(result)
    return data[RESULT_MEDIA_TYPE], data["text/plain"]


def test_numbers_are_shown_to_six_digits_and_handed_on_whole():
    values, text = emitted({"metrics": {"mean_r": 0.12345678901234567, "trades": 31}, "rate": 2 / 3, "run": None})
    assert text.splitlines() == ["metrics.mean_r: 0.123457", "metrics.trades: 31", "rate: 0.666667", "run: -"]
    assert values["metrics"]["mean_r"] == 0.12345678901234567
    assert values["rate"] == 2 / 3


def test_of_many_metrics_or_ids_their_number_is_shown():
    metrics, ids = {f"m{number}": 1 / 3 for number in range(9)}, ["f" * 64] * 9
    values, text = emitted({"metrics": metrics, "closed": ids})
    assert text.splitlines() == ["metrics: 9 items", "closed: 9 items"]
    assert (values["metrics"], values["closed"]) == (metrics, ids)


def test_a_name_that_a_page_was_given_gives_its_reader_no_orders():
    assert emitted({"note": "a\x1b[31mb"})[1] == "a\\x1b[31mb"


def test_the_headline_and_the_notes_come_first_and_are_text_and_not_markup():
    data = displayed({"rows": 8, "note": "<b>not shown</b> to be better", "notes": ["<script>hit()</script>"]})
    assert data["text/plain"].splitlines() == ["<b>not shown</b> to be better", "<script>hit()</script>", "rows: 8"]
    assert data["text/html"].index("&lt;b&gt;not shown") < data["text/html"].index("&lt;script&gt;hit()")
    assert not any(mark in data["text/html"] for mark in ("<b>", "<script>"))


@pytest.mark.parametrize(
    ("report", "headline"),
    [
        (DraftingReport("base"), "Nothing was drafted"),
        (DraftingReport("base", 4, 12, 1, 3, 11, mean_hermes=0.61), "11 ideas from 4 prompts: 8 wait for a reviewer"),
        (OutcomeReport(MOMENT, win=3, loss=2), "Of the accepted ideas 3 won, 2 lost"),
        (TurnReport("c0ffee"), "No patch was evaluated."),
        (TurnReport("c0ffee", "p1", "refused", "tests"), "Patch p1: refused. tests."),
    ],
)
def test_each_report_has_its_result_in_a_sentence(report, headline):
    assert displayed(report)["text/plain"].startswith(headline)
