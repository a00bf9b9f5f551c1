"""The statistics that Osiris decides with: one place, so that every decision uses the same tests and intervals.

Four kinds live here. Each function says its null hypothesis, its unit of chance and its source.

- `block_test` asks whether a mean over sessions is above zero; the promotion gate of adapters uses it.
- `sign_flip_test` asks the same of weekly sums of money; the patch loop uses it.
- `alpha_for_look` divides one error probability among repeated looks; `looks.py` keeps the ledger of the looks.
- `estimate_rate`, `estimate_mean` and `estimate_mean_difference` give a value with its confidence interval.

Trades are never independent draws: those of one session share a market, and open trades overlap in time. So the unit
of chance is always larger than a trade: a session, a block of days or a block of weeks. docs/log.md has the error
rates and the power that were simulated.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy  # its parts are loaded when first asked for: `scipy.stats` takes over a second
from numpy.typing import NDArray

from osiris.core.arrays import FloatArray

MIN_BLOCKS = 4
"""Fewest blocks of days that are tested: Student's t on fewer means has almost no power."""
DURATIONS_PER_BLOCK = 2.0
"""A block of days is this many times as long as a trade lasts, or a decision persists, whichever is longer."""
BLOCKS_PER_COSINE = 1.5
"""Blocks of days for each cosine of the second test: 6 blocks make 4 cosines."""
TARGET_POWER = 0.8
"""The power that `detectable_effect` is for: four times in five."""
PERMUTATIONS = 19_999
"""Random sign changes that are drawn when there are more than `MAX_EXACT_BLOCKS` blocks of weeks."""
MAX_EXACT_BLOCKS = 14
"""Up to this many blocks of weeks, all 2^n sign changes are tried: 2^14 = 16,384 are about as many as are drawn."""
DAYS_PER_WEEK = 7
CONFIDENCE_LEVEL = 0.95
BOOTSTRAP_RESAMPLES = 4_000
BOOTSTRAP_SEED = 0
"""Fixed, so that the same ideas always show the same interval."""
MIN_BOOTSTRAP_SESSIONS = 10
"""With fewer sessions there is no bootstrap interval: with 2 to 5, only 57 to 87 % of 95 % intervals held the truth."""


class BlockTest(NamedTuple):
    """A one-sided test of a mean: `p_value` is for "above zero", from `blocks` blocks of `length` days.

    `parts` has the standard error and the degrees of freedom of each of the two tests. With fewer than `MIN_BLOCKS`
    blocks `parts` is empty and `p_value` is NaN.
    """

    mean: float
    p_value: float
    blocks: int
    length: float
    parts: tuple[tuple[float, int], ...] = ()

    @property
    def has_enough_blocks(self) -> bool:
        """Whether there are enough blocks to test anything."""
        return bool(self.parts)


def block_test(values: FloatArray, days: NDArray[np.int64], length: float) -> BlockTest:
    """Test whether the mean of `values`, shape (sessions,), is above zero.

    `days` are the sessions' dates as day numbers, ascending, shape (sessions,). A block has at least `length` days.
    Sessions that are farther apart than that are a block each. Two tests have to agree: the larger p-value counts,
    because each alone erred up to twice too often where decisions follow prices (docs/log.md).

    An example: 60 sessions whose trades last 7 days make 84 days, which are 6 blocks of 14 days and 4 cosines.

    Null hypothesis: the mean is zero or less. Unit of chance: a block of days. Sources:

    - Student's t on the means of the blocks, which allows blocks of different variance: Ibragimov & Müller 2010,
      "t-statistic based correlation and heterogeneity robust inference".
    - Student's t with the variance of the slowest cosines of the series, which allows neighbouring blocks to be
      correlated: Lazarus, Lewis, Stock & Watson 2018, "HAR inference: recommendations for practice".
    """
    mean = float(values.mean()) if len(values) else np.nan
    owner, blocks = _assign_blocks(days, length)
    if blocks < MIN_BLOCKS:
        return BlockTest(mean, np.nan, blocks, length)
    # Sums are divided by the mean number of sessions a block, not by the block's own. So the block means average to
    # `mean` exactly, although blocks hold different numbers of sessions.
    means = np.bincount(owner, values, blocks) / (len(values) / blocks)
    parts = (
        (float(means.std(ddof=1) / np.sqrt(blocks)), blocks - 1),
        _cosine_error(values, max(int(blocks / BLOCKS_PER_COSINE), 2)),
    )
    return BlockTest(mean, max(_p_value(mean, *part) for part in parts), blocks, length, parts)


def detectable_effect(test: BlockTest, alpha: float, power: float = TARGET_POWER) -> float:
    """The true mean that `test` would have found with probability `power` at level `alpha`; NaN if it tests nothing.

    Null hypothesis and unit of chance are those of `block_test`. Source: the power of Student's t, by the noncentral t
    distribution (`scipy.stats.nct`). Both tests must find the mean, so the larger of the two answers counts.
    """
    if not test.has_enough_blocks:
        return np.nan
    return max(error * _detectable_shift(freedom, alpha, power) for error, freedom in test.parts)


def overlap_days(durations: FloatArray) -> float:
    """For how many days trades of `durations` (days, shape (n,)) tie together the sessions on which they began.

    Sums of overlapping trades are correlated like those of trades that all last E[d^2] / E[d] days. This mean is
    weighted by duration, because a longer trade overlaps with more sessions. It tests nothing: `block_test` takes it
    for the length of its unit of chance.
    """
    return float((durations**2).mean() / durations.mean()) if len(durations) and durations.mean() > 0 else 1.0


def persistence_days(decisions: FloatArray, days: NDArray[np.int64]) -> float:
    """For how many days a decision, shape (sessions,), stays much the same: its integrated autocorrelation time.

    Twice the correlation of each lag is added to 1, while it is beyond chance (2 / sqrt(n), Bartlett's bound for
    independent values), up to a third of the sessions. Longer lags have too few pairs. It tests nothing: `block_test`
    takes it for the length of its unit of chance.
    """
    count, centred = len(decisions), decisions - decisions.mean()
    variance = (centred**2).mean()
    if count < 3 or variance <= 1e-12:  # decisions that are all alike leave only rounding errors, far below 1e-12
        return 1.0
    total = 1.0
    for lag in range(1, count // 3 + 1):
        correlation = (centred[lag:] * centred[:-lag]).mean() / variance
        if correlation <= 2 / np.sqrt(count):
            break
        total += 2 * correlation
    return 1.0 + (total - 1.0) * float(np.median(np.diff(days)))


def _assign_blocks(days: NDArray[np.int64], length: float) -> tuple[NDArray[np.int64], int]:
    """The block of each session, shape (sessions,), and how many blocks there are."""
    if not len(days):
        return np.zeros(0, np.int64), 0
    # Each session owns the days up to the next one, but never more than a block: a gap of a year is no evidence.
    gaps = np.minimum(np.diff(days), length)
    owned = np.append(gaps, np.median(gaps) if len(gaps) else 1.0)
    # 1e-9 keeps a sum such as 27.999999999999996 days from losing the second of two blocks of 14 days.
    blocks = max(int(owned.sum() / length + 1e-9), 1)
    first_days = np.concatenate([[0.0], owned.cumsum()[:-1]])
    return np.minimum((first_days / owned.sum() * blocks).astype(np.int64), blocks - 1), blocks


def _cosine_error(values: FloatArray, cosines: int) -> tuple[float, int]:
    """The standard error of the mean of `values` by its slowest cosines, and its degrees of freedom."""
    count = len(values)
    waves = np.cos(np.pi * np.arange(1, cosines + 1)[:, None] * (np.arange(count) + 0.5) / count)  # (cosines, count)
    variance = float(((np.sqrt(2 / count) * (waves @ (values - values.mean()))) ** 2).mean())
    return float(np.sqrt(variance / count)), cosines


def _p_value(mean: float, error: float, freedom: int) -> float:
    if error <= 1e-12 * abs(mean):  # values that are all alike: what is left of their error is rounding
        return 0.0 if mean > 0 else 1.0
    return float(scipy.stats.t.sf(mean / error, freedom))


def _detectable_shift(freedom: int, alpha: float, power: float) -> float:
    """How many standard errors above zero a mean must lie to be found with probability `power`."""
    critical = scipy.stats.t.isf(alpha, freedom)
    return float(
        scipy.optimize.brentq(lambda shift: scipy.stats.nct.sf(critical, freedom, shift) - power, 0, 20 + 3 * critical)
    )


def block_length(days_open: FloatArray) -> int:
    """Weeks of a block: one more than twice what 90 % of trades were open for at most, `days_open` of shape (n,).

    Blocks only as long as the trades would still share a quarter of their variance with the next one, and the test
    would err too often. It tests nothing: `sign_flip_test` takes it for its unit of chance.
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
    """One-sided p-value of "the mean is not above zero", for `sums` of shape (blocks,); 1 where all sums are zero.

    It is at least 2^-n for n sums: fewer than `min_blocks(alpha)` blocks can show nothing. All 2^n ways to change
    signs are tried; beyond `MAX_EXACT_BLOCKS` blocks, `PERMUTATIONS` random ones. Changed signs leave the sum of
    squares alone. So the test equals one on the t-statistic, and fat tails do no harm.

    Null hypothesis: the sum of a block is as likely to be its opposite. Unit of chance: a block of weeks, twice as
    long as trades are open, because a trade that is open for weeks shares the market of later ones. Source: Canay,
    Romano and Shaikh 2017, "Randomization tests under an approximate symmetry assumption", Econometrica 85.
    """
    if not np.any(sums):
        return 1.0
    if len(sums) == 1:  # its two signs; scipy asks for two sums
        return 0.5 if sums[0] > 0 else 1.0
    test = scipy.stats.permutation_test(
        (sums,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=2**MAX_EXACT_BLOCKS if len(sums) <= MAX_EXACT_BLOCKS else PERMUTATIONS,
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def min_blocks(alpha: float) -> int:
    """How many blocks of weeks it takes for the least p-value of `sign_flip_test`, 2^-n, to lie below `alpha`."""
    return math.floor(-math.log2(alpha)) + 1


def format_p_value(p_value: float) -> str:
    """A p-value as people read it: never as zero."""
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.4f}"


def alpha_for_look(look: int, alpha: float) -> float:
    """The error probability of the `look`-th look (from 1) at the same held-out days: alpha / (look * (look + 1)).

    The first look gets a half, the second a sixth, the third a twelfth. Over all looks, however many, this sums to
    `alpha`. Without it, repeated looks would pass some adapter by chance in the end.

    Null hypothesis: no look finds a real improvement. Unit of chance: a look. Source: Bonferroni's inequality with
    unequal weights, so looks may depend on each other.
    """
    return alpha / (look * (look + 1))


class Estimate(NamedTuple):
    """A value with its confidence interval (NaN where there is too little), from `count` ideas of `sessions`."""

    value: float
    low: float
    high: float
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody calls on an estimate
    sessions: int


class SessionValues(NamedTuple):
    """A value for each idea, and the session of each; both of shape (ideas,)."""

    values: FloatArray
    session: NDArray


def estimate_rate(successes: FloatArray, session: NDArray) -> Estimate:
    """The share of 1 in `successes`, shape (n,) of 0 and 1, with Wilson's interval for clustered ideas.

    Ideas of one session are alike, so they count as fewer ideas: the effective sample size of a cluster sample.

    Null hypothesis: none, it is an interval for the true share. Unit of chance: a session. Sources: Wilson 1927;
    effective sample size as in Dean & Pagano 2015.
    """
    count = len(successes)
    sums, counts = _sum_by_session(successes, session)
    if not count:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    share, clusters = successes.mean(), len(counts)
    variance = share * (1 - share) / count
    effective: float
    if clusters > 1 and variance:
        clustered = np.sum((sums - share * counts) ** 2) / count**2 * clusters / (clusters - 1)
        effective = count / max(clustered / variance, 1)
    else:
        # All values alike, or a single session: nothing shows how alike the ideas of a session are. Assume fully alike.
        effective = clusters
    z = scipy.stats.norm.ppf((1 + CONFIDENCE_LEVEL) / 2)
    middle, scale = (share + z**2 / (2 * effective)), 1 + z**2 / effective
    half = z * np.sqrt(share * (1 - share) / effective + z**2 / (4 * effective**2))
    return Estimate(share, (middle - half) / scale, (middle + half) / scale, count, clusters)


def estimate_mean(values: FloatArray, session: NDArray) -> Estimate:
    """The mean of `values`, shape (n,), with a bootstrap interval if there are `MIN_BOOTSTRAP_SESSIONS`.

    Null hypothesis: none, it is an interval for the true mean. Unit of chance: a session. Sources: resampling of whole
    clusters as in Field & Welsh 2007, "Bootstrapping clustered data"; percentile interval as in Efron & Tibshirani
    1993, "An Introduction to the Bootstrap".
    """
    sums, counts = _sum_by_session(values, session)
    if not len(values):
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    low = high = np.nan
    if len(counts) >= MIN_BOOTSTRAP_SESSIONS:
        weights = _resample_weights(len(counts))
        low, high = _percentile_interval((weights @ sums) / (weights @ counts))
    return Estimate(values.mean(), low, high, len(values), len(counts))


def estimate_mean_difference(left: SessionValues, right: SessionValues) -> Estimate:
    """The mean of `left` minus that of `right`, with a bootstrap interval if both have `MIN_BOOTSTRAP_SESSIONS`.

    A resample draws the sessions of both sides together: ideas of one session share their market on either side.

    Null hypothesis: none, it is an interval for the true difference. Unit of chance: a session. Sources: those of
    `estimate_mean`.
    """
    count = len(left.values) + len(right.values)
    if not len(left.values) or not len(right.values):
        return Estimate(np.nan, np.nan, np.nan, count, 0)
    sessions = np.unique(np.concatenate([left.session, right.session]))
    (left_sums, left_counts), (right_sums, right_counts) = (_sum_by_session(*side, sessions) for side in (left, right))
    low = high = np.nan
    if min((left_counts > 0).sum(), (right_counts > 0).sum()) >= MIN_BOOTSTRAP_SESSIONS:
        weights = _resample_weights(len(sessions))
        with np.errstate(invalid="ignore"):  # a resample without any session of one side is 0 / 0; its NaN is left out
            left_means = (weights @ left_sums) / (weights @ left_counts)
            right_means = (weights @ right_sums) / (weights @ right_counts)
            low, high = _percentile_interval(left_means - right_means)
    return Estimate(left.values.mean() - right.values.mean(), low, high, count, len(sessions))


def _sum_by_session(
    values: FloatArray, session: NDArray, sessions: NDArray | None = None
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Sum and count of `values` in each of `sessions` (ascending; default: those that occur)."""
    known = np.unique(session) if sessions is None else sessions
    code = np.searchsorted(known, session)
    sums, counts = np.bincount(code, values, len(known)), np.bincount(code, minlength=len(known))
    # bincount is typed as integers of the platform: with weights it returns float64, without int64.
    return sums.astype(np.float64, copy=False), counts.astype(np.int64, copy=False)


def _resample_weights(sessions: int) -> NDArray[np.int64]:
    """How often each session is drawn in each resample, shape (BOOTSTRAP_RESAMPLES, sessions)."""
    return np.random.default_rng(BOOTSTRAP_SEED).multinomial(
        sessions, np.full(sessions, 1 / sessions), BOOTSTRAP_RESAMPLES
    )


def _percentile_interval(resampled: FloatArray) -> tuple[float, float]:
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return low, high
