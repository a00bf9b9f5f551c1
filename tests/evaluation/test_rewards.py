"""The reward: four components on documented scales, and no number that was never there."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.config.sections import RewardsSettings
from osiris.core.errors import BadInput, TooLittleData
from osiris.evaluation.rewards import UNIT_RISK, compute_reward, read_live_trades, risk_scales
from tests.builders import (
    DECIDED_AT,
    MOMENT,
    decision,
    decision_changes,
    ideas,
    make_store,
    outcome_table,
    with_changes,
)

RULES = RewardsSettings(min_trades=10)


def trades(r=None, size=0.01, novelty=0.5, latency_ms=2000.0, count=40):
    """Trades of a year, two thirds of them won at 1 R unless `r` says otherwise."""
    r = np.where(np.arange(count) % 3 < 2, 1.0, -1.0) if r is None else np.broadcast_to(r, count)
    at = pd.Series([MOMENT + timedelta(days=9 * number) for number in range(count)])
    return pd.DataFrame({"at": at, "size": size, "pnl": r * size, "novelty": novelty, "latency_ms": latency_ms})


def test_profit_is_money_a_week_in_r_at_one_percent_risk():
    assert compute_reward(trades(), RULES).profit == pytest.approx(14 / 51)
    assert compute_reward(trades(size=0.02), RULES).profit == pytest.approx(28 / 51)


def test_weeks_that_offered_ideas_and_had_no_trade_count():
    weeks = pd.date_range("2005-02-21", periods=102, freq="7D")
    assert compute_reward(trades(), RULES, weeks).profit == pytest.approx(14 / 102)


class TestTheScalesOfACandidateAtEqualRisk:
    def test_one_that_risks_more_is_brought_down_to_the_incumbents_risk(self):
        assert risk_scales(trades(size=0.02), trades(size=0.01), RULES) == [0.5]

    def test_one_that_risks_less_has_to_be_better_as_it_is_and_at_equal_risk(self):
        assert risk_scales(trades(count=20), trades(count=40), RULES) == [1.0, pytest.approx(2.0)]

    def test_one_that_risks_the_same_is_taken_as_it_is(self):
        assert risk_scales(trades(), trades(), RULES) == [1.0]

    def test_where_the_incumbent_has_too_few_trades_the_mean_size_is_one_percent_at_most(self):
        assert risk_scales(trades(size=0.02), trades(count=9), RULES) == [pytest.approx(0.5)]
        assert risk_scales(trades(size=0.005), trades(count=9), RULES) == [1.0]


def test_risk_adjusted_is_the_return_against_the_largest_drawdown():
    returns = trades()["pnl"]
    equity = (1 + returns).cumprod()
    drawdown = max(UNIT_RISK, (1 - equity / equity.cummax().clip(lower=1)).max())
    ratio = (equity.iloc[-1] - 1) / drawdown
    assert compute_reward(trades(), RULES).risk_adjusted == pytest.approx(ratio / (1 + ratio))


def test_without_a_losing_week_the_drawdown_counts_as_one_unit_of_risk():
    ratio = (1.01**40 - 1) / UNIT_RISK
    assert compute_reward(trades(r=1.0), RULES).risk_adjusted == pytest.approx(ratio / (1 + ratio))


def test_novelty_and_latency_have_their_halves():
    reward = compute_reward(trades(novelty=1.0, latency_ms=10_000.0), RULES)
    assert (reward.novelty, reward.latency) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("component", "better"),
    [("profit", {"size": 0.02}), ("novelty", {"novelty": 0.9}), ("latency", {"latency_ms": 100.0})],
)
def test_every_component_moves_the_reward_in_its_direction(component, better):
    weight = {"profit": "w_profit", "novelty": "w_novelty", "latency": "w_latency"}[component]
    alone = RewardsSettings(
        min_trades=10, **{**dict.fromkeys(("w_profit", "w_risk", "w_novelty", "w_latency"), 0), weight: 1}
    )
    assert compute_reward(trades(**better), alone).total > compute_reward(trades(), alone).total
    assert compute_reward(trades(**better), RULES).total > compute_reward(trades(), RULES).total


def test_losses_in_a_row_are_worse_than_the_same_losses_apart():
    alone = RewardsSettings(min_trades=10, w_profit=0, w_risk=1, w_novelty=0, w_latency=0)
    apart, together = np.tile([1.0, 1.0, -1.0, 1.0], 10), np.repeat([1.0, -1.0, 1.0], [15, 10, 15])
    assert compute_reward(trades(r=apart), alone).total > compute_reward(trades(r=together), alone).total
    assert compute_reward(trades(r=apart), alone).profit == compute_reward(trades(r=together), alone).profit


def test_a_weight_of_zero_takes_its_component_out():
    none = RewardsSettings(min_trades=10, w_profit=0, w_risk=0, w_novelty=0, w_latency=0)
    assert compute_reward(trades(), none).total == 0


def test_losing_trades_have_a_negative_reward():
    assert compute_reward(trades(r=-1.0), RULES).total < 0


@pytest.mark.parametrize("count", [0, 9])
def test_too_few_trades_have_no_reward_yet(count):
    with pytest.raises(TooLittleData, match=f"10 settled trades; got {count}"):
        compute_reward(trades(count=40).head(count), RULES)


@pytest.mark.parametrize("column", ["size", "pnl", "novelty", "latency_ms"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_missing_is_an_error_and_never_zero(column, value):
    spoilt = trades()
    spoilt.loc[3, column] = value
    with pytest.raises(BadInput, match=f"{column} of every trade; got 1 trades"):
        compute_reward(spoilt, RULES)


def test_the_trades_of_a_patch_are_its_accepted_ideas_with_an_outcome(tmp_path):
    store = make_store(tmp_path)
    rows = ideas(4, patch_id="p1", size=0.02, status="pending") + ideas(1, patch_id=None, ticker="IBM")
    store.add(rows)
    for row in (*rows[:3], rows[4]):
        store.decide(decision(row, key=row["id"]), with_changes(decision_changes()))
    ending = {
        "exit_reason": "stop",
        "close_price": 97.0,
        "closed_at": DECIDED_AT,
        "ambiguous": False,
        "open_reason": None,
    }
    settled = [
        {"id": row["id"], "outcome": outcome, "shadow": shadow, "event_id": None, "r_multiple": r, **ending}
        for row, outcome, r, shadow in (
            (rows[0], "loss", -1.0, False), (rows[1], "win", 2.0, False), (rows[3], "win", 2.0, True),
            (rows[4], "win", 2.0, False),
        )
    ]  # fmt: skip
    store.settle(outcome_table(*settled))
    found = read_live_trades(store, "p1")
    assert sorted(found["pnl"]) == [-0.02, 0.04]
    assert read_live_trades(store, "p2").empty
