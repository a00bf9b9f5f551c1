"""Labels from bars as people have them: single precision, reverse splits, lunch breaks, mixed lengths, weeks."""

from datetime import UTC, datetime
from typing import ClassVar

import pandas as pd
import pytest

from osiris.config.settings import PricesSettings
from osiris.labeling.label_file import LabelRules, label_file
from osiris.market.file_import import ImportOptions

AS_OF = datetime(2024, 1, 20, tzinfo=UTC)
HEAD = "id,ticker,side,entry,target,stop,accepted_at\n"
QUIET = "100,100.4,99.6,100"
PRICES = PricesSettings(calendars={"7203.T": "XTKS", "ES=F": "CMES"})


@pytest.fixture
def label(tmp_path):
    def labelled(idea, as_of=AS_OF, form=ImportOptions(), **files):
        """The label of one idea on the bars of some files, each `{moment: "open,high,low,close[,split]"}`."""
        (tmp_path / "ideas.csv").write_text(f"{HEAD}x,{idea}\n")
        (tmp_path / "bars").mkdir()
        ticker = idea.split(",")[0]
        for name, bars in files.items():
            rows = "".join(
                f"{ticker},{moment},{prices}{',' * (4 - prices.count(','))}\n" for moment, prices in bars.items()
            )
            (tmp_path / "bars" / f"{name}.csv").write_text("ticker,ts,open,high,low,close,split\n" + rows)
        found = label_file(tmp_path / "ideas.csv", tmp_path / "bars", LabelRules(prices=PRICES, options=form), as_of)
        (row,) = found.labels.to_dict("records")
        return row["outcome"], row["exit_reason"] or row["open_reason"], bool(row["ambiguous"]), found.bad

    return labelled


class TestTheSamePrice:
    def test_a_level_that_single_precision_holds_next_to_it_was_reached(self, label):
        days = {
            "2024-01-03": "184.22000122070312,185.8800048828125,183.42999267578125,184.25",
            "2024-01-04": "182.14999389648438,183.08999633789062,180.8800048828125,181.91000366210938",
            "2024-01-05": "181.99000549316406,182.75999450683594,180.1699981689453,181.17999267578125",
        }
        found = label("AAPL,short,182,180.2,183.09,2024-01-03T22:00:00+00:00", d=days)
        assert found == ("loss", "stop", True, [])

    @pytest.mark.parametrize(("low", "outcome"), [("100.2", "loss"), ("100.21", "win")])
    def test_a_level_after_a_reverse_split_is_the_price_over_ten(self, label, low, outcome):
        days = {
            "2024-01-02": "10.32,10.34,10.30,10.32",
            "2024-01-03": "10.32,10.34,10.30,10.32",
            "2024-01-04": f"103.2,104.2,{low},103.2,0.1",
            "2024-01-05": "103.2,110.3,102.2,109.2",
        }
        found = label("AAPL,long,10.32,10.92,10.02,2024-01-03T22:00:00+00:00", d=days)
        assert (found[0], found[2]) == (outcome, False)


def tokyo(**rows):
    """The half hours or hours of Thursday 2024-01-11 in Tokyo, quiet but for some: `h0900="..."`."""
    return {f"2024-01-11T{name[1:3]}:{name[3:]}+09:00": prices for name, prices in rows.items()}


HOURS = dict.fromkeys(("h0900", "h1000", "h1100", "h1230", "h1330", "h1430"), QUIET)
HALVES = dict.fromkeys(
    ("h0900", "h0930", "h1000", "h1030", "h1100", "h1230", "h1300", "h1330", "h1400", "h1430"), QUIET
)


class TestALunchBreak:
    days: ClassVar = {"2024-01-10": "100,101,99,100", "2024-01-11": "100,107,95,106.5"}
    hours: ClassVar = tokyo(
        **HOURS | {"h0900": "100,100.4,95,100", "h1330": "100,107,99.9,106.5", "h1430": "106.5,106.8,106.2,106.5"}
    )
    idea = "7203.T,long,100,106,97,2024-01-11T10:00:00+09:00"

    def test_nothing_lacks_in_it(self, label):
        assert label(self.idea, d=self.days, h=self.hours) == ("win", "target", False, [])

    def test_hours_alone_are_the_whole_session(self, label):
        assert label(self.idea, h=self.hours) == ("win", "target", False, [])

    def test_it_is_no_gap_either_where_another_hour_lacks(self, label):
        without_last = {moment: row for moment, row in self.hours.items() if "14:30" not in moment}
        assert label(self.idea, d=self.days, h=without_last)[:3] == ("win", "target", False)

    def test_an_hour_that_lacks_beside_it_does(self, label):
        lacking = {moment: row for moment, row in self.hours.items() if "12:30" not in moment}
        assert label(self.idea, d=self.days, h=lacking)[:3] == ("loss", "stop", True)

    def test_half_hours_are_half_hours(self, label):
        quiet = {moment.replace("-11T", f"-{day}T"): QUIET for day in ("09", "10") for moment in tokyo(**HALVES)}
        last = tokyo(**HALVES | {"h1400": "100,100.2,96,99.8", "h1430": "99.8,107,99.8,106.8"})
        found = label("7203.T,long,100,106,97,2024-01-11T12:40:00+09:00", h=quiet | last)
        assert found == ("loss", "stop", False, [])


@pytest.mark.parametrize("day", [{}, {"2024-01-11": "100,107,96.5,106"}], ids=["hours", "hours and the day"])
def test_a_future_does_not_trade_in_the_last_hour_of_its_session(label, day):
    starts = pd.date_range("2024-01-10T23:00Z", periods=23, freq="60min")
    hours = {f"{at:%Y-%m-%dT%H:%MZ}": QUIET for at in starts} | {"2024-01-11T20:00Z": "100,107,99.6,106.5"}
    hours |= {"2024-01-11T05:00Z": "100,100.4,96.5,100", "2024-01-11T21:00Z": "106.5,106.8,106,106"}
    found = label("ES=F,long,100,106,97,2024-01-11T10:00:00+00:00", h=hours, **({"d": day} if day else {}))
    assert found[:3] == ("win", "target", False)


def new_york(step, first, last, day="11", **rows):
    starts = pd.date_range(f"2024-01-{day}T{first}", f"2024-01-{day}T{last}", freq=f"{step}min")
    named = {name[1:3] + ":" + name[3:]: prices for name, prices in rows.items()}
    return {f"{at:%Y-%m-%dT%H:%M}:00-05:00": named.get(f"{at:%H:%M}", QUIET) for at in starts}


class TestBarsOfDifferentLengths:
    hours: ClassVar = new_york(60, "09:30", "15:30", h1130="100,100.4,96,100", h1530="100,107,99.6,106.5")
    days: ClassVar = {"2024-01-10": QUIET, "2024-01-11": "100,107,96,106.5"}
    idea = "AAPL,long,100,106,97,2024-01-10T22:00:00+00:00"

    def test_shorter_ones_do_not_wipe_out_what_longer_ones_show(self, label):
        assert label(self.idea, d=self.days, h=self.hours)[:2] == ("loss", "stop")

    @pytest.mark.parametrize("last", ["12:00", "15:30"], ids=["of a part", "of the whole session"])
    @pytest.mark.parametrize("daily", [True, False])
    def test_contradictions_are_in_doubt(self, label, last, daily):
        halves = new_york(30, "09:30", last)
        files = {"h": self.hours, "m": halves} | ({"d": self.days} if daily else {})
        outcome, why, *_ = label(self.idea, **files)
        assert outcome == "open"
        assert "contradict" in why


class TestAWeekAmongDays:
    days: ClassVar = dict.fromkeys(("2024-01-03", "2024-01-04", "2024-01-05"), QUIET)
    week: ClassVar = {"2024-01-08": "100,106.5,99.5,106"}
    idea = "AAPL,long,100,106,97,2024-01-05T22:00:00+00:00"

    def test_a_bar_after_which_days_have_none_is_in_doubt(self, label):
        outcome, why, *_ = label(self.idea, d=self.days | self.week | {"2024-01-16": "106,106.4,105.5,106"})
        assert (outcome, why) == (
            "open",
            "no bars follow that of 2024-01-08 for days: it may be of more than its session",
        )

    @pytest.mark.parametrize(
        "after", [{}, {"2024-01-09": QUIET}, {"2024-01-11": QUIET}], ids=["none", "next", "a halt"]
    )
    def test_one_at_the_end_or_before_a_short_halt_is_none(self, label, after):
        assert label(self.idea, d=self.days | self.week | after)[0] == "win"
