"""Which bars ideas are judged on: the finest that cover a session, and what nobody can vouch for.

Sessions of XNYS in 2005: Thursday 2005-02-24 to Tuesday 2005-03-01, 14:30 to 21:00 UTC.
"""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from osiris.market.calendars import daily_frame, intraday_frame
from osiris.market.data_issues import DAILY_CONFLICT, DISPUTED, MISSING_SESSION, PRICE_JUMP
from osiris.market.reconcile import Disagreement
from osiris.market.timeline import TimelineSources, build_timeline

DATES = pd.DatetimeIndex(["2005-02-24", "2005-02-25", "2005-02-28", "2005-03-01"])
FIRST, AS_OF = datetime(2005, 2, 24, tzinfo=UTC), datetime(2005, 3, 1, 21, tzinfo=UTC)
QUIET = (100, 102, 98, 101)


def frame(rows):
    return pd.DataFrame(rows, columns=["open", "high", "low", "close"], dtype=float)


def daily(rows=(QUIET,) * 4, dates=DATES, split=None):
    return daily_frame(dates, frame(rows).assign(split=split or 1.0), "XNYS", "test")


def hourly(day, bars=7, skip=(), rows=None, interval="60m"):
    """Hourly bars of a session that together are `QUIET`: seven, the last of half an hour."""
    starts = pd.date_range(f"{day} 14:30", periods=bars, freq="60min", tz="UTC")
    kept = [n for n in range(bars) if n not in skip]
    values = [QUIET if rows is None else rows[n] for n in kept]
    return intraday_frame(starts[kept], frame(values), "XNYS", interval, "test")


def lay(bars=None, as_of=AS_OF, tolerance=0.02, **sources):
    stored = TimelineSources(daily() if bars is None else bars, **sources)
    return build_timeline(stored, "XNYS", FIRST, as_of, tolerance)


def kinds(doubts):
    return [(f"{pd.Timestamp(at):%m-%d}", kind) for at, kind in zip(doubts.start, doubts.kinds, strict=True)]


def test_daily_bars_alone_are_the_timeline():
    line = lay()
    assert len(line.bars.start) == 4
    assert kinds(line.issues) == []


def test_a_session_that_hourly_bars_cover_is_seen_by_the_hour():
    line = lay(finer={"60m": hourly("2005-02-25")})
    assert len(line.bars.start) == 3 + 7
    assert (np.diff(line.bars.start) > 0).all()
    lengths = (line.bars.end - line.bars.start)[1:8] / 60e9
    assert lengths.tolist() == [60] * 6 + [30]


def test_the_finest_bars_win():
    starts = pd.date_range("2005-02-25 14:30", periods=78, freq="5min", tz="UTC")
    fine = intraday_frame(starts, frame([QUIET] * 78), "XNYS", "5m", "test")
    line = lay(finer={"60m": hourly("2005-02-25"), "5m": fine})
    assert len(line.bars.start) == 3 + 78


@pytest.mark.parametrize("skip", [(0,), (3,), (6,)], ids=["first", "middle", "last"])
def test_hourly_bars_with_a_gap_are_passed_over_for_the_daily_bar(skip):
    line = lay(finer={"60m": hourly("2005-02-25", skip=skip)})
    assert len(line.bars.start) == 4
    assert kinds(line.issues) == []


def test_hourly_bars_with_a_gap_and_no_daily_bar_leave_the_session_missing():
    line = lay(daily([QUIET] * 3, DATES[[0, 2, 3]]), finer={"60m": hourly("2005-02-25", skip=(3,))})
    assert kinds(line.issues) == [("02-25", MISSING_SESSION)]


def test_a_session_under_way_is_seen_up_to_its_first_gap():
    during = datetime(2005, 3, 1, 19, 30, tzinfo=UTC)
    line = lay(as_of=during, finer={"60m": hourly("2005-03-01")})
    assert len(line.bars.start) == 3 + 5
    gap = lay(as_of=during, finer={"60m": hourly("2005-03-01", skip=(2,))})
    assert len(gap.bars.start) == 3 + 2
    assert kinds(line.issues) == kinds(gap.issues) == []


def test_what_was_not_complete_is_not_seen():
    assert len(lay(as_of=datetime(2005, 3, 1, 20, 59, tzinfo=UTC)).bars.start) == 3
    assert len(lay(as_of=datetime(2005, 3, 1, 15, 29, tzinfo=UTC), finer={"60m": hourly("2005-03-01")}).bars.start) == 3


def test_a_session_without_a_bar_is_in_doubt():
    line = lay(daily([QUIET] * 3, DATES[[0, 1, 3]]))
    assert kinds(line.issues) == [("02-28", MISSING_SESSION)]
    assert line.issues.describe(0) == "no bar of 2005-02-28"


def test_a_holiday_is_not_missed():
    line = build_timeline(TimelineSources(daily()), "XNYS", datetime(2005, 2, 19, tzinfo=UTC), AS_OF)
    assert kinds(line.issues) == [
        ("02-22", MISSING_SESSION),
        ("02-23", MISSING_SESSION),
    ]  # Monday the 21st was Washington's birthday


def test_a_disputed_bar_is_in_doubt():
    start = daily()["start"][1].to_pydatetime()
    line = lay(disputes=[Disagreement(start, "close", 101, 99, "file:a", "yahoo")])
    assert kinds(line.issues) == [("02-25", DISPUTED)]


@pytest.mark.parametrize("wrong", [(100, 107, 98, 101), (100, 102, 90, 101), (100, 102, 98, 98)])
def test_hourly_bars_that_contradict_the_daily_one_are_in_doubt(wrong):
    rows = [QUIET] * 6 + [wrong]
    line = lay(finer={"60m": hourly("2005-02-25", rows=rows)})
    assert kinds(line.issues) == [("02-25", DAILY_CONFLICT)]
    assert kinds(lay(finer={"60m": hourly("2005-02-25", rows=rows)}, tolerance=0.1).issues) == []


def test_a_jump_like_a_split_is_a_doubt_about_the_basis_unless_it_is_recorded():
    halved = [QUIET, QUIET, *[tuple(price / 2 for price in QUIET)] * 2]
    assert kinds(lay(daily(halved)).issues) == [("02-28", PRICE_JUMP)]
    assert kinds(lay(daily(halved, split=[1, 1, 2, 1])).issues) == []


def test_a_split_takes_effect_with_the_first_hour_of_its_day():
    halved = [QUIET, QUIET, *[tuple(price / 2 for price in QUIET)] * 2]
    hours = hourly("2005-02-28", rows=[halved[2]] * 7)
    line = lay(daily(halved, split=[1, 1, 2, 1]), finer={"60m": hours})
    assert line.bars.split.tolist() == [1, 1] + [2] * 8
    assert kinds(line.issues) == []


@pytest.mark.parametrize("told", ["daily", "all hours", "a later hour", "both", "hours of 60 and 30 minutes"])
def test_a_split_counts_once_wherever_and_however_often_the_day_records_it(told):
    """A stock dividend of a tenth on Monday."""
    lower = tuple(price / 1.1 for price in QUIET)
    bars = daily([QUIET, QUIET, lower, lower], split=[1, 1, 1.1 if told in ("daily", "both") else 1, 1])
    hours = hourly("2005-02-28", rows=[lower] * 7)
    halves = intraday_frame(
        pd.date_range("2005-02-28 14:30", periods=13, freq="30min", tz="UTC"),
        frame([lower] * 13),
        "XNYS",
        "30m",
        "test",
    )
    if told not in ("daily", "a later hour"):
        hours["split"] = halves["split"] = 1.1
    if told == "a later hour":
        hours.loc[3, "split"] = 1.1
    finer = {"60m": hours} | ({"30m": halves} if "30" in told else {})
    line = lay(bars, finer=finer)
    assert line.bars.split == pytest.approx([1, 1] + [1.1] * (len(line.bars.split) - 2))
    assert kinds(line.issues) == []


def test_two_splits_of_one_day_contradict_each_other():
    halved = [QUIET, QUIET, *[tuple(price / 2 for price in QUIET)] * 2]
    hours = hourly("2005-02-28", rows=[halved[2]] * 7).assign(split=3.0)
    assert kinds(lay(daily(halved, split=[1, 1, 2, 1]), finer={"60m": hours}).issues) == [("02-28", DAILY_CONFLICT)]


def test_days_are_called_by_the_exchange_s_own_date():
    """Sydney opens on the evening before in UTC: of two days the second, a Tuesday, is lacking."""
    bars = daily_frame(pd.DatetimeIndex(["2024-01-08"]), frame([QUIET]), "XASX", "test")
    line = build_timeline(
        TimelineSources(bars), "XASX", datetime(2024, 1, 7, tzinfo=UTC), datetime(2024, 1, 9, 6, tzinfo=UTC)
    )
    assert [line.issues.describe(n) for n in range(len(line.issues.start))] == ["no bar of 2024-01-09"]


def test_a_session_of_which_a_person_said_that_it_had_no_bars_lacks_none():
    bars, absent = daily([QUIET] * 3, DATES[[0, 1, 3]]), [datetime(2005, 2, 28, 14, 30, tzinfo=UTC)]
    assert kinds(lay(bars, absent=absent).issues) == []
    hours = hourly("2005-02-28", skip=(2, 3))
    line = lay(bars, absent=absent, finer={"60m": hours})
    assert kinds(line.issues) == []
    assert len(line.bars.start) == 3 + 5, "the hours that there are"
    assert kinds(lay(bars, finer={"60m": hours}).issues) == [("02-28", MISSING_SESSION)]


def test_a_jump_in_the_hours_before_a_gap_is_held_back():
    rows = [(100, 102, 98, 101)] * 2 + [(190, 192, 188, 190)] * 5
    day = (100, 192, 98, 190)
    line = lay(daily([QUIET, day, day, day]), finer={"60m": hourly("2005-02-25", skip=(5,), rows=rows)})
    assert ("02-25", PRICE_JUMP) in kinds(line.issues)


def test_half_days_end_early():
    friday = pd.date_range("2005-11-25 14:30", periods=4, freq="60min", tz="UTC")
    hours = intraday_frame(friday, frame([QUIET] * 4), "XNYS", "60m", "test")
    as_of = datetime(2005, 11, 25, 18, tzinfo=UTC)
    line = build_timeline(
        TimelineSources(daily()[:0], {"60m": hours}), "XNYS", datetime(2005, 11, 25, tzinfo=UTC), as_of
    )
    assert kinds(line.issues) == []
    assert f"{pd.Timestamp(line.bars.end[-1]):%H:%M}" == "18:00"


@pytest.mark.parametrize(("day", "opens"), [("2005-04-01", "14:30"), ("2005-04-04", "13:30")])
def test_daylight_saving_moves_the_session_in_utc(day, opens):
    bars = daily_frame(pd.DatetimeIndex([day]), frame([QUIET]), "XNYS", "test")
    assert f"{bars['start'][0]:%H:%M}" == opens


def test_bars_outside_of_the_sessions_are_left_out():
    starts = pd.DatetimeIndex(["2005-02-25 13:30", "2005-02-25 14:30", "2005-02-25 21:00"], tz="UTC")
    assert len(intraday_frame(starts, frame([QUIET] * 3), "XNYS", "60m", "test")) == 1


def test_crypto_has_a_session_every_day():
    days = pd.DatetimeIndex(["2005-02-26", "2005-02-27"])
    bars = daily_frame(days, frame([QUIET] * 2), "24/7", "test")
    line = build_timeline(
        TimelineSources(bars), "24/7", datetime(2005, 2, 26, tzinfo=UTC), datetime(2005, 3, 1, tzinfo=UTC)
    )
    assert kinds(line.issues) == [("02-28", MISSING_SESSION)]


def test_minutes_explain_the_hours_of_a_session_under_way():
    during = datetime(2005, 3, 1, 18, 45, tzinfo=UTC)
    starts = pd.date_range("2005-03-01 14:30", periods=150, freq="1min", tz="UTC")
    minutes = intraday_frame(starts, frame([QUIET] * 150), "XNYS", "1m", "test")
    line = lay(as_of=during, finer={"60m": hourly("2005-03-01"), "1m": minutes})
    assert len(line.bars.start) == 3 + 120 + 2, "two hours by the minute, cut at an hour's edge, and two hours"
    assert (np.diff(line.bars.start)[3:] > 0).all()
    assert (line.bars.start[4:] == line.bars.end[3:-1]).all()


def test_a_day_that_a_person_confirmed_is_beyond_doubt():
    halved = [QUIET, QUIET, *[tuple(price / 2 for price in QUIET)] * 2]
    spoken = daily(halved)
    spoken["source"] = ["test", "test", "test+confirmed", "test"]
    assert kinds(lay(spoken).issues) == []
    rows = [QUIET] * 6 + [(100, 107, 98, 101)]
    spoken = daily().assign(source="test+confirmed")
    line = lay(spoken, finer={"60m": hourly("2005-02-25", rows=rows)})
    assert (kinds(line.issues), len(line.bars.start)) == ([], 4)


@pytest.mark.parametrize("skip", [(0,), (4,), (6,), (2, 5)], ids=["first", "middle", "last", "two"])
def test_an_idea_of_a_session_with_gaps_is_judged_on_its_hours_and_the_gaps_between_them(skip):
    line = lay(finer={"60m": hourly("2005-02-25", skip=skip)})
    (session,) = line.gapped
    assert session == (line.bars.start[1], line.bars.end[1])
    inside = line.expand_session(session).bars
    assert len(inside.start) == 3 + 7
    assert np.flatnonzero(inside.gap).tolist() == [1 + n for n in skip]
    assert (inside.start[2:8] == inside.end[1:7]).all(), "without a hole from the open to the close"


def test_what_a_historical_moment_cannot_know_is_no_dispute_yet():
    late = Disagreement(datetime(2005, 3, 2, 14, 30, tzinfo=UTC), "close", 1, 2, "a", "b")
    assert kinds(lay(disputes=[late]).issues) == []


def test_minutes_with_a_gap_do_not_take_hours_away_that_are_whole():
    starts = pd.date_range("2005-02-25 14:30", periods=80, freq="1min", tz="UTC")
    minutes = intraday_frame(starts, frame([QUIET] * 80), "XNYS", "1m", "test")
    line = lay(finer={"60m": hourly("2005-02-25"), "1m": minutes})
    assert line.gapped == {}
    assert len(line.bars.start) == 3 + 60 + 6, "an hour by the minute, and the six others"


def test_finer_bars_are_held_against_the_day_whatever_stands_for_it():
    starts = pd.date_range("2005-02-25 14:30", periods=78, freq="5min", tz="UTC")
    wild = intraday_frame(starts, frame([QUIET] * 77 + [(100, 110, 98, 101)]), "XNYS", "5m", "test")
    finer = {"60m": hourly("2005-02-25"), "5m": wild}
    assert kinds(lay(finer=finer).issues) == [("02-25", DAILY_CONFLICT)]
    line = lay(daily().assign(source="test+confirmed"), finer=finer)
    assert (kinds(line.issues), line.bars.high.max()) == ([], 102)


def test_a_jump_within_a_day_that_a_person_confirmed_is_beyond_doubt():
    day = (100, 102, 50, 51)
    hours = [QUIET] * 3 + [(50, 52, 50, 51)] * 4
    finer = {"60m": hourly("2005-02-25", rows=hours)}
    rest = [tuple(price / 2 for price in QUIET)] * 2
    assert PRICE_JUMP in [kind for _, kind in kinds(lay(daily([QUIET, day, *rest]), finer=finer).issues)]
    spoken = daily([QUIET, day, *rest])
    spoken.loc[1, "source"] = "test+confirmed"
    assert kinds(lay(spoken, finer=finer).issues) == []
