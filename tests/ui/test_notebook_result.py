"""What a page shows of its result, and what it hands on."""

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from osiris.ui.notebook_result import RESULT_MEDIA_TYPE, emit


def emitted(result):
    InteractiveShell.instance()
    with capture_output() as captured:
        emit(result)
    (output,) = captured.outputs
    return output.data[RESULT_MEDIA_TYPE], output.data["text/plain"]


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
    assert emitted({"note": "a\x1b[31mb"})[1] == "note: a\\x1b[31mb"
