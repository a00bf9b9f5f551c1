"""What a review is worth: right on hand-made histories, honest about what is too little, intervals that cover."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.core.commands import Feedback, UndoRequest
from osiris.evaluation.review_value import estimate_difference, estimate_review_value
from osiris.evaluation.stats import estimate_mean, estimate_rate
from osiris.market.sample import load_sample
from osiris.review.decide import decide, undo
from tests.builders import MOMENT, idea, make_workspace, outcome_table


@pytest.fixture
def workspace(tmp_path):
    workspace = make_workspace(tmp_path, "[review]\ndeadline_hours = 9999\n", as_of=MOMENT + timedelta(days=40))
    load_sample(workspace.bars, ["AAPL"])
    return workspace


def history(workspace, kind, rs, **content):
    """Decided ideas, each of a session of its own, that ended with these R."""
    for number, r in enumerate(rs):
        row = idea(number=number, as_of=MOMENT - timedelta(days=number), adapter=kind)
        row["id"] = f"{kind}-{number}"
        workspace.advice.add([row])
        asked = Feedback(
            transaction_id=row["id"],
            feedback_type=kind,
            feedback_content={"reviewer": "ann", **content},
            timestamp=MOMENT,
        )
        decide(workspace.advice, asked, row["id"], workspace.settings, row["as_of"] + timedelta(hours=1))
        outcome = "win" if r > 0 else "loss"
        end = {"closed_at": MOMENT, "ambiguous": False, "exit_reason": "target" if r > 0 else "stop"}
        workspace.advice.settle(outcome_table({"id": row["id"], "outcome": outcome, "r_multiple": r, **end}))


def valued(workspace):
    return estimate_review_value(workspace.advice, workspace.local_prices, workspace.settings, workspace.now)


def test_what_was_accepted_stands_against_what_was_rejected(workspace):
    history(workspace, "approval", [2.0, 2.0, -1.0, 2.0])
    history(workspace, "rejection", [-1.0, 2.0, -1.0, -1.0, -1.0, -1.0])
    found = valued(workspace)
    assert found.approval_rate[:1] + found.approval_rate[3:] == (0.4, 10, 6)
    assert found.win_rate["approved"].value == 0.75
    assert found.win_rate["rejected"].value == pytest.approx(1 / 6)
    assert (found.expectancy["approved"].value, found.expectancy["rejected"].value) == (1.25, -0.5)
    assert found.approved_over_rejected.value == 1.75
    assert np.isnan(found.approved_over_rejected[1:3]).all()  # too few sessions to claim anything
    table = found.to_frame()
    assert table.loc["mean R, approved minus rejected", "ideas"] == 10
    assert list(table.columns) == ["value", "low", "high", "ideas", "sessions"]


def test_an_edit_stands_against_the_same_idea_as_it_was_drafted(workspace):
    """AAPL was at 88.99 (before its split): a stop at 86 was hit on the way to 95, one at 84 was not."""
    row = idea(price=88.99, atr=2.0, entry=88.99, target=91.5, stop=88.0, basis_at=MOMENT)
    workspace.advice.add([row])
    asked = Feedback(
        transaction_id=row["id"], feedback_type="human_edit", feedback_content={"stop": 80.0}, timestamp=MOMENT
    )
    decide(workspace.advice, asked, "key", workspace.settings, MOMENT + timedelta(hours=1))
    end = {"closed_at": MOMENT + timedelta(days=3), "ambiguous": False, "exit_reason": "target"}
    workspace.advice.settle(outcome_table({"id": row["id"], "outcome": "win", "r_multiple": 2.51 / 8.99, **end}))
    found = valued(workspace)
    drafted = found.expectancy["edited, as drafted"]
    assert drafted.count == 1
    assert drafted.value == pytest.approx(-1.0, abs=0.35)
    assert found.edited_over_original.value == pytest.approx(2.51 / 8.99 - drafted.value)
    assert np.isnan(found.edited_over_original.low)
    assert found.edited_over_original.count == 1


def test_what_was_taken_back_open_or_in_doubt_is_left_out(workspace):
    history(workspace, "approval", [1.0, 1.0])
    rows = [idea(number=n) for n in (100, 101, 102)]
    workspace.advice.add(rows)
    later = MOMENT + timedelta(hours=1)
    for row in rows:
        asked = Feedback(transaction_id=row["id"], feedback_type="approval", feedback_content={}, timestamp=MOMENT)
        decide(workspace.advice, asked, row["id"], workspace.settings, later)
    undo(workspace.advice, rows[0]["id"], UndoRequest(status="approved", status_at=later), "undo", later)
    workspace.advice.settle(
        outcome_table({"id": rows[1]["id"], "outcome": "open", "r_multiple": None, "ambiguous": None})
    )
    workspace.advice.settle(
        outcome_table({"id": rows[2]["id"], "outcome": "loss", "r_multiple": -1.0, "ambiguous": True})
    )
    found = valued(workspace)
    assert found.expectancy["approved"][:1] + found.expectancy["approved"][3:4] == (1.0, 2)
    assert found.approval_rate.count == 4


def test_nothing_is_worth_nothing_known(workspace):
    table = valued(workspace).to_frame()
    assert table[["value", "low", "high"]].isna().all(axis=None)
    assert (table["ideas"] == 0).all()


def test_one_session_has_no_interval_of_a_mean_and_a_wide_one_of_a_rate():
    same = np.zeros(50)
    assert np.isnan(estimate_mean(np.ones(50), same)[1:3]).all()
    low, high = estimate_rate(np.ones(50), same)[1:3]
    assert low < 0.21
    assert high == pytest.approx(1.0)


def test_a_difference_has_no_interval_until_both_sides_have_sessions_enough():
    day = pd.date_range("2005-01-03", periods=20)
    many = pd.DataFrame({"session": day, "r_multiple": np.resize([2.0, -1.0], 20)})
    few = many.tail(9)
    assert np.isnan(estimate_difference(many, few)[1:3]).all()
    assert np.isfinite(estimate_difference(many, many.tail(10))[1:3]).all()


def test_ideas_of_one_day_are_of_one_session(workspace):
    for number in range(30):
        row = idea(number=number, as_of=MOMENT - timedelta(minutes=number))
        workspace.advice.add([row])
        asked = Feedback(transaction_id=row["id"], feedback_type="approval", feedback_content={}, timestamp=MOMENT)
        decide(workspace.advice, asked, row["id"], workspace.settings, MOMENT + timedelta(hours=1))
    assert valued(workspace).approval_rate[3:] == (30, 1)


@pytest.mark.parametrize(("ticker", "sessions"), [("AAPL", 2), ("7203.T", 1)])
def test_a_session_is_a_day_where_the_ticker_trades(tmp_path, ticker, sessions):
    far = make_workspace(tmp_path, '[prices.calendars]\n"7203.T" = "XTKS"\n', as_of=MOMENT + timedelta(days=9))
    for hour in (4, 6):  # midnight of New York lies between them
        row = idea(ticker=ticker, as_of=MOMENT.replace(hour=hour))
        far.advice.add([row])
        asked = Feedback(transaction_id=row["id"], feedback_type="approval", feedback_content={}, timestamp=MOMENT)
        decide(far.advice, asked, row["id"], far.settings, row["as_of"] + timedelta(hours=1))
    assert valued(far).approval_rate.sessions == sessions


def test_nothing_later_than_the_moment_is_counted(workspace):
    history(workspace, "approval", [1.0, 1.0])
    before = estimate_review_value(
        workspace.advice, workspace.local_prices, workspace.settings, MOMENT - timedelta(minutes=1)
    )
    assert (before.approval_rate.count, before.expectancy["approved"].count) == (1, 0)
    assert (
        estimate_review_value(
            workspace.advice, workspace.local_prices, workspace.settings, MOMENT - timedelta(9)
        ).approval_rate.count
        == 0
    )


def test_wilsons_interval_is_that_of_the_textbook_when_sessions_hold_one_idea_each():
    happened = np.repeat([1.0, 0.0], [9, 1])
    low, high = estimate_rate(happened, np.arange(10))[1:3]
    assert (low, high) == pytest.approx((0.596, 0.982), abs=0.025)  # 9 of 10; the effective size is within 10/9 of 10


@pytest.mark.parametrize("within", [0.0, 0.6], ids=["independent ideas", "ideas of a session alike"])
def test_intervals_cover_what_they_claim(within, simulations):
    rng = np.random.default_rng(3)
    sessions, each, runs = 60, 5, simulations
    number = np.repeat(np.arange(sessions), each)
    covered = np.zeros(3)
    for _ in range(runs):
        common = rng.random(sessions)[number]
        alike = rng.random(sessions * each) < within
        happened = (np.where(alike, common, rng.random(sessions * each)) < 0.4).astype(float)
        r = np.where(happened > 0, 2.0, -1.0)
        frame = pd.DataFrame({"session": number, "r_multiple": r})
        found = estimate_rate(happened, number), estimate_mean(r, number), estimate_difference(frame[::2], frame[1::2])
        covered += [one.low <= true <= one.high for one, true in zip(found, (0.4, 0.2, 0.0), strict=True)]
    assert (covered / runs > 0.90).all(), covered / runs
    assert (covered / runs < 0.99).all(), covered / runs
