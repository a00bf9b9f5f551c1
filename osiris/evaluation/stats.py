"""Is a mean over sessions above zero, when neighbouring sessions share their trades and their market?

Prompts of one session share a market, and trades of neighbouring sessions overlap in time. The unit of chance is
therefore a block of days, `LENGTHS` times as long as a trade lasts or a decision persists, whichever is longer. Two
tests have to agree, and the larger p-value counts:

- Student's t on the means of the blocks (Ibragimov & Müller 2010, "t-statistic based correlation and heterogeneity
  robust inference"), which allows blocks of different variance;
- Student's t with the variance of the `blocks / SMOOTHER` slowest cosines of the series (Lazarus, Lewis, Stock & Watson
  2018, "HAR inference: recommendations for practice"), which allows neighbouring blocks to be correlated.

Each alone erred up to twice too often where decisions follow prices (docs/log.md). A p-value may be as small as the
evidence makes it. An example: 60 sessions whose trades last 7 days make 84 days, 6 blocks of 14 and 4 cosines.
docs/log.md has the error rates and the power that were simulated.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import nct
from scipy.stats import t as student

from osiris.core.arrays import FloatArray

MIN_BLOCKS, DURATIONS_PER_BLOCK, BLOCKS_PER_COSINE, TARGET_POWER = 4, 2.0, 1.5, 0.8
"""Fewest blocks that are tested, durations a block has, blocks a cosine, and the power that `detectable` is for."""


class BlockTest(NamedTuple):
    """A one-sided test of a mean: `p_value` for "above zero", from `blocks` blocks of `length` days.

    `parts` has the standard error and the degrees of freedom of each of the two tests. Without `MIN_BLOCKS` blocks
    there are none, and `p_value` is NaN.
    """

    mean: float
    p_value: float
    blocks: int
    length: float
    parts: tuple[tuple[float, int], ...] = ()

    @property
    def has_enough_blocks(self) -> bool:
        """Whether there are blocks enough to test anything."""
        return bool(self.parts)


def block_test(values: FloatArray, days: NDArray[np.int64], length: float) -> BlockTest:
    """Test whether the mean of `values`, shape (sessions,), is above zero.

    `days` are the sessions' dates as day numbers, ascending; a block has at least `length` days. Sessions that are
    farther apart than that are a block each.
    """
    mean = float(values.mean()) if len(values) else np.nan
    owner, blocks = _blocks(days, length)
    if blocks < MIN_BLOCKS:
        return BlockTest(mean, np.nan, blocks, length)
    means = np.bincount(owner, values, blocks) / (len(values) / blocks)
    parts = (
        (float(means.std(ddof=1) / np.sqrt(blocks)), blocks - 1),
        _cosine_error(values, max(int(blocks / BLOCKS_PER_COSINE), 2)),
    )
    return BlockTest(mean, max(_p_value(mean, *part) for part in parts), blocks, length, parts)


def detectable_effect(test: BlockTest, alpha: float, power: float = TARGET_POWER) -> float:
    """The true mean that `test` would have found with probability `power` at `level`; NaN where nothing is tested."""
    if not test.has_enough_blocks:
        return np.nan
    return max(error * _detectable_shift(freedom, alpha, power) for error, freedom in test.parts)


def overlap_days(durations: FloatArray) -> float:
    """How long trades of `durations` (days, shape (n,)) tie the sessions on which they began together.

    Sums of overlapping trades are correlated like those of trades that all last E[d^2] / E[d] days.
    """
    return float((durations**2).mean() / durations.mean()) if len(durations) and durations.mean() > 0 else 1.0


def persistence_days(decisions: FloatArray, days: NDArray[np.int64]) -> float:
    """For how many days a decision, shape (sessions,), stays much the same: its integrated autocorrelation time.

    Lags are added up while their correlation is beyond chance (2 / sqrt(n)), to a third of the sessions at most.
    """
    count, centred = len(decisions), decisions - decisions.mean()
    variance = (centred**2).mean()
    if count < 3 or variance <= 1e-12:
        return 1.0
    total = 1.0
    for lag in range(1, count // 3 + 1):
        correlation = (centred[lag:] * centred[:-lag]).mean() / variance
        if correlation <= 2 / np.sqrt(count):
            break
        total += 2 * correlation
    return 1.0 + (total - 1.0) * float(np.median(np.diff(days)))


def _blocks(days: NDArray[np.int64], length: float) -> tuple[NDArray[np.int64], int]:
    """The block of each session, shape (sessions,), and how many blocks there are."""
    if not len(days):
        return np.zeros(0, np.int64), 0
    gaps = np.minimum(np.diff(days), length)
    own = np.append(gaps, np.median(gaps) if len(gaps) else 1.0)
    blocks = max(int(own.sum() / length + 1e-9), 1)
    begun = np.concatenate([[0.0], own.cumsum()[:-1]])
    return np.minimum((begun / own.sum() * blocks).astype(np.int64), blocks - 1), blocks


def _cosine_error(values: FloatArray, cosines: int) -> tuple[float, int]:
    """The standard error of the mean of `values` by its slowest cosines, and its degrees of freedom."""
    count = len(values)
    waves = np.cos(np.pi * np.arange(1, cosines + 1)[:, None] * (np.arange(count) + 0.5) / count)
    variance = float(((np.sqrt(2 / count) * (waves @ (values - values.mean()))) ** 2).mean())
    return float(np.sqrt(variance / count)), cosines


def _p_value(mean: float, error: float, freedom: int) -> float:
    if error <= 1e-12 * abs(mean):
        return 0.0 if mean > 0 else 1.0
    return float(student.sf(mean / error, freedom))


def _detectable_shift(freedom: int, alpha: float, power: float) -> float:
    """How many standard errors above zero a mean must lie to be found with probability `power`."""
    critical = student.isf(alpha, freedom)
    return float(brentq(lambda shift: nct.sf(critical, freedom, shift) - power, 0, 20 + 3 * critical))
