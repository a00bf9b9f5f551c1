"""Tests on weeks of money whose trades overlap: sums of blocks of weeks, and an exact test on the signs of them.

Trades of one week share their market, and a trade that is open for weeks shares it with those after it. So weeks are
summed to blocks twice as long as trades are open, and the blocks are the sample. Under "no better" the sum of a block
is as likely to be its opposite; all 2^n ways to turn signs (a random 19,999 of them beyond 14 blocks) give the p-value.
Turned signs leave the sum of squares alone, so the test is that of the t-statistic, and fat tails do no harm.
The least p-value of n blocks is 2^-n: fewer blocks than `least_blocks` can show nothing at a level.

Source: Canay, Romano and Shaikh, "Randomization tests under an approximate symmetry assumption",
Econometrica 85 (2017).
"""

import math

import numpy as np
from scipy.stats import permutation_test

from osiris.core.arrays import FloatArray

PERMUTATIONS, MAX_EXACT_BLOCKS = 19_999, 14
DAYS_PER_WEEK = 7


def block_length(days_open: FloatArray) -> int:
    """Weeks of a block: one more than twice what all but a tenth of trades were open for, `days_open` of shape (n,).

    Blocks as long as the trades would still share a quarter of their variance with the next one, and err too often.
    """
    most = float(np.quantile(days_open, 0.9)) if len(days_open) else 0.0
    return 1 + math.ceil(2 * most / DAYS_PER_WEEK)


def block_sums(weekly: FloatArray, length: int) -> FloatArray:
    """Sums of `length` weeks each, shape (len(weekly) // length,); weeks that fill no block lead the first one."""
    count = len(weekly) // length
    if count == 0:
        return np.array([], np.float64)
    starts = len(weekly) - length * np.arange(count, 0, -1)
    starts[0] = 0
    return np.add.reduceat(weekly.astype(np.float64), starts)


def sign_flip_test(sums: FloatArray, seed: int) -> float:
    """One-sided p-value of "the mean is not above zero", at least 2^-n for n sums; 1 where nothing differs."""
    if not np.any(sums):
        return 1.0
    found = permutation_test(
        (sums,), np.mean, permutation_type="samples", alternative="greater", vectorized=True,
        n_resamples=2**MAX_EXACT_BLOCKS if len(sums) <= MAX_EXACT_BLOCKS else PERMUTATIONS, rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(found.pvalue)


def min_blocks(alpha: float) -> int:
    """How many blocks it takes for the least p-value to lie below `level`."""
    return math.floor(-math.log2(alpha)) + 1


def format_p_value(p_value: float) -> str:
    """A p-value as people read it: never as zero."""
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.4f}"
