"""Blocks of weeks and the exact test on their signs: by hand, and by its rate of error under what users have."""

import numpy as np
import pytest

from osiris.evaluation.stats import block_length, block_sums, format_p_value, min_blocks, sign_flip_test


@pytest.mark.parametrize(
    ("sums", "p"),
    [([1, 1, 1], 1 / 8), ([2, 1, -1], 3 / 8), ([1, 0, 0], 4 / 8), ([-1, -1], 1.0), ([3], 1 / 2), ([-3], 1.0)],
)
def test_the_p_value_is_the_share_of_the_signs_that_give_as_much(sums, p):
    assert sign_flip_test(np.array(sums, float), 0) == p


def test_where_nothing_differs_there_is_nothing_to_find():
    assert sign_flip_test(np.zeros(20), 0) == 1.0


def test_blocks_end_with_the_last_week_and_the_first_has_what_is_left_over():
    assert block_sums(np.arange(8.0), 3).tolist() == [0 + 1 + 2 + 3 + 4, 5 + 6 + 7]
    assert block_sums(np.arange(2.0), 3).tolist() == []


@pytest.mark.parametrize(
    ("days", "weeks"), [([], 1), ([1.0] * 20, 2), ([7.0], 3), ([8.0], 4), ([1.0] * 95 + [90.0] * 5, 2)]
)
def test_a_block_is_a_week_longer_than_twice_what_all_but_a_tenth_of_the_trades_are_open(days, weeks):
    assert block_length(np.array(days)) == weeks


@pytest.mark.parametrize(("level", "blocks"), [(0.05, 5), (0.025, 6), (0.0125, 7), (2**-7, 8)])
def test_so_many_blocks_are_needed_for_the_level(level, blocks):
    assert min_blocks(level) == blocks
    assert 2.0**-blocks < level <= 2.0 ** (1 - blocks)


@pytest.mark.parametrize(("p", "words"), [(1e-5, "p < 0.0001"), (0.0, "p < 0.0001"), (0.0123, "p = 0.0123")])
def test_a_p_value_is_never_written_as_zero(p, words):
    assert format_p_value(p) == words


@pytest.mark.parametrize("weeks", [13, 26, 52])
def test_it_errs_no_more_often_than_its_level_where_trades_overlap_and_tails_are_fat(weeks):
    """Long trades a day of one market, open for a week, of returns with the tails of Student's t at 3 degrees."""
    rng, level, found, times, days = np.random.default_rng(weeks), 0.1, 0, 500, 5
    for _ in range(times):
        returns = rng.standard_t(3, weeks * 5 + days)
        trades = np.convolve(returns, np.ones(days), "valid")[: weeks * 5]
        found += (
            sign_flip_test(block_sums(trades.reshape(weeks, 5).sum(axis=1), block_length(np.full(9, 7.0)))[-10:], 0)
            <= level
        )
    assert found / times <= level + 3 * np.sqrt(level * (1 - level) / times)
