"""What a live patch does: money lost, a reward that never ages out, too little let through, what it refused."""

from datetime import timedelta

import pytest

from osiris.config.sections import RewardsSettings
from osiris.evaluation.rewards import read_live_trades
from osiris.kernel.apply import apply_patch
from osiris.kernel.history import summarize_rollbacks
from osiris.kernel.meta_loop import roll_back_manually, run_turn
from osiris.kernel.observe import recent_trades
from osiris.policy import ShippedPolicy
from osiris.serving.status import get_workspace_status
from tests.builders import MOMENT, decision, decision_changes, idea, make_workspace, outcome_table, with_changes
from tests.kernel.worker import add_judged_patch, patched_files

RULES = """
[prices]
source = "local"
[rewards]
min_trades = 20
[kernel]
drafter = "none"
observe_days = 30
"""


@pytest.fixture
def ws(tmp_path):
    """A workspace in which patch `p1` went live at `MOMENT`."""
    ws = make_workspace(tmp_path, RULES, MOMENT)
    live = ws.policy_repo.head()
    apply_patch(
        ws.patch_log, ws.policy_repo, add_judged_patch(ws.patch_log, "p1", MOMENT), patched_files("p1"), live, MOMENT
    )
    yield ws
    ws.close()


def traded(ws, outcomes, status="approved", every=1.0, size=0.01):
    """Ideas of `p1`, one each `every` days from its first day on, closed after a day with these outcomes in R."""
    rows = [
        idea(number=n, ticker="IBM" if status == "gated" else "AAPL", patch_id="p1", size=size,
             as_of=MOMENT + timedelta(days=every * (n + 1)), status="gated" if status == "gated" else "pending")
        for n in range(len(outcomes))
    ]  # fmt: skip
    ws.advice.add(rows)
    for row in rows if status == "approved" else []:
        ws.advice.decide(decision(row, key=row["id"]), with_changes(decision_changes()))
    if status == "expired":
        ws.advice.expire([row["id"] for row in rows], rows[-1]["as_of"])
    same = {"exit_reason": "stop", "close_price": 97.0, "ambiguous": False, "open_reason": None, "event_id": None}
    ends = [
        {"id": row["id"], "outcome": "win" if r > 0 else "loss", "shadow": status != "approved", "r_multiple": r,
         "closed_at": row["as_of"] + timedelta(days=1), **same}
        for row, r in zip(rows, outcomes, strict=True)
    ]  # fmt: skip
    ws.advice.settle(outcome_table(*ends))


def turn_after(ws, days):
    ws.clock.set(MOMENT + timedelta(days=days))
    return run_turn(ws.kernel())


class TestMoneyLost:
    def test_ends_a_patch_whatever_the_count(self, ws):
        traded(ws, [-2.0, -2.0, -2.0])
        assert turn_after(ws, 10).rolled_back == ["p1"]
        assert ws.patch_log.get("p1")["reason"] == "it lost 5.9% of equity in 3 trades, 5.0% at most"
        assert isinstance(ws.policy, ShippedPolicy)

    def test_does_not_age_out(self, ws):
        traded(ws, [-2.0, -2.0, -2.0])
        assert turn_after(ws, 400).rolled_back == ["p1"]

    def test_up_to_the_limit_is_borne_and_gains_count_against_it(self, ws):
        traded(ws, [-2.0, -2.0, 1.0, -2.0])
        assert turn_after(ws, 10).rolled_back == []


class TestTheReward:
    def test_of_few_trades_a_year_comes_all_the_same(self, ws):
        traded(ws, [-0.1] * 20, every=15)
        assert turn_after(ws, 250).rolled_back == []
        assert turn_after(ws, 310).rolled_back == ["p1"]
        assert "live reward -" in ws.patch_log.get("p1")["reason"]

    def test_is_that_of_the_window_where_it_has_more_trades(self, ws):
        traded(ws, [-0.1] * 20 + [0.5] * 40)
        trades = read_live_trades(ws.advice, "p1")
        rules = RewardsSettings(min_trades=20)
        assert len(recent_trades(trades, rules, MOMENT + timedelta(days=20))) == 41
        assert len(recent_trades(trades, rules, MOMENT + timedelta(days=59))) == 20


class TestAPatchThatLetsTooLittleThrough:
    def test_is_said_loudly_and_then_rolled_back(self, ws):
        traded(ws, [0.0] * 90, "gated", every=0.6)
        early, half, whole = turn_after(ws, 20), turn_after(ws, 35), turn_after(ws, 61)
        assert not any("TOO LITTLE" in note for note in early.notes)
        assert any("PATCH p1 LETS TOO LITTLE THROUGH: it let 0 of 58 ideas through" in note for note in half.notes)
        assert (half.rolled_back, whole.rolled_back) == ([], ["p1"])

    def test_stands_in_the_status(self, ws):
        traded(ws, [0.0] * 90, "gated", every=0.6)
        ws.clock.set(MOMENT + timedelta(days=35))
        (warning,) = get_workspace_status(ws)["policy_warnings"]
        assert warning.startswith("p1 LETS TOO LITTLE THROUGH")

    @pytest.mark.parametrize("passed", ["expired", "approved"])
    def test_is_not_one_that_reviewers_do_not_follow(self, ws, passed):
        traded(ws, [0.1] * 4, passed, every=12)
        traded(ws, [-0.1] * 60, "gated")
        assert turn_after(ws, 61).rolled_back == []

    def test_is_not_one_that_was_offered_little(self, ws):
        traded(ws, [0.0] * 10, "gated")
        assert turn_after(ws, 61).rolled_back == []

    def test_is_one_whose_sizes_are_zero(self, ws):
        traded(ws, [0.0] * 90, "expired", every=0.6, size=0.0)
        assert turn_after(ws, 61).rolled_back == ["p1"]


class TestWhatItRefused:
    def test_would_have_paid_more_than_what_it_let_through(self, ws):
        traded(ws, [0.1, -0.1] * 55, "expired")
        traded(ws, [0.9, -0.3] * 55, "gated")
        assert turn_after(ws, 60).rolled_back == []  # too few blocks of weeks for the level
        assert turn_after(ws, 111).rolled_back == ["p1"]
        assert "what it refused would have paid more" in ws.patch_log.get("p1")["reason"]

    def test_lost_and_the_patch_stays(self, ws):
        traded(ws, [0.3, -0.1] * 55, "expired")
        traded(ws, [0.1, -0.3] * 55, "gated")
        assert turn_after(ws, 111).rolled_back == []

    def test_is_looked_at_once_a_block_of_weeks(self, ws):
        traded(ws, [0.3, -0.1] * 60, "expired")
        traded(ws, [0.1, -0.3] * 60, "gated")
        for days in (111, 111.1, 112, 125.9):
            turn_after(ws, days)
        assert [facts["look"] for facts in ws.patch_log.observations("p1")] == [1, 2]


def test_a_clock_that_was_set_back_makes_no_life_shorter_than_none(ws):
    roll_back_manually(ws.kernel(MOMENT - timedelta(days=30)), "p1", "by hand")
    assert summarize_rollbacks(ws.patch_log)["mean hours live"] == 0
