"""Promotion: which challenger is on trial, and when it is looked at."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.adapters.registry import AdapterRegistry
from osiris.evaluation.heldout import Evaluation
from osiris.evaluation.looks import HeldOutSpan, LookLedger
from osiris.training.promotion import list_challengers, reach_verdict
from tests.builders import MOMENT, adapter_card, make_settings, trained_adapter

NIGHT = MOMENT + timedelta(days=400)


@pytest.fixture
def shelf(tmp_path):
    """Three adapters that nobody has decided on."""
    shelf = AdapterRegistry(tmp_path / "adapters", lambda: "b" * 64)
    for name in ("20050301-dpo", "20050302-dpo", "20050303-dpo"):
        shelf.publish(name, trained_adapter(tmp_path / name), adapter_card())
    return shelf


def evaluation(name, days, seed, gain=0.0):
    rng = np.random.default_rng(seed)
    at = pd.Timestamp(MOMENT) + pd.to_timedelta(np.arange(days), unit="D")
    trades = pd.DataFrame({"prompt": range(days), "as_of": at, "r": gain + rng.normal(0, 1, days), "habit": 0.0})
    trades = trades.assign(ticker="AAPL", side="long", days_held=3.0, filled=True, reward_to_risk=1.5)
    return Evaluation(name, days, days, days, trades)


def reach(tmp_path, days, key, gain=0.0, start=0):
    evaluations = [evaluation("20050301-dpo", days, 1, gain), evaluation("base", days, 2)]
    span = HeldOutSpan(MOMENT + timedelta(days=start), MOMENT + timedelta(days=start + days))
    ledger = LookLedger(tmp_path / "looks.jsonl")
    return reach_verdict(evaluations, ledger, key, span, make_settings(tmp_path), NIGHT)


def test_the_one_on_trial_goes_before_newer_ones_until_it_is_decided(shelf):
    assert list_challengers(shelf, None, NIGHT) == ["20050303-dpo", "20050302-dpo", "20050301-dpo"]
    shelf.record_verdict("20050301-dpo", {"promoted": False, "decided": False})
    assert list_challengers(shelf, None, NIGHT)[0] == "20050301-dpo"
    shelf.record_verdict("20050301-dpo", {"promoted": False, "decided": True})
    assert list_challengers(shelf, None, NIGHT) == ["20050303-dpo", "20050302-dpo"]


def test_whom_a_person_spoke_on_is_on_no_trial(shelf):
    shelf.record_verdict("20050303-dpo", {"promoted": False, "decided": False})
    shelf.demote("20050303-dpo", "ann", "nonsense", NIGHT)
    assert list_challengers(shelf, None, NIGHT) == ["20050302-dpo", "20050301-dpo"]


def test_too_little_evidence_uses_up_no_look(tmp_path):
    assert reach(tmp_path, 20, "early").look == 0
    assert reach(tmp_path, 60, "later").look == 1


def test_a_look_is_due_again_when_a_quarter_of_the_days_is_new(tmp_path):
    assert reach(tmp_path, 90, "first").look == 1
    waiting = reach(tmp_path, 110, "a day later")
    assert (waiting.look, waiting.promoted, waiting.decided) == (0, False, False)
    assert "the next look is due on" in waiting.reason
    assert reach(tmp_path, 121, "a month later").look == 2


def test_the_same_comparison_again_has_the_same_answer(tmp_path):
    first, again = (reach(tmp_path, 90, "the same", gain=0.9) for _ in range(2))
    assert first == again
    assert (first.promoted, first.look) == (True, 1)


def test_another_adapter_on_the_same_days_has_the_stricter_level(tmp_path):
    first = reach(tmp_path, 90, "one")
    assert reach(tmp_path, 121, "retrained, renamed, judged again").level == first.level / 3


def test_a_verdict_that_cannot_be_read_takes_its_adapter_off_the_trial_and_no_other(shelf):
    shelf.record_verdict("20050303-dpo", {"promoted": False, "decided": False})
    (shelf.folder / ".verdicts" / "20050303-dpo.json").write_text("{")
    assert list_challengers(shelf, None, NIGHT) == ["20050302-dpo", "20050301-dpo"]
