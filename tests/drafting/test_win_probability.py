"""What a score of Hermes is worth: forecasts from earlier outcomes alone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.drafting.win_probability import MIN_OUTCOMES, ScoredOutcomes, curve_score, load_scored_outcomes
from osiris.llm.scores import Score
from osiris.storage.advice import AdviceStore
from osiris.storage.journal import Journal
from tests.builders import idea

START = datetime(2005, 1, 3, 21, tzinfo=UTC)
LATER = START + timedelta(days=1000)


def outcomes(scores, wins):
    """Outcomes a day apart."""
    known = [pd.Timestamp(START + timedelta(days=day)).as_unit("ns").value for day in range(len(scores))]
    return ScoredOutcomes(np.asarray(scores, float), np.asarray(wins, float), np.array(known))


def test_a_score_is_worth_the_share_of_wins_of_ideas_like_it():
    scores = [2] * 200 + [8] * 200
    wins = [1] * 40 + [0] * 160 + [1] * 100 + [0] * 100
    low, high = outcomes(scores, wins).forecast(np.array([2.0, 8.0]), LATER)
    assert low == pytest.approx(0.2, abs=0.02)
    assert high == pytest.approx(0.5, abs=0.02)


def test_a_higher_score_is_never_worth_less():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 10, 300)
    forecasts = outcomes(scores, rng.random(300) < 0.4).forecast(np.linspace(0, 10, 50), LATER)
    assert (np.diff(forecasts) >= 0).all()


def test_a_few_outcomes_of_one_kind_make_no_certainty():
    scores, wins = [5] * 60 + [10] * 3, [1, 0] * 30 + [1] * 3
    assert outcomes(scores, wins).forecast(np.array([10.0]), LATER)[0] < 0.8


def test_too_few_outcomes_or_outcomes_of_one_kind_alone_give_no_forecast():
    wins = [1, 0] * MIN_OUTCOMES
    scores = [5] * len(wins)
    assert outcomes(scores[: MIN_OUTCOMES - 1], wins[: MIN_OUTCOMES - 1]).forecast(np.array([5.0]), LATER) is None
    assert outcomes(scores, [1] * len(wins)).forecast(np.array([5.0]), LATER) is None
    assert outcomes(scores[:MIN_OUTCOMES], wins[:MIN_OUTCOMES]).forecast(np.array([5.0]), LATER) is not None


def test_an_outcome_counts_from_the_moment_on_at_which_it_was_known():
    known = outcomes([5] * 100, [1, 0] * 25 + [0] * 50)
    early = known.forecast(np.array([5.0]), START + timedelta(days=49))
    late = known.forecast(np.array([5.0]), START + timedelta(days=99))
    assert early[0] == pytest.approx(0.5)
    assert late[0] == pytest.approx(0.25)


def test_forecasts_of_a_judge_that_knows_are_calibrated_on_outcomes_that_come_later():
    rng = np.random.default_rng(1)
    chances = rng.uniform(0.2, 0.7, 4000)
    scores = 10 * np.clip(chances + rng.normal(0, 0.05, 4000), 0, 1)
    wins = rng.random(4000) < chances
    forecasts = outcomes(scores[:2000], wins[:2000]).forecast(scores[2000:], START + timedelta(days=5000))
    for low, high in ((0.2, 0.4), (0.4, 0.55), (0.55, 0.8)):
        chosen = (forecasts >= low) & (forecasts < high)
        assert wins[2000:][chosen].mean() == pytest.approx(forecasts[chosen].mean(), abs=0.05)


def test_only_unambiguous_wins_and_losses_of_this_judge_count(tmp_path):
    store = AdviceStore(tmp_path / "advice.lancedb", Journal(tmp_path / "journal.jsonl"))
    ended = {"outcome": "win", "closed_at": START, "ambiguous": False, "judge": "starter", "hermes_expected": 6.5}
    others = [
        {"judge": "another"},
        {"ambiguous": True},
        {"outcome": "breakeven"},
        {"hermes_raw": None},
        {"closed_at": LATER + timedelta(seconds=1)},
        {"outcome": "loss", "hermes_expected": None},
    ]
    store.add([idea(number=0, **ended), *(idea(number=n, **(ended | more)) for n, more in enumerate(others, 1))])
    found = load_scored_outcomes(store, "starter", LATER)
    assert sorted(zip(found.scores, found.wins, strict=True)) == [(6.5, 1.0), (7.0, 0.0)]


@pytest.mark.parametrize(
    ("score", "number"),
    [(Score(7, 0.7, expected=6.2), 6.2), (Score(7, 0.7), 7), (Score(None, None), None), (None, None)],
)
def test_the_curve_is_read_at_the_expected_number_where_it_is_known(score, number):
    found = curve_score(score)
    assert np.isnan(found) if number is None else found == number
