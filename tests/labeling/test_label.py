"""What becomes of ideas on a timeline: a long AAPL from 100, target 106, stop 97, on daily bars, unless said."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.config.settings import OutcomesSettings
from osiris.labeling import label as rules_of
from osiris.labeling.label import label_frame
from osiris.market.calendars import daily_frame, intraday_frame
from osiris.market.reconcile import Disagreement
from osiris.market.timeline import TimelineSources, build_timeline

SESSIONS = pd.DatetimeIndex(["2005-02-24", "2005-02-25", "2005-02-28", "2005-03-01", "2005-03-02"])
DRAFTED = datetime(2005, 2, 24, 21, tzinfo=UTC)
AS_OF = datetime(2005, 3, 2, 21, tzinfo=UTC)
QUIET, TARGET, STOP = (100, 101, 99, 100), (101, 107, 100.5, 106), (99, 100, 96, 97)
FILLED_AND_WON = (100, 107, 99.5, 106)
HALVED = (50, 50.5, 49.5, 50)


def ruling(*after, as_of=AS_OF, rules=None, dates=SESSIONS, split=None, disputes=(), silent=False, **changes):
    """The verdict on one idea: a quiet Thursday on which it was drafted, then the bars of `after`."""
    rows = [QUIET, *after][: len(dates)]
    values = pd.DataFrame(rows, columns=["open", "high", "low", "close"], dtype=float)
    bars = daily_frame(dates[: len(rows)], values.assign(split=split or 1.0), "XNYS", "test")
    idea = {
        "id": "i", "ticker": "AAPL", "side": "long", "entry": 100.0, "target": 106.0, "stop": 97.0,
        "as_of": changes.pop("as_of_idea", DRAFTED),
        "since": DRAFTED, "close_asked_at": None, "close_asked_price": None,
    } | changes  # fmt: skip
    ideas = pd.DataFrame([idea])
    for name in ("as_of", "since", "close_asked_at"):
        ideas[name] = pd.to_datetime(ideas[name], utc=True).astype("datetime64[us, UTC]")
    sources = TimelineSources(bars, disputes=disputes, no_later_bars=silent)
    line = build_timeline(sources, "XNYS", DRAFTED - timedelta(days=3), as_of)
    return label_frame(ideas, {"AAPL": line}, rules or OutcomesSettings(), as_of).iloc[0]


def asked(day, price=None, hour=16):
    return {"close_asked_at": datetime(2005, day // 100, day % 100, hour, tzinfo=UTC), "close_asked_price": price}


def test_a_winner():
    row = ruling(QUIET, TARGET)
    assert (row.outcome, row.exit_reason, row.close_price, row.r_multiple) == ("win", "target", 106.0, 2.0)
    assert row.closed_at == pd.Timestamp("2005-02-28 21:00", tz="UTC")
    assert row.open_reason is None


def test_an_idea_without_bars_stays_open():
    ideas = pd.DataFrame([{"id": "i", "ticker": "ZZZZ", "side": "long", "entry": 1.0, "target": 2.0, "stop": 0.5}])
    ideas = ideas.assign(as_of=pd.Timestamp(DRAFTED), since=pd.Timestamp(DRAFTED))
    row = label_frame(ideas, {}, OutcomesSettings(), AS_OF).iloc[0]
    assert (row.outcome, row.open_reason, row.ambiguous) == ("open", rules_of.NO_PRICES, None)


def test_levels_are_in_the_basis_of_the_last_bar_the_model_saw():
    """Drafted after the close of a split's day from the bars of the day before: those are the old shares."""
    late = datetime(2005, 2, 25, 21, 10, tzinfo=UTC)
    seen = {"since": late, "as_of_idea": late, "basis_at": pd.Timestamp(DRAFTED)}
    row = ruling(HALVED, HALVED, (53, 54, 52, 53), split=[1, 2, 1, 1], **seen)
    assert (row.outcome, row.close_price) == ("win", 53.0)


def test_no_ideas_have_no_verdicts():
    columns = ["id", "ticker", "side", "entry", "target", "stop", "as_of", "since"]
    times = dict.fromkeys(("as_of", "since"), "datetime64[us, UTC]")
    assert label_frame(pd.DataFrame(columns=columns).astype(times), {}, OutcomesSettings(), AS_OF).empty


class TestDoubt:
    def test_no_verdict_across_a_session_without_a_bar(self):
        row = ruling(QUIET, TARGET, dates=SESSIONS[[0, 1, 3]])
        assert (row.outcome, row.open_reason) == ("open", "no bar of 2005-02-28")
        assert pd.isna(row.closed_at)
        assert np.isnan(row.r_multiple)

    def test_a_verdict_before_the_missing_session_stands(self):
        assert ruling(FILLED_AND_WON, QUIET, dates=SESSIONS[[0, 1, 3]]).outcome == "win"

    def test_a_missing_session_before_the_draft_does_not_matter(self):
        later = datetime(2005, 2, 28, 22, tzinfo=UTC)
        assert ruling(QUIET, TARGET, dates=SESSIONS[[0, 3, 4]], since=later, as_of_idea=later).outcome == "win"

    def test_one_between_draft_and_acceptance_may_have_changed_the_price_basis(self):
        later = datetime(2005, 2, 28, 22, tzinfo=UTC)
        row = ruling(QUIET, TARGET, dates=SESSIONS[[0, 3, 4]], since=later)
        assert (row.outcome, row.open_reason) == ("open", "no bar of 2005-02-25")

    def test_a_session_under_way_at_acceptance_counts(self):
        start, noon = datetime(2005, 2, 25, 14, 30, tzinfo=UTC), datetime(2005, 2, 25, 17, tzinfo=UTC)
        dispute = Disagreement(start, "high", 107, 101, "file", "yahoo")
        row = ruling(QUIET, QUIET, TARGET, disputes=[dispute], since=noon, as_of_idea=noon)
        assert (row.outcome, row.open_reason) == ("open", "sources differ on 2005-02-25")

    def test_no_verdict_across_a_disputed_bar(self):
        start = datetime(2005, 2, 28, 14, 30, tzinfo=UTC)
        row = ruling(QUIET, TARGET, disputes=[Disagreement(start, "close", 106, 99, "file", "yahoo")])
        assert (row.outcome, row.open_reason) == ("open", "sources differ on 2005-02-28")

    def test_a_verdict_before_the_disputed_bar_stands(self):
        start = datetime(2005, 2, 28, 14, 30, tzinfo=UTC)
        assert ruling(FILLED_AND_WON, QUIET, disputes=[Disagreement(start, "close", 1, 2, "a", "b")]).outcome == "win"

    def test_no_verdict_across_a_jump_that_looks_like_a_split(self):
        row = ruling(QUIET, HALVED)
        assert row.open_reason == "a price jump on 2005-02-28 looks like an unrecorded split"

    def test_an_unfilled_idea_does_not_end_across_a_missing_session(self):
        away = (104, 105, 103, 104)
        row = ruling(away, away, dates=SESSIONS[[0, 1, 4]], rules=OutcomesSettings(max_holding_days=5))
        assert (row.outcome, row.exit_reason, row.open_reason) == ("open", None, "no bar of 2005-02-28")

    def test_a_halted_share_stays_open(self):
        row = ruling(QUIET)
        assert (row.outcome, row.open_reason) == ("open", "no bar of 2005-02-28")


class TestSplits:
    def test_the_levels_are_rescaled_once(self):
        row = ruling(QUIET, HALVED, (50.5, 53.5, 50, 53), split=[1, 1, 2, 1])
        assert (row.outcome, row.close_price, row.r_multiple) == ("win", 53.0, pytest.approx(2.0))

    def test_a_split_before_the_idea_is_in_its_levels_already(self):
        row = ruling(QUIET, TARGET, split=[2, 1, 1])
        assert (row.outcome, row.close_price) == ("win", 106.0)


class TestClosing:
    @pytest.mark.parametrize(
        ("price", "outcome"), [(100.1, "breakeven"), (99.86, "breakeven"), (102, "win"), (98, "loss")]
    )
    def test_expiry_is_breakeven_inside_the_band_and_else_by_sign(self, price, outcome):
        row = ruling(QUIET, (price,) * 4, rules=OutcomesSettings(max_holding_days=4, breakeven_r=0.05))
        assert (row.outcome, row.exit_reason) == (outcome, "expiry")

    def test_by_hand_without_a_price_it_closes_at_what_trades_next(self):
        row = ruling(QUIET, (101, 102, 100, 101.5), **asked(228))
        assert (row.outcome, row.exit_reason, row.close_price) == ("win", "manual", 101.5)
        overnight = ruling(QUIET, (101, 102, 100, 101.5), **asked(225, hour=22))
        assert (overnight.exit_reason, overnight.close_price) == ("manual", 101.0)

    def test_by_hand_at_a_price_that_traded_it_closes_there_and_then(self):
        row = ruling(QUIET, (101, 102, 100, 101.5), **asked(228, 101.2))
        assert (row.outcome, row.exit_reason, row.close_price) == ("win", "manual", 101.2)
        assert row.closed_at == pd.Timestamp("2005-02-28 16:00", tz="UTC")
        assert row.r_multiple == pytest.approx(0.4)
        assert ruling(QUIET, (101, 102, 100, 101.5), **asked(228, 100.05)).outcome == "breakeven"

    def test_by_hand_at_a_price_that_never_traded_it_stays_open(self):
        row = ruling(QUIET, (101, 102, 100, 101.5), **asked(228, 120.0))
        assert (row.outcome, row.open_reason) == ("open", rules_of.PRICE_NOT_TRADED)

    def test_a_target_of_the_same_day_may_have_come_too_late(self):
        row = ruling(QUIET, (100, 107, 98, 106), **asked(228, 98.5))
        assert (row.outcome, row.exit_reason, row.close_price, row.ambiguous) == ("loss", "manual", 98.5, True)

    def test_a_level_that_was_reached_before_stands(self):
        row = ruling(STOP, (101, 102, 100, 101.5), **asked(228, 101.2))
        assert (row.outcome, row.exit_reason) == ("loss", "stop")

    def test_an_idea_never_filled_ends_without_a_trade(self):
        away = (104, 105, 103, 104)
        row = ruling(away, away, **asked(228, 104.0))
        assert (row.outcome, row.exit_reason, row.open_reason) == ("open", "manual", rules_of.NO_TRADE)

    def test_a_delisted_share_closes_at_the_price_given_after_a_week_of_silence(self):
        soon, later = datetime(2005, 3, 4, 21, tzinfo=UTC), datetime(2005, 3, 9, 21, tzinfo=UTC)
        assert ruling(QUIET, as_of=soon, silent=True, **asked(301, 40.0)).outcome == "open"
        assert ruling(QUIET, as_of=later, **asked(301, 40.0)).outcome == "open", "nobody asked Yahoo"
        row = ruling(QUIET, as_of=later, silent=True, **asked(301, 40.0))
        assert (row.outcome, row.exit_reason, row.close_price, row.r_multiple) == ("loss", "manual", 40.0, -20.0)
        assert ruling(QUIET, as_of=later, silent=True, **asked(301)).outcome == "open"

    def test_a_price_by_hand_after_a_split_is_in_the_basis_of_that_day(self):
        row = ruling(QUIET, HALVED, HALVED, split=[1, 1, 2, 1], **asked(301, 50.5))
        assert (row.outcome, row.r_multiple) == ("win", pytest.approx(1 / 3))


class TestDoubtfulBars:
    """`ambiguous_at` names the bar that finer ones would have to explain."""

    def test_a_double_touch(self):
        row = ruling(QUIET, (100, 107, 96, 100))
        assert (row.outcome, row.ambiguous) == ("loss", True)
        assert row.ambiguous_at == pd.Timestamp("2005-02-28 14:30", tz="UTC")

    def test_a_target_before_or_after_the_fill_leaves_a_doubt_about_that_bar_however_it_ends(self):
        maybe = (102, 107, 99, 101)
        for after in ([QUIET], [QUIET, (96, 97, 95, 96)], [QUIET, (107, 108, 106.5, 107)]):
            assert ruling(maybe, *after).ambiguous_at == pd.Timestamp("2005-02-25 14:30", tz="UTC")

    def test_a_plain_day_leaves_none(self):
        assert pd.isna(ruling(QUIET, TARGET).ambiguous_at)


class TestHours:
    """Hourly bars of Friday 2005-02-25, each quiet unless said; the idea is accepted at 15:00 on that day."""

    NOON = datetime(2005, 2, 25, 15, tzinfo=UTC)

    def judged(self, hours, as_of, daily=(QUIET, QUIET, TARGET), **changes):
        starts = pd.DatetimeIndex([f"2005-02-25 {hour}:30" for hour in hours], tz="UTC")
        rows = pd.DataFrame(list(hours.values()), columns=["open", "high", "low", "close"], dtype=float)
        finer = {"60m": intraday_frame(starts, rows, "XNYS", "60m", "test")}
        values = pd.DataFrame(daily, columns=["open", "high", "low", "close"], dtype=float)
        bars = daily_frame(SESSIONS[: len(daily)], values, "XNYS", "test")
        line = build_timeline(TimelineSources(bars, finer), "XNYS", DRAFTED - timedelta(days=3), as_of, tolerance=0.1)
        moment = pd.Timestamp(self.NOON)
        idea = {
            "id": "i", "ticker": "AAPL", "side": "long", "entry": 100.0, "target": 106.0, "stop": 97.0,
            "as_of": pd.Timestamp(DRAFTED), "since": moment,
        } | changes  # fmt: skip
        return label_frame(pd.DataFrame([idea]), {"AAPL": line}, OutcomesSettings(), as_of).iloc[0]

    def test_a_gap_later_in_the_day_does_not_change_what_was_decided_before_it(self):
        hours = {14: QUIET, 15: QUIET, 16: STOP, 17: QUIET, 19: QUIET, 20: QUIET}
        then = self.judged(hours, datetime(2005, 2, 25, 18, 30, tzinfo=UTC))
        assert then.outcome == "loss"
        later = self.judged(hours, AS_OF, daily=(QUIET, (100, 101, 96, 100), TARGET))
        assert (later.outcome, later.closed_at) == ("loss", then.closed_at)

    def test_a_stop_that_only_the_day_shows_came_after_the_gap(self):
        hours = {14: QUIET, 15: QUIET, 16: QUIET, 18: QUIET, 19: QUIET, 20: QUIET}
        row = self.judged(hours, AS_OF, daily=(QUIET, (100, 101, 90, 100), TARGET))
        assert (row.outcome, row.exit_reason) == ("loss", "stop")
        shown = {14: (100, 101, 90, 100), 15: QUIET, 16: QUIET, 18: QUIET, 19: QUIET, 20: QUIET}
        row = self.judged(shown, AS_OF, daily=(QUIET, (100, 101, 90, 100), TARGET))
        assert (row.outcome, row.ambiguous) == ("loss", True), "it may have come again in the gap"

    def test_an_idea_accepted_on_another_day_is_judged_on_the_daily_bar(self):
        hours = {14: QUIET, 15: QUIET, 16: STOP, 17: QUIET, 19: QUIET, 20: QUIET}
        row = self.judged(hours, AS_OF, since=pd.Timestamp(DRAFTED))
        assert row.outcome == "win"

    def test_levels_of_a_draft_in_mid_session_are_in_the_basis_of_the_day_before(self):
        """The policy drafts from completed daily bars: on a split's day those are still the old shares."""
        halved = dict.fromkeys(range(14, 21), HALVED)
        values = pd.DataFrame([QUIET, HALVED, (53, 54, 52, 53)], columns=["open", "high", "low", "close"], dtype=float)
        bars = daily_frame(SESSIONS[:3], values.assign(split=[1.0, 2.0, 1.0]), "XNYS", "test")
        starts = pd.DatetimeIndex([f"2005-02-25 {hour}:30" for hour in halved], tz="UTC")
        rows = pd.DataFrame(list(halved.values()), columns=["open", "high", "low", "close"], dtype=float)
        finer = {"60m": intraday_frame(starts, rows, "XNYS", "60m", "test")}
        line = build_timeline(TimelineSources(bars, finer), "XNYS", DRAFTED - timedelta(days=3), AS_OF)
        moment = pd.Timestamp("2005-02-25 16:00", tz="UTC")
        idea = {"id": "i", "ticker": "AAPL", "side": "long", "entry": 100.0, "target": 106.0, "stop": 97.0}
        row = label_frame(
            pd.DataFrame([idea | {"as_of": moment, "since": moment}]), {"AAPL": line}, OutcomesSettings(), AS_OF
        )
        assert (row["outcome"][0], row["close_price"][0], row["r_multiple"][0]) == ("win", 53.0, pytest.approx(2.0))
