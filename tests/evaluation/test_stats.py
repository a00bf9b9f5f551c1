"""The test of a mean over sessions: how often it errs when sessions share trades, and what it can show."""

import numpy as np
import pytest

from osiris.evaluation.stats import MIN_BLOCKS, block_test, detectable_effect, overlap_days, persistence_days

DAYS = np.arange(120)


def overlapping(rng, length, mean=0.0):
    """Sessions whose trades last `length` sessions: moving sums of one noise."""
    noise = rng.standard_t(4, len(DAYS) + length)
    return mean + np.convolve(noise, np.ones(length), "valid")[: len(DAYS)] / np.sqrt(2 * length)


@pytest.mark.parametrize("length", [1, 5, 10])
def test_it_errs_no_more_often_than_its_level_when_trades_overlap(length):
    rng = np.random.default_rng(length)
    found = [block_test(overlapping(rng, length), DAYS, 2 * length).p_value for _ in range(1000)]
    assert np.mean(np.array(found) < 0.025) <= 0.035  # the level, and two standard errors


def test_sessions_that_are_taken_for_independent_would_err_far_more_often():
    rng = np.random.default_rng(0)
    found = [block_test(overlapping(rng, 10), DAYS, 1).p_value for _ in range(400)]
    assert np.mean(np.array(found) < 0.025) > 0.15


def test_what_it_says_it_would_show_it_shows_four_times_in_five():
    rng = np.random.default_rng(1)
    least = np.mean([detectable_effect(block_test(overlapping(rng, 5), DAYS, 10), 0.025) for _ in range(300)])
    found = [block_test(overlapping(rng, 5, least), DAYS, 10).p_value for _ in range(1000)]
    assert np.mean(np.array(found) < 0.025) == pytest.approx(0.8, abs=0.08)


@pytest.mark.parametrize(("value", "p"), [(1.0, 0.0), (-1.0, 1.0), (0.0, 1.0)])
def test_sessions_that_are_all_alike_leave_no_doubt(value, p):
    assert block_test(np.full(60, value), DAYS[:60], 10.0).p_value == p


def test_a_perfect_record_passes_any_level():
    perfect = np.random.default_rng(2).normal(4, 0.2, len(DAYS))
    assert block_test(perfect, DAYS, 10).p_value < 1e-8


def test_too_few_independent_days_test_nothing():
    test = block_test(np.ones(60), DAYS[:60], 60 / (MIN_BLOCKS - 1))
    assert (test.has_enough_blocks, test.blocks) == (False, MIN_BLOCKS - 1)
    assert np.isnan([test.p_value, detectable_effect(test, 0.05)]).all()
    assert block_test(np.zeros(0), DAYS[:0], 5).blocks == 0


def test_sessions_far_apart_are_a_block_each():
    assert block_test(np.ones(8), np.arange(8) * 50, 14).blocks == 8
    assert block_test(np.ones(14), np.arange(14), 14).blocks == 1


def test_blocks_count_days_not_sessions():
    weekdays = np.array([day for day in range(140) if day % 7 < 5])
    assert block_test(np.ones(len(weekdays)), weekdays, 14).blocks == pytest.approx(10, abs=1)


def test_long_trades_tie_more_days_together_than_the_mean_trade():
    assert overlap_days(np.full(10, 6.0)) == 6
    assert overlap_days(np.array([1.0, 19.0])) == pytest.approx(18.1)
    assert overlap_days(np.zeros(0)) == overlap_days(np.zeros(3)) == 1


def test_a_decision_that_lasts_for_weeks_is_seen_to_last():
    rng = np.random.default_rng(3)
    coins = rng.integers(0, 2, 240).astype(float)
    assert persistence_days(coins, np.arange(240)) < 3
    assert persistence_days(np.repeat(coins[:12], 20), np.arange(240)) > 10
    assert persistence_days(np.ones(240), np.arange(240)) == 1
