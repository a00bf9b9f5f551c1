"""Bars that are lacking inside a session: what is said without them never contradicts what is true with them.

Hourly bars of Friday 2005-02-25, seven, and of Monday 2005-02-28, on XNYS; longs and shorts from 100.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.config.settings import OutcomesSettings
from osiris.labeling.label import label_frame
from osiris.market.bar_frames import to_bar_arrays
from osiris.market.calendars import daily_frame, intraday_frame
from osiris.market.gaps import fill_missing
from osiris.market.timeline import TimelineSources, build_timeline
from tests.labeling import tick_reference as ticks

OPEN = pd.Timestamp("2005-02-25 14:30", tz="UTC")
MONDAY = pd.Timestamp("2005-02-28 14:30", tz="UTC")
STARTS = pd.DatetimeIndex([day + pd.Timedelta(hours=n) for day in (OPEN, MONDAY) for n in range(7)])
DAYS = pd.DatetimeIndex(["2005-02-24", "2005-02-25", "2005-02-28"])
AS_OF = datetime(2005, 2, 28, 21, tzinfo=UTC)
FIRST = datetime(2005, 2, 24, tzinfo=UTC)
NAMES = ["open", "high", "low", "close"]
QUIET = (100, 100.5, 99.5, 100)
NOON = "2005-02-25 15:30"


def day_of(hours):
    """The daily bar of hours (open, high, low, close)."""
    return (hours[0][0], max(h[1] for h in hours), min(h[2] for h in hours), hours[-1][3])


def lay(hours, lacking=(), day=None):
    """The timeline of two days of hours without those numbered in `lacking`."""
    kept = [n for n in range(len(hours)) if n not in lacking]
    values = pd.DataFrame([hours[n] for n in kept], columns=NAMES, dtype=float)
    finer = {"60m": intraday_frame(STARTS[kept], values, "XNYS", "60m", "test")}
    rows = [QUIET, day or day_of(hours[:7]), day_of(hours[7:])]
    daily = daily_frame(DAYS, pd.DataFrame(rows, columns=NAMES, dtype=float), "XNYS", "test")
    return build_timeline(TimelineSources(daily, finer), "XNYS", FIRST, AS_OF)


def judged(line, ideas, rules=None):
    """The verdicts on (side, target, stop, since, closed by hand at or None), in their order."""
    rows = [
        {"id": f"{n:06}", "ticker": "AAPL", "side": side, "entry": 100.0, "target": float(target), "stop": float(stop),
         "as_of": FIRST + timedelta(hours=21), "since": pd.Timestamp(since, tz="UTC"),
         "close_asked_at": pd.Timestamp(asked, tz="UTC") if asked else pd.NaT, "close_asked_price": np.nan}
        for n, (side, target, stop, since, asked) in enumerate(ideas)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    for name in ("as_of", "since", "close_asked_at"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
    return label_frame(frame, {"AAPL": line}, rules or OutcomesSettings(), AS_OF).sort_values("id", ignore_index=True)


def one(hours, lacking, *, side="long", since=NOON, mirrored=False, day=None):
    """Outcome, exit reason and doubt of a long 100 / 106 / 97, or of its mirror image on mirrored prices."""
    if mirrored:
        hours = [mirror(bar) for bar in hours]
        day, side = day and mirror(day), "short"
    levels = (106, 97) if side == "long" else (94, 103)
    row = judged(lay(hours, lacking, day), [(side, *levels, since, None)]).iloc[0]
    return row.outcome, row.exit_reason, row.ambiguous


def mirror(bar):
    opened, high, low, close = bar
    return 200 - opened, 200 - low, 200 - high, 200 - close


def friday(**hours):
    """Quiet hours but those named `h0` to `h6`, and a quiet Monday."""
    return [hours.get(f"h{n}", QUIET) for n in range(7)] + [QUIET] * 7


STOPPED, TARGET = (100, 100.2, 96.5, 99.8), (100, 107, 99.9, 106)
LOW_BEFORE, HIGH_BEFORE = (100, 101, 95, 99.5), (100, 107, 99.5, 100.5)


@pytest.mark.parametrize("mirrored", [False, True], ids=["long", "short"])
class TestOneHourLacking:
    def test_a_stop_that_may_have_traded_in_it_is_a_loss_in_doubt(self, mirrored):
        hours = friday(h0=LOW_BEFORE, h2=STOPPED, h4=TARGET)
        assert one(hours, (), mirrored=mirrored) == ("loss", "stop", False)
        assert one(hours, (2,), mirrored=mirrored) == ("loss", "stop", True)

    def test_a_target_that_may_have_traded_in_it_leaves_a_doubt_about_a_later_loss(self, mirrored):
        hours = friday(h0=HIGH_BEFORE, h2=TARGET, h4=(100, 100.2, 96, 97))
        assert one(hours, (), mirrored=mirrored) == ("win", "target", False)
        assert one(hours, (2,), mirrored=mirrored) == ("loss", "stop", True)

    def test_a_target_that_must_have_traded_in_it_is_a_win(self, mirrored):
        assert one(friday(h3=TARGET), (3,), mirrored=mirrored) == ("win", "target", False)

    def test_a_high_that_a_known_hour_reached_too_but_for_noise_proves_nothing(self, mirrored):
        hours = friday(h1=(100, 105.8, 99.5, 100), h3=(100, 106.2, 99.9, 100))
        assert one(hours, (3,), mirrored=mirrored)[0] == "open"

    def test_a_new_low_below_the_stop_is_a_loss_though_nobody_knows_its_price(self, mirrored):
        assert one(friday(h3=STOPPED), (3,), mirrored=mirrored) == ("loss", "stop", True)

    def test_before_acceptance_it_does_no_harm(self, mirrored):
        hours = friday(h0=LOW_BEFORE, h4=TARGET)
        assert one(hours, (0,), since="2005-02-25 16:30", mirrored=mirrored) == ("win", "target", False)
        assert one(hours, (0, 1), since="2005-02-25 16:30", mirrored=mirrored) == ("win", "target", False)

    def test_at_the_end_of_the_day_the_close_still_counts(self, mirrored):
        assert one(friday(h6=TARGET), (6,), mirrored=mirrored) == ("win", "target", False)
        assert one(friday(h0=LOW_BEFORE, h6=TARGET), (6,), mirrored=mirrored) == ("loss", "stop", True)

    def test_whole_hours_after_it_are_used(self, mirrored):
        hours = friday(h1=(104, 105, 103, 104), h2=(104, 105, 103, 104), h3=(104, 105, 103, 104), h5=TARGET)
        assert one(hours, (2,), mirrored=mirrored)[:2] == ("win", "target")


@pytest.mark.parametrize("mirrored", [False, True], ids=["long", "short"])
def test_of_several_gaps_none_must_have_had_the_high_of_the_day(mirrored):
    assert one(friday(h3=TARGET), (3, 5), mirrored=mirrored)[0] == "open"
    assert one(friday(h0=LOW_BEFORE, h3=QUIET), (3, 5), mirrored=mirrored) == ("loss", "stop", True)


def test_an_entry_that_may_have_traded_in_a_gap_leaves_all_that_follows_in_doubt():
    above = (103, 104, 102, 103)
    hours = [above] * 3 + [(103, 104, 99, 103)] + [above] * 3 + [(103, 107, 102, 106)] + [above] * 6
    assert one(hours, ())[0] == "win"
    assert one(hours, (3,))[0] == "open", "whether there was a trade is not known"
    sunk = hours[:7] + [(96, 96.5, 95, 96)] * 7
    assert one(sunk, (3,)) == ("loss", "stop", True)


def test_hours_that_leave_the_range_of_the_day_are_held_back_though_some_are_lacking():
    wild = friday(h4=(100, 130, 99, 100))
    outcome, _, _ = one(wild, (2,), day=(100, 101, 99, 100))
    assert outcome == "open"


def test_minutes_fill_the_gaps_between_hours():
    hours = intraday_frame(STARTS[[0, 2]], pd.DataFrame([QUIET] * 2, columns=NAMES, dtype=float), "XNYS", "60m", "t")
    quarters = pd.date_range(OPEN, periods=16, freq="15min")
    fine = intraday_frame(quarters, pd.DataFrame([QUIET] * 16, columns=NAMES, dtype=float), "XNYS", "15m", "t")
    both = fill_missing(to_bar_arrays(hours), to_bar_arrays(fine))
    minutes = ((both.end - both.start) // 60_000_000_000).tolist()
    assert minutes == [60, 15, 15, 15, 15, 60, 15, 15, 15, 15]


def market(rng, jumpy):
    """Fourteen hours near 100, opening where the last closed or, if `jumpy`, anywhere."""
    hours, last = [], 100
    for _ in range(14):
        opened = int(rng.integers(95, 106)) if jumpy else last
        last = int(np.clip(opened + rng.integers(-4, 5), 90, 110))
        up, down = rng.integers(0, 4, 2)
        hours.append((opened, max(opened, last) + int(up), min(opened, last) - int(down), last))
    return hours


def drawn(rng, count):
    """Ideas accepted inside of Friday, some closed by hand on Friday or Monday."""
    found = []
    for _ in range(count):
        sign = 1 if rng.random() < 0.5 else -1
        far, near = rng.integers(2, 9, 2)
        since = OPEN + pd.Timedelta(minutes=int(rng.integers(1, 389)))
        asked = since + pd.Timedelta(minutes=int(rng.integers(1, 500))) if rng.random() < 0.3 else None
        asked = asked and str(asked.tz_localize(None))
        side = "long" if sign > 0 else "short"
        found.append((side, 100 + sign * far, 100 - sign * near, str(since.tz_localize(None)), asked))
    return found


def truth(hours, idea):
    """What every tick order of the whole hours says: the worst end."""
    side, target, stop, since, asked = idea
    ends = [start + pd.Timedelta(minutes=30 if n % 7 == 6 else 60) for n, start in enumerate(STARTS)]
    bars = [ticks.Bar(s.value, e.value, *bar) for s, e, bar in zip(STARTS, ends, hours, strict=True)]
    moment = pd.Timestamp(asked, tz="UTC").value if asked else None
    end, _ = ticks.worst_ending(
        bars,
        ticks.Idea(1 if side == "long" else -1, 100, target, stop, pd.Timestamp(since, tz="UTC").value, moment),
    )
    if end.what != ticks.CLOSED:
        return end.what if end.what in (ticks.WIN, ticks.LOSS) else "open"
    r = (1 if side == "long" else -1) * (end.price - 100) / abs(100 - stop)
    return "breakeven" if abs(r) <= 0.05 else "win" if r > 0 else "loss"


def test_whatever_bars_are_lacking_nothing_is_said_without_doubt_that_the_whole_truth_denies(cases):
    rng = np.random.default_rng(7)
    seen = []
    while len(seen) < cases // 40:
        jumpy = rng.random() < 0.5
        hours = market(rng, jumpy)
        lacking = set(np.flatnonzero(rng.random(14) < rng.choice([0.1, 0.4, 0.7])).tolist())
        if jumpy:  # Monday's daily bar holds prices that its hours jumped over
            lacking &= set(range(7))
        if not lacking or set(range(7)) <= lacking:
            continue
        ideas = drawn(rng, 10)
        rows = judged(lay(hours, lacking), ideas)
        for idea, outcome, ambiguous, reason in zip(
            ideas, rows["outcome"], rows["ambiguous"], rows["exit_reason"], strict=True
        ):
            seen.append((outcome, ambiguous))
            if outcome != "open" and not ambiguous:
                assert outcome == truth(hours, idea), (hours, lacking, idea, reason)
    kinds = set(seen)
    assert {("win", False), ("win", True), ("loss", False), ("loss", True), ("open", None)} <= kinds
