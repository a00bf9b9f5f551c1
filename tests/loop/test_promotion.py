"""Promotion: who is compared with whom, and how often the same held-out days were looked at."""

from datetime import timedelta

import pytest

from osiris.adapters import AdapterShelf
from osiris.loop.gate import level_of
from osiris.loop.promotion import looks_before
from tests.builders import MOMENT, adapter_card, make_settings, trained_adapter


def day(number):
    return MOMENT + timedelta(days=number)


@pytest.fixture
def shelf(tmp_path):
    """One adapter, judged on the days 0 to 10."""
    shelf = AdapterShelf(tmp_path / "adapters", lambda: "b" * 64)
    shelf.publish("20050301-dpo", trained_adapter(tmp_path / "a"), adapter_card())
    shelf.record_verdict("20050301-dpo", {"promoted": False, "held_out": [day(0).isoformat(), day(10).isoformat()]})
    return shelf


@pytest.mark.parametrize(
    ("first", "last", "looks"),
    [(0, 10, 1), (5, 15, 1), (6, 16, 0), (-20, 40, 1), (4, 4, 1), (10, 10, 1), (11, 11, 0), (10, 20, 0), (20, 30, 0)],
)
def test_a_look_at_much_the_same_days_counts(shelf, first, last, looks):
    assert looks_before(shelf, "20050302-dpo", day(first), day(last)) == looks


def test_the_same_challenger_again_is_the_same_look_and_a_persons_word_is_none(shelf):
    assert looks_before(shelf, "20050301-dpo", day(0), day(10)) == 0
    shelf.record_verdict("20050301-dpo", {"promoted": True, "by": "ann"})
    assert looks_before(shelf, "20050302-dpo", day(0), day(10)) == 0


def test_all_looks_together_err_no_more_often_than_the_level_says(tmp_path):
    level = make_settings(tmp_path).gate.level
    assert level_of(1, level) == level / 2
    assert sum(level_of(look, level) for look in range(1, 10_000)) == pytest.approx(level, rel=1e-3)
