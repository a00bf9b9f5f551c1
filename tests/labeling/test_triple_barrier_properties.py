"""The kernel against a tick-by-tick reference, and changes of the bars that must not change an outcome.

Prices are whole numbers near the entry at 100, so that levels are often touched exactly.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osiris.labeling.triple_barrier import (
    CLOSED,
    EXPIRY,
    LOSS,
    NEVER,
    STILL_OPEN,
    WIN,
    BarrierIdeas,
    Bars,
    find_first_touches,
)
from tests.labeling import tick_reference as ticks

IDEAS_A_MARKET = 10
STEP, LENGTH = 100, 60
STATES = {WIN: ticks.WIN, LOSS: ticks.LOSS, CLOSED: ticks.CLOSED}


def search(examples):
    """Settings of a search that is the same on every machine."""
    return settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


bar = st.tuples(st.integers(90, 110), st.integers(0, 8), st.integers(0, 8), st.integers(90, 110))
market = st.lists(bar, min_size=1, max_size=8).map(
    lambda rows: [(o, max(o, c) + up, min(o, c) - down, c) for o, up, down, c in rows]
)
idea = st.tuples(
    st.sampled_from([1, -1]),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(0, 8 * STEP)),
)


def as_bars(rows, splits=None, start=None, length=LENGTH):
    values = np.array(rows, float)
    start = np.arange(len(rows)) * STEP if start is None else np.array(start)
    split = np.ones(len(rows)) if splits is None else np.cumprod(np.array(splits, float))
    return Bars(start.astype(np.int64), (start + length).astype(np.int64), *(values / split[:, None]).T.copy(), split)


def as_ideas(drawn, scale=1.0, shift=0):
    sign, far, near, since, expiry = (np.array(column, dtype=object) for column in zip(*drawn, strict=True))
    sign = sign.astype(float)
    return BarrierIdeas(
        sign,
        np.full(len(drawn), 100.0 * scale),
        (100 + sign * far.astype(float)) * scale,
        (100 - sign * near.astype(float)) * scale,
        np.ones(len(drawn)),
        since.astype(np.int64) * STEP + shift,
        np.array([NEVER if e is None else e + shift for e in expiry], np.int64),
    )


def test_the_kernel_agrees_with_the_reference_on_every_path(cases):
    seen = []

    @search(cases // IDEAS_A_MARKET)
    @given(market, st.lists(idea, min_size=IDEAS_A_MARKET, max_size=IDEAS_A_MARKET))
    def agree(rows, drawn):
        kernel = find_first_touches(as_bars(rows), as_ideas(drawn))
        bars = [ticks.Bar(n * STEP, n * STEP + LENGTH, *row) for n, row in enumerate(rows)]
        for number, (sign, far, near, since, expiry) in enumerate(drawn):
            asked = ticks.Idea(sign, 100, 100 + sign * far, 100 - sign * near, since * STEP, expiry)
            end, ambiguous = ticks.worst_ending(bars, asked)
            assert described(kernel, number) == (end.what, end.price, end.bar), (asked, bars)
            assert kernel.ambiguous[number] == ambiguous, (asked, bars)
            seen.append((end.what, ambiguous))

    agree()
    assert len(seen) >= cases
    kinds = {ticks.WIN, ticks.LOSS, ticks.CLOSED, ticks.OPEN, ticks.NO_TRADE}
    assert {what for what, _ in seen} == kinds
    assert {(ticks.LOSS, True), (ticks.WIN, True), (ticks.OPEN, True)} <= set(seen)


def described(kernel, number):
    """A touch in the words of the reference."""
    state = kernel.state[number]
    if state == STILL_OPEN:
        over = kernel.reason[number] == EXPIRY
        return (ticks.NO_TRADE if over else ticks.OPEN, None, int(kernel.bar[number]) if over else None)
    return STATES[state], pytest.approx(kernel.price[number]), int(kernel.bar[number])


def same(one, other, price=1.0, bar=lambda index: index):
    """Whether two answers are the same, prices a factor apart, bars renumbered."""
    assert (one.state == other.state).all()
    assert (one.ambiguous == other.ambiguous).all()
    np.testing.assert_allclose(one.r, other.r, rtol=1e-9)
    np.testing.assert_allclose(one.price * price, other.price, rtol=1e-9)
    assert [bar(index) for index in one.bar] == list(other.bar)


many = st.lists(idea, min_size=1, max_size=5)


@search(300)
@given(market, many, st.sampled_from([0.25, 0.5, 2.0, 4.0, 1024.0]))
def test_rescaling_all_prices_changes_no_outcome(rows, drawn, factor):
    scaled = [tuple(price * factor for price in row) for row in rows]
    same(
        find_first_touches(as_bars(rows), as_ideas(drawn)),
        find_first_touches(as_bars(scaled), as_ideas(drawn, factor)),
        factor,
    )


@search(300)
@given(market, many, st.integers(-(10**9), 10**9))
def test_shifting_the_time_changes_no_outcome(rows, drawn, shift):
    moved = as_bars(rows, start=np.arange(len(rows)) * STEP + shift)
    same(find_first_touches(as_bars(rows), as_ideas(drawn)), find_first_touches(moved, as_ideas(drawn, shift=shift)))


@search(300)
@given(market, market, many)
def test_bars_after_the_exit_change_nothing(rows, later, drawn):
    before, after = (
        find_first_touches(as_bars(rows), as_ideas(drawn)),
        find_first_touches(as_bars(rows + later), as_ideas(drawn)),
    )
    ended = before.bar >= 0
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[ended], other[ended])


@search(300)
@given(market, many, st.integers(0, 8))
def test_a_truncated_future_never_changes_an_earlier_decision(rows, drawn, known):
    whole, part = (
        find_first_touches(as_bars(rows), as_ideas(drawn)),
        find_first_touches(as_bars(rows[:known] or rows), as_ideas(drawn)),
    )
    decided = (whole.bar >= 0) & (whole.bar < len(rows[:known] or rows))
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[decided], other[decided])
    assert (part.state[~decided] == STILL_OPEN).all()


@search(300)
@given(market, many, st.lists(st.sampled_from([1.0, 1.0, 2.0, 0.5, 4.0]), min_size=8, max_size=8))
def test_splits_change_neither_outcome_nor_r(rows, drawn, ratios):
    plain = find_first_touches(as_bars(rows), as_ideas(drawn))
    split = find_first_touches(as_bars(rows, [1.0, *ratios[1 : len(rows)]]), as_ideas(drawn))
    assert (plain.state == split.state).all()
    assert (plain.bar == split.bar).all()
    np.testing.assert_allclose(plain.r, split.r, rtol=1e-9)


@search(500)
@given(market, many, st.lists(st.booleans(), min_size=8, max_size=8))
def test_finer_bars_only_ever_settle_what_was_in_doubt(rows, drawn, ups):
    """Each bar is cut in three without a gap inside: open to one extreme, to the other, to the close."""
    thirds, start = [], []
    for number, ((o, high, low, c), up) in enumerate(zip(rows, ups, strict=False)):
        first, second = (high, low) if up else (low, high)
        for part, (a, b) in enumerate(((o, first), (first, second), (second, c))):
            thirds.append((a, max(a, b), min(a, b), b))
            start.append(number * STEP + part * LENGTH // 3)
    ideas = as_ideas([(*known[:4], None) for known in drawn])
    coarse, fine = (
        find_first_touches(as_bars(rows), ideas),
        find_first_touches(as_bars(thirds, start=start, length=LENGTH // 3), ideas),
    )
    sure = ~coarse.ambiguous
    assert (coarse.state[sure] == fine.state[sure]).all()
    assert (coarse.bar[sure] == np.where(fine.bar >= 0, fine.bar // 3, -1)[sure]).all()
    np.testing.assert_allclose(coarse.r[sure], fine.r[sure])
    assert not ((coarse.state == WIN) & ~coarse.ambiguous & (fine.state == LOSS)).any()
