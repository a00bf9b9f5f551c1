"""The outcome logger on a workspace with hand-made bars: what is looked at, what it becomes, what is published."""

from datetime import timedelta

import pandas as pd
import pytest

from osiris.calendars import daily_frame
from osiris.loop.outcomes import settle
from osiris.store.events import OUTCOME, Events, heard
from tests.builders import MOMENT, idea, make_workspace

LOCAL = '[prices]\nsource = "local"\n'
QUIET = (100, 101, 99, 100)
TARGET = (101, 107, 100.5, 106)
STOP = (99, 100, 96, 97)
SESSIONS = pd.bdate_range("2005-02-22", "2005-03-18")
ACCEPTED = MOMENT + timedelta(hours=1)


def bars_of(after, splits=None):
    """Daily bars: quiet ones up to Friday 2005-02-25, then those of `after` from Monday the 28th on."""
    before = int((SESSIONS <= "2005-02-25").sum())
    rows = [QUIET] * before + list(after)
    dates = SESSIONS[: len(rows)]
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close"], dtype=float)
    ratio = [1.0] * before + list(splits or [1.0] * len(after))
    return daily_frame(dates, frame.assign(volume=1e6, split=ratio), "XNYS", "test")


@pytest.fixture
def desk(tmp_path):
    opened = []

    def make(rows, after, toml="", splits=None):
        workspace = make_workspace(tmp_path, LOCAL + toml)
        workspace.bars.merge("AAPL", bars_of(after, splits))
        workspace.advice.add(rows)
        opened.append(workspace)
        return workspace

    yield make
    for workspace in opened:
        workspace.close()


def approved(**changes):
    return idea(status="approved", status_at=ACCEPTED, reviewer="ann", shadow=False, **changes)


def run(workspace, days):
    return settle(
        workspace.advice, workspace.prices, workspace.events, workspace.settings, MOMENT + timedelta(days=days)
    )


def test_a_winner_gets_its_row_and_one_event(desk):
    workspace = desk([approved()], [QUIET, TARGET])
    subscription = workspace.events.subscribe(OUTCOME)
    report = run(workspace, 5)
    assert (report.win, report.written, report.published) == (1, 1, 1)
    row = workspace.advice.rows()[0]
    assert (row["outcome"], row["exit_reason"], row["close_price"], row["r_multiple"]) == ("win", "target", 106.0, 2.0)
    assert row["closed_at"].isoformat() == "2005-03-01T21:00:00+00:00"
    assert row["published_at"] is not None
    (event,) = heard(subscription)
    assert (event["event_id"], event["outcome"], event["r_multiple"]) == (row["event_id"], "win", 2.0)
    subscription.close()


def test_a_second_run_changes_nothing(desk):
    workspace = desk([approved(), approved(number=1)], [QUIET, STOP])
    run(workspace, 5)
    before = workspace.advice.rows()
    again = run(workspace, 5)
    assert (again.looked_at, again.written, again.published) == (0, 0, 0)
    assert workspace.advice.rows() == before


def test_an_idea_younger_than_a_day_is_not_looked_at(desk):
    workspace = desk([approved()], [QUIET, TARGET])
    assert run(workspace, 1).looked_at == 0
    assert run(workspace, 1.1).looked_at == 1


def test_the_future_is_not_seen(desk):
    workspace = desk([approved()], [QUIET, TARGET])
    assert run(workspace, 3.5).open == 1
    assert run(workspace, 5).win == 1


def test_what_stays_open_says_why_and_is_looked_at_again(desk):
    workspace = desk([approved()], [QUIET, QUIET, STOP])
    assert run(workspace, 4.5).reasons == {"neither level reached": 1}
    assert workspace.advice.rows()[0]["outcome"] == "open"
    assert run(workspace, 8).loss == 1


def test_a_pending_idea_expires_at_the_deadline_and_is_followed_as_a_shadow(desk):
    workspace = desk([idea()], [QUIET, TARGET])
    report = run(workspace, 5)
    row = workspace.advice.rows()[0]
    assert (report.expired, report.shadow, report.win, report.published) == (1, 1, 0, 0)
    assert (row["status"], row["outcome"], row["shadow"], row["event_id"]) == ("expired", "win", True, None)


def test_a_split_inside_the_trade_rescales_it_once(desk):
    halved = [tuple(price / 2 for price in bar) for bar in (QUIET, TARGET)]
    workspace = desk([approved()], halved, splits=[2.0, 1.0])
    run(workspace, 5)
    row = workspace.advice.rows()[0]
    assert (row["outcome"], row["close_price"], row["r_multiple"]) == ("win", 53.0, pytest.approx(2.0))


def test_a_jump_that_looks_like_an_unrecorded_split_leaves_it_open(desk):
    halved = [tuple(price / 2 for price in bar) for bar in (QUIET, TARGET)]
    workspace = desk([approved()], halved)
    assert list(run(workspace, 5).reasons) == ["a price jump on 2005-02-28 looks like an unrecorded split"]


def test_no_prices_leave_it_open(desk):
    workspace = desk([approved(ticker="ZZZZ")], [QUIET])
    report = run(workspace, 5)
    assert report.reasons == {"no prices from any source": 1}
    assert any("ZZZZ" in note for note in report.notes)


def test_an_unfilled_idea_expires_open_and_is_done_with(desk):
    away = [(104, 105, 103, 104)] * 6
    workspace = desk([approved()], away, "[outcomes]\nmax_holding_days = 3\n")
    run(workspace, 8)
    row = workspace.advice.rows()[0]
    assert (row["outcome"], row["exit_reason"], row["event_id"]) == ("open", "expiry", None)
    assert run(workspace, 9).looked_at == 0


@pytest.mark.parametrize(("price", "outcome"), [(100.1, "breakeven"), (102, "win"), (98, "loss")])
def test_a_trade_closed_by_expiry_is_breakeven_inside_the_band(desk, price, outcome):
    bars = [QUIET, QUIET, (price, price, price, price)]
    workspace = desk([approved()], bars, "[outcomes]\nmax_holding_days = 4\n")
    run(workspace, 8)
    row = workspace.advice.rows()[0]
    assert (row["outcome"], row["exit_reason"]) == (outcome, "expiry")


def test_a_redis_that_is_away_costs_no_outcome_and_is_caught_up_with(desk, tmp_path):
    workspace = desk([approved()], [QUIET, TARGET])
    away = Events(tmp_path, "redis://127.0.0.1:1")
    at = MOMENT + timedelta(days=5)
    report = settle(workspace.advice, workspace.prices, away, workspace.settings, at)
    assert (report.win, report.published) == (1, 0)
    assert "wait for Redis" in report.notes[0]
    assert run(workspace, 5).published == 1
    assert run(workspace, 5).published == 0
