"""What habits alone would have made: earlier decisions on later prompts, and nothing else."""

import numpy as np
import pandas as pd
import pytest

from osiris.evaluation.side_bias import MAX_EARLIER_SESSIONS, replay_decisions

FIRST = pd.Timestamp("2005-03-01T21:00Z")


def ideas(sides, ticker="AAPL", price=100.0, unit=2.0):
    """One idea a day, its target 3 and its stop 2 ATR away."""
    sign = np.array([1 if side == "long" else -1 for side in sides])
    at = pd.DatetimeIndex([FIRST + pd.Timedelta(days=day) for day in range(len(sides))])
    prices = price + 10.0 * np.arange(len(sides))
    frame = pd.DataFrame({"ticker": ticker, "as_of": at, "since": at, "basis_at": at, "side": sides, "entry": prices})
    frame = frame.assign(target=prices + sign * 3 * unit, stop=prices - sign * 2 * unit, atr=unit)
    return frame.assign(prompt=[f"{ticker}{day}" for day in range(len(sides))])


def test_a_decision_is_moved_to_later_prompts_alone():
    moved = replay_decisions(ideas(["long", "short", "long"]))
    assert sorted(zip(moved["prompt"], moved["side"], strict=True)) == [
        ("AAPL1", "long"), ("AAPL2", "long"), ("AAPL2", "short"),
    ]  # fmt: skip


def test_its_levels_lie_round_the_prompt_that_it_is_moved_to():
    (row,) = replay_decisions(ideas(["short", "long"])).to_dict("records")
    assert (row["entry"], row["target"], row["stop"]) == (110, 104, 114)


def test_no_decision_crosses_to_another_ticker():
    moved = replay_decisions(pd.concat([ideas(["long", "long"]), ideas(["short", "short"], "IBM")]))
    assert list(moved.groupby("ticker")["side"].unique().map(list)) == [["long"], ["short"]]


def test_of_many_earlier_sessions_a_spread_is_tried():
    moved = replay_decisions(ideas(["long"] * 200))
    last = moved[moved["prompt"] == "AAPL199"]["from"]
    assert len(last) == MAX_EARLIER_SESSIONS
    assert (last.min(), last.max()) == (FIRST, FIRST + pd.Timedelta(days=198))


def test_levels_below_zero_are_left_out():
    moved = replay_decisions(ideas(["short", "short"], price=-6.0, unit=2.0).assign(entry=5.0))
    assert moved.empty


@pytest.mark.parametrize("count", [0, 1])
def test_a_first_session_has_no_earlier_decision(count):
    assert replay_decisions(ideas(["long"] * count) if count else ideas(["long"]).iloc[:0]).empty
