"""The paired bootstrap: better beyond chance, or not, and what cannot be judged."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.errors import TooLittleData
from osiris.kernel.measure import compared
from osiris.kernel.sandbox import CandidateFailed
from tests.builders import MOMENT, make_settings


@pytest.fixture
def settings(tmp_path):
    return make_settings(tmp_path, "[rewards]\nmin_trades = 20\n")


def trades(r):
    """One trade a day."""
    at = pd.Series([MOMENT + timedelta(days=number) for number in range(len(r))])
    return pd.DataFrame({"at": at, "pnl": 0.01 * np.asarray(r), "novelty": 0.5, "latency_ms": 100.0})


def tossed(seed, mean=0.0, count=200):
    return np.random.default_rng(seed).choice((-1.0, 1.0), count) + mean


def test_what_is_better_every_week_is_better_beyond_chance(settings):
    measured = compared(trades(tossed(0, 0.4)), trades(tossed(0)), settings, 1)
    assert measured.better
    assert measured.low > 0
    assert measured.difference == pytest.approx(measured.candidate.total - measured.incumbent.total)
    assert measured.p_value < measured.level == settings.kernel.level / 4


def test_the_same_trades_are_not_better(settings):
    measured = compared(trades(tossed(0)), trades(tossed(0)), settings, 1)
    assert (measured.difference, measured.p_value, measured.better) == (0, 1, False)


def test_what_is_no_better_is_seldom_found_better(settings):
    found = [compared(trades(tossed(s)), trades(tossed(1000 + s)), settings, 1).better for s in range(40)]
    assert sum(found) <= 4


def test_each_further_patch_on_the_same_days_has_to_be_shown_better(settings):
    first, tenth = (compared(trades(tossed(0, 0.4)), trades(tossed(0)), settings, look) for look in (1, 10))
    assert tenth.level < first.level / 50
    assert tenth.p_value == first.p_value


def test_weeks_without_trades_of_one_of_them_count_for_both(settings):
    early, late = trades(tossed(0, 0.4, 100)), trades(tossed(0, 0.4, 100))
    late["at"] += timedelta(days=100)
    measured = compared(early, late, settings, 1)
    assert measured.weeks > 25
    assert not measured.better


def test_too_few_trades_of_the_live_policy_are_no_verdict_and_of_the_candidate_a_refusal(settings):
    few, many = trades(tossed(0, count=19)), trades(tossed(0))
    with pytest.raises(TooLittleData):
        compared(many, few, settings, 1)
    with pytest.raises(CandidateFailed, match="20 trades that it lets through; got 19"):
        compared(few, many, settings, 1)
