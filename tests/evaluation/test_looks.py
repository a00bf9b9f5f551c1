"""The ledger of looks: what counts as another look at the same days, and that nothing takes one back."""

from datetime import timedelta

import pytest

from osiris.evaluation.looks import HeldOutSpan, LookLedger
from osiris.evaluation.stats import alpha_for_look
from tests.builders import MOMENT, make_settings


def day(number):
    return MOMENT + timedelta(days=number)


def span(first, last):
    return HeldOutSpan(day(first), day(last))


@pytest.fixture
def ledger(tmp_path):
    """One look, at the days 0 to 10."""
    ledger = LookLedger(tmp_path / "looks.jsonl")
    assert ledger.record_look("one", span(0, 10), day(11)) == 1
    return ledger


@pytest.mark.parametrize(
    ("first", "last", "look"),
    [(0, 10, 2), (5, 15, 2), (6, 16, 1), (-20, 40, 2), (4, 4, 2), (10, 10, 2), (11, 11, 1), (10, 20, 1), (20, 30, 1)],
)
def test_a_look_at_much_the_same_days_counts(ledger, first, last, look):
    assert ledger.record_look("two", span(first, last), day(50)) == look


def test_the_very_same_comparison_is_the_same_look_also_after_others(ledger):
    assert [ledger.record_look(key, span(0, 10), day(12)) for key in ("two", "one", "three", "two")] == [2, 1, 3, 2]


def test_looks_outlive_the_process_and_whatever_becomes_of_the_adapters(ledger, tmp_path):
    again = LookLedger(tmp_path / "looks.jsonl")
    assert again.has_look("one")
    assert again.record_look("another adapter under the same name", span(0, 10), day(12)) == 2


def test_another_look_waits_until_a_quarter_of_the_days_is_new(ledger):
    assert ledger.due_at(span(20, 30)) is None
    due = ledger.due_at(span(0, 12))
    assert (due - day(10)) / (due - day(0)) == pytest.approx(0.25)


def test_all_looks_together_err_no_more_often_than_the_level_says(tmp_path):
    level = make_settings(tmp_path).gate.alpha
    assert alpha_for_look(1, level) == level / 2
    assert sum(alpha_for_look(look, level) for look in range(1, 10_000)) == pytest.approx(level, rel=1e-3)
