"""The outcome logger on a workspace with hand-made bars: what is looked at, what it becomes, what is published."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from osiris.config.settings import PROJECT_ROOT
from osiris.core.commands import UndoRequest
from osiris.core.errors import BadInput, Busy, Conflict
from osiris.core.files import exclusive_lock
from osiris.labeling.settle import EVENT_COLUMNS, MINUTES_UNAVAILABLE, settle, split_batches
from osiris.market.calendars import closes_between, daily_frame, intraday_frame, session_bounds
from osiris.market.yahoo import REPORTING_DELAY
from osiris.review.decide import request_close, undo
from osiris.storage.events import OUTCOME_TOPIC, Events, read_messages
from tests.builders import MOMENT, idea, make_workspace
from tests.market.yahoo_server import YahooServer

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
    subscription = workspace.events.subscribe(OUTCOME_TOPIC)
    report = run(workspace, 5)
    assert (report.win, report.written, report.published) == (1, 1, 1)
    row = workspace.advice.rows()[0]
    assert (row["outcome"], row["exit_reason"], row["close_price"], row["r_multiple"]) == ("win", "target", 106.0, 2.0)
    assert row["closed_at"].isoformat() == "2005-03-01T21:00:00+00:00"
    assert row["published_at"] is not None
    (event,) = read_messages(subscription)
    assert (event["event_id"], event["outcome"], event["r_multiple"]) == (row["event_id"], "win", 2.0)
    subscription.close()


def test_what_is_taken_back_while_it_is_judged_has_no_outcome(desk, monkeypatch):
    row = approved()
    workspace = desk([row], [QUIET, TARGET])
    fetched = workspace.prices.get_timelines

    def fetched_late(*args, **options):
        made = UndoRequest(status="approved", status_at=ACCEPTED, reviewer="ann")
        undo(workspace.advice, row["id"], made, "undo", ACCEPTED + timedelta(hours=1))
        return fetched(*args, **options)

    monkeypatch.setattr(workspace.prices, "get_timelines", fetched_late)
    report = run(workspace, 4)
    stored = workspace.advice.get(row["id"])
    assert (stored["status"], stored["outcome"], stored["event_id"]) == ("pending", None, None)
    assert (report.written, report.published) == (0, 0)


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


def test_a_second_run_at_the_same_time_is_refused_and_changes_nothing(desk):
    workspace = desk([approved()], [QUIET, TARGET])
    lock = workspace.settings.data / "outcomes.lock"
    with exclusive_lock(lock, "outcome run"), pytest.raises(Busy, match="another one under way"):
        run(workspace, 5)
    assert workspace.advice.rows()[0]["outcome"] is None
    assert run(workspace, 5).win == 1


def test_ideas_go_in_batches_of_whole_tickers(monkeypatch):
    monkeypatch.setattr("osiris.labeling.settle.IDEAS_PER_BATCH", 3)
    ideas = pd.DataFrame({"ticker": list("CABBACCCCA")})
    assert ["".join(part["ticker"]) for part in split_batches(ideas)] == ["AAA", "BB", "CCCCC"]


def test_a_trade_closed_by_hand_is_settled_at_the_price_given(desk):
    workspace = desk([approved()], [QUIET, QUIET, QUIET])
    name = workspace.advice.rows()[0]["id"]
    asked = request_close(workspace.advice, name, 100.5, "bob", MOMENT + timedelta(days=4, hours=-4))
    assert asked["close_asked_price"] == 100.5
    run(workspace, 5)
    row = workspace.advice.rows()[0]
    assert (row["outcome"], row["exit_reason"], row["close_price"]) == ("win", "manual", 100.5)
    assert row["closed_at"] == asked["close_asked_at"]


def test_a_price_that_did_not_trade_is_corrected_and_the_moment_stays(desk):
    workspace = desk([approved()], [QUIET, QUIET, QUIET])
    name, asked_at = workspace.advice.rows()[0]["id"], MOMENT + timedelta(days=4, hours=-4)
    request_close(workspace.advice, name, 1005.0, "bob", asked_at)
    with pytest.raises(Conflict, match="can be corrected"):  # nobody knows yet that it did not trade
        request_close(workspace.advice, name, 100.5, "bob", asked_at)
    run(workspace, 5)
    assert "did not trade" in workspace.advice.rows()[0]["open_reason"]
    request_close(workspace.advice, name, 100.5, "bob", MOMENT + timedelta(days=6))
    with pytest.raises(Conflict, match="bob"):  # it is the new price's turn
        request_close(workspace.advice, name, 99.0, "eve", MOMENT + timedelta(days=6))
    run(workspace, 7)
    row = workspace.advice.rows()[0]
    assert (row["outcome"], row["close_price"], row["closed_at"]) == ("win", 100.5, asked_at)


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan")])
def test_a_trade_is_closed_at_a_price(desk, price):
    workspace = desk([approved()], [QUIET])
    with pytest.raises(BadInput, match="above 0"):
        request_close(workspace.advice, workspace.advice.rows()[0]["id"], price, "bob", MOMENT)


def test_a_missing_session_holds_an_idea_back_until_its_bar_is_there(desk):
    workspace = desk([approved()], [QUIET, QUIET, TARGET])
    path = workspace.bars._path("AAPL", "1d")
    whole = pd.read_parquet(path)
    whole[whole["start"].dt.strftime("%Y-%m-%d") != "2005-03-01"].to_parquet(path)
    assert run(workspace, 6).reasons == {"no bar of 2005-03-01": 1}
    workspace.bars.merge("AAPL", whole[whole["start"].dt.strftime("%Y-%m-%d") == "2005-03-01"])
    assert run(workspace, 6).win == 1


def test_what_an_event_holds_is_documented(desk):
    workspace = desk([approved()], [QUIET, TARGET])
    run(workspace, 5)
    (event,) = workspace.events.read_outcomes()
    documented = (PROJECT_ROOT / "docs" / "reference" / "events.md").read_text()
    assert list(event) == EVENT_COLUMNS
    assert [name for name in event if f"`{name}`" not in documented] == []


class TestMinutes:
    """Days and hours that touched both levels, on Yahoo's hourly bars; by the minute the target came first."""

    COLUMNS = ("open", "high", "low", "close")

    @pytest.fixture
    def yahoo(self):
        days = 3
        now = datetime.now(UTC) - REPORTING_DELAY
        closes = closes_between("XNYS", now - timedelta(days=21), now)[-1 - days :]
        dates = pd.DatetimeIndex(closes.tz_convert("America/New_York").date)
        self.opens, self.closes = session_bounds("XNYS", dates)
        both = (100, 107, 96, 100)
        with YahooServer({"AAPL": daily_frame(dates, self.frame([QUIET, *[both] * days]), "XNYS", "t")}) as server:
            for interval, first in (("60m", [both]), ("1m", [(100, 107, 100, 101), (101, 101, 96, 100)])):
                starts, rows = [], []
                for opened, closed in list(zip(self.opens, self.closes, strict=True))[1:]:
                    part = pd.date_range(opened, closed, freq=f"{interval[:-1]}min", inclusive="left")
                    starts += list(part)
                    rows += first + [QUIET] * (len(part) - len(first))
                frame = self.frame(rows)
                server.intraday["AAPL", interval] = intraday_frame(
                    pd.DatetimeIndex(starts), frame, "XNYS", interval, "t"
                )
            yield server

    def frame(self, rows):
        return pd.DataFrame(rows, columns=list(self.COLUMNS), dtype=float)

    def settled(self, folder, yahoo, ideas=1, behaviour=None):
        workspace = make_workspace(folder, f'[prices]\nyahoo_url = "{yahoo.url}"\n', None)
        if not workspace.advice.count():
            moments = [close.to_pydatetime() for close in self.closes[:ideas]]
            rows = [approved(as_of=m, number=n) | {"status_at": m} for n, m in enumerate(moments)]
            workspace.advice.add(rows)
        as_of = self.closes[-1].to_pydatetime() + timedelta(days=2)
        report = settle(workspace.advice, workspace.prices, workspace.events, workspace.settings, as_of)
        rows = workspace.advice.rows()
        workspace.close()
        return report, rows

    def test_settle_a_day_that_touched_both_levels(self, tmp_path, yahoo):
        report, (row,) = self.settled(tmp_path, yahoo)
        assert (report.win, report.loss) == (1, 0), report
        assert (row["outcome"], row["ambiguous"]) == ("win", False)
        assert row["closed_at"] == (self.opens[1] + pd.Timedelta(minutes=1)).to_pydatetime()

    def test_are_asked_for_however_many_days_are_in_doubt(self, tmp_path, yahoo):
        report, _ = self.settled(tmp_path, yahoo, ideas=3)
        assert (report.win, report.loss) == (3, 0), report

    def test_that_could_not_be_asked_for_leave_it_open_until_they_can(self, tmp_path, yahoo):
        yahoo.limited = "1m"
        report, (row,) = self.settled(tmp_path, yahoo)
        assert report.reasons == {MINUTES_UNAVAILABLE: 1}
        assert (row["outcome"], row["closed_at"], row["event_id"]) == ("open", None, None)
        yahoo.limited = None
        assert self.settled(tmp_path, yahoo)[0].win == 1

    def test_that_nobody_has_leave_a_loss_in_doubt(self, tmp_path, yahoo):
        del yahoo.intraday["AAPL", "1m"]
        report, (row,) = self.settled(tmp_path, yahoo)
        assert (report.loss, row["ambiguous"]) == (1, True)
