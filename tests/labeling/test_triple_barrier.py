"""Which barrier is touched first. A long at 100 with target 106 and stop 97, or its mirror image, unless said."""

import numpy as np
import pytest

from osiris.labeling.triple_barrier import (
    CLOSED,
    EXPIRY,
    LOSS,
    NEVER,
    STILL_OPEN,
    STOP,
    TARGET,
    WIN,
    BarrierIdeas,
    Bars,
    find_first_touches,
)

DAY = 86_400_000_000_000
FILLED = (100, 101, 99, 100)
"""A bar that opens at the entry and touches nothing else."""


def bars(*ohlc, splits=None, first_day=1):
    values = np.array(ohlc, float)
    start = (np.arange(len(ohlc)) + first_day) * DAY
    cumulative = np.ones(len(ohlc)) if splits is None else np.cumprod(np.array(splits, float))
    return Bars(start, start + DAY // 4, *values.T.copy(), cumulative)


def resolve(*ohlc, side=1.0, entry=100.0, target=106.0, stop=97.0, since=0, expiry=NEVER, splits=None, basis=1.0):
    def column(value, kind=float):
        return np.array([value], kind)

    ideas = BarrierIdeas(
        column(side), column(entry), column(target), column(stop), column(basis), column(since, np.int64),
        column(expiry, np.int64),
    )  # fmt: skip
    touches = find_first_touches(bars(*ohlc, splits=splits), ideas)
    return {name: values[0] for name, values in touches._asdict().items()}


def mirrored(ohlc):
    return [(200 - o, 200 - low, 200 - high, 200 - c) for o, high, low, c in ohlc]


CASES = {
    "target after the fill": ([FILLED, (101, 107, 100, 106)], WIN, TARGET, 2.0, False),
    "stop after the fill": ([FILLED, (99, 100, 96, 98)], LOSS, STOP, -1.0, False),
    "both in one bar are a loss in doubt": ([FILLED, (101, 107, 96, 100)], LOSS, STOP, -1.0, True),
    "a gap through the stop closes at the open": ([FILLED, (94, 95, 93, 94)], LOSS, STOP, -2.0, False),
    "a gap through the target closes at the open": ([FILLED, (109, 110, 108, 109)], WIN, TARGET, 3.0, False),
    "a level touched to the cent counts": ([FILLED, (101, 106, 100, 105)], WIN, TARGET, 2.0, False),
    "down to the entry, on to the stop": ([(102, 103, 96, 98)], LOSS, STOP, -1.0, False),
    "up to the entry, on to the target": ([(99, 107, 98, 105)], WIN, TARGET, 2.0, False),
    "down to the entry, closed beyond the target": ([(102, 108, 99, 107)], WIN, TARGET, 2.0, False),
    "up to the entry, stop before or after": ([(99, 101, 96, 100)], LOSS, STOP, -1.0, True),
    "up to the entry, closed beyond the stop": ([(99, 101, 96, 96.5)], LOSS, STOP, -1.0, False),
    "at the entry from the open, both": ([(100, 107, 96, 100)], LOSS, STOP, -1.0, True),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("side", ["long", "short"])
def test_a_closed_idea(case, side):
    ohlc, state, reason, r, ambiguous = CASES[case]
    short = {"side": -1.0, "target": 94.0, "stop": 103.0}
    found = resolve(*ohlc) if side == "long" else resolve(*mirrored(ohlc), **short)
    assert (found["state"], found["reason"], found["ambiguous"]) == (state, reason, ambiguous)
    assert found["r"] == pytest.approx(r)
    assert found["bar"] == len(ohlc) - 1


def test_a_target_reached_before_the_entry_is_no_win_and_leaves_a_doubt():
    found = resolve((102, 107, 99, 101))
    assert (found["state"], found["filled"], found["ambiguous"]) == (STILL_OPEN, True, True)


def test_an_entry_that_never_trades_stays_open_even_if_the_target_is_reached():
    found = resolve((103, 107, 102, 106), (106, 108, 105, 107))
    assert (found["state"], found["filled"]) == (STILL_OPEN, False)


def test_a_gap_over_entry_and_stop_does_not_fill():
    assert not resolve((95, 96, 94, 95))["filled"]


def test_bars_that_began_before_the_idea_do_not_count():
    found = resolve(FILLED, (101, 107, 96, 100), FILLED, since=3 * DAY)
    assert (found["state"], found["filled"]) == (STILL_OPEN, True)
    assert not resolve(FILLED, (101, 107, 100.5, 106), since=DAY + 1)["filled"]


def test_a_split_after_entry_rescales_the_levels_once():
    ohlc = [FILLED, (50, 52, 49.5, 51), (51, 53.5, 51, 53)]
    found = resolve(*ohlc, splits=[1, 2, 1])
    assert (found["state"], found["bar"]) == (WIN, 2)
    assert found["price"] == pytest.approx(53.0)
    assert found["r"] == pytest.approx(2.0)
    assert resolve(*ohlc)["state"] == LOSS


def test_a_split_before_the_idea_changes_nothing():
    found = resolve(FILLED, (101, 107, 100, 106), splits=[2, 1], basis=2.0)
    assert (found["state"], found["price"]) == (WIN, 106.0)


def test_an_expired_trade_closes_at_the_close_of_the_bar_in_which_it_expires():
    found = resolve(FILLED, (100, 102, 99, 101.5), FILLED, expiry=2 * DAY + 1)
    assert (found["state"], found["reason"], found["bar"], found["at_open"]) == (CLOSED, EXPIRY, 1, False)
    assert found["r"] == pytest.approx(0.5)


def test_a_trade_that_expired_between_bars_closes_at_the_next_open():
    found = resolve(FILLED, (102, 107, 96, 100), expiry=DAY + DAY // 2)
    assert (found["state"], found["bar"], found["at_open"], found["price"]) == (CLOSED, 1, True, 102.0)


def test_a_target_in_the_bar_in_which_it_expires_may_have_come_too_late():
    found = resolve(FILLED, (101, 107, 100, 103), expiry=2 * DAY + 1)
    assert (found["state"], found["reason"], found["price"], found["ambiguous"]) == (CLOSED, EXPIRY, 103.0, True)
    assert found["ambiguous_bar"] == 1


def test_a_stop_in_the_bar_in_which_it_expires_is_a_loss_in_doubt():
    found = resolve(FILLED, (101, 102, 96, 103), expiry=2 * DAY + 1)
    assert (found["state"], found["ambiguous"]) == (LOSS, True)


def test_a_target_before_the_end_of_a_bar_with_which_it_expires_counts():
    assert resolve(FILLED, (101, 107, 100, 103), expiry=2 * DAY + DAY // 4)["state"] == WIN


def test_a_gap_through_the_target_before_it_expires_counts():
    assert resolve(FILLED, (108, 109, 107, 108), expiry=2 * DAY + 1)["state"] == WIN


def test_a_fill_in_the_bar_in_which_it_expires_is_no_trade():
    found = resolve((102, 103, 99, 101), expiry=DAY + 1)
    assert (found["state"], found["reason"], found["filled"], found["ambiguous"]) == (STILL_OPEN, EXPIRY, False, True)


def test_an_unfilled_idea_expires_without_a_trade():
    found = resolve((103, 104, 102, 103), FILLED, expiry=DAY + 1)
    assert (found["state"], found["reason"], found["filled"]) == (STILL_OPEN, EXPIRY, False)
    assert np.isnan(found["r"])


def test_no_bars_leave_it_open():
    assert resolve(FILLED, since=5 * DAY)["state"] == STILL_OPEN
