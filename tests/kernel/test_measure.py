"""Better beyond chance at equal risk, or not, and what cannot be judged."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.core.errors import TooLittleData
from osiris.kernel.compare import OfferedIdeas, compare_policies, empty_trades, week_starts
from osiris.kernel.measure import Look, first_look, novelty_on_paper
from osiris.sandbox.session import CandidateFailed
from osiris.storage.tables import sql_time
from tests.builders import MOMENT, idea, make_settings, make_workspace

DAYS = 250
MOMENTS = [MOMENT + timedelta(days=number) for number in range(DAYS)]
OFFERED = OfferedIdeas(week_starts(MOMENTS), DAYS)
NUMBERS = np.arange(DAYS)


@pytest.fixture
def settings(tmp_path):
    return make_settings(tmp_path, "[rewards]\nmin_trades = 20\n")


def trades(r, kept=True, size=0.01):
    """What is let through of one idea a day, with outcomes `r`; each is closed after a day."""
    kept = np.broadcast_to(kept, len(r))
    numbers = {"size": size, "pnl": size * np.asarray(r), "novelty": 0.5, "latency_ms": 100.0, "days_open": 1.0}
    return pd.DataFrame({"at": pd.Series(MOMENTS[: len(r)]), **numbers})[kept & (np.asarray(size) > 0)]


def tossed(seed, mean=0.0):
    return np.random.default_rng(seed).choice((-1.0, 1.0), DAYS) + mean


def found(candidate, incumbent, settings, number=1):
    return compare_policies(candidate, incumbent, OFFERED, settings, first_look(settings, MOMENT, number))


def test_what_is_better_every_week_is_better_beyond_chance(settings):
    measured = found(trades(tossed(0, 0.4)), trades(tossed(0)), settings)
    assert measured.is_better
    assert measured.low > 0
    assert measured.gain == pytest.approx(0.4 * DAYS / len(OFFERED.weeks))
    assert measured.difference == pytest.approx(measured.candidate.total - measured.incumbent.total)
    assert measured.p_value < measured.level == settings.kernel.alpha / 4


def test_the_same_trades_are_not_better(settings):
    measured = found(trades(tossed(0)), trades(tossed(0)), settings)
    assert (measured.difference, measured.p_value, measured.is_better) == (0, 1, False)


def test_what_is_no_better_is_seldom_found_better(settings):
    times = [found(trades(tossed(s)), trades(tossed(1000 + s)), settings).is_better for s in range(40)]
    assert sum(times) <= 2


def test_each_further_patch_on_the_same_days_has_to_be_shown_better(settings):
    first, tenth = (found(trades(tossed(0, 0.4)), trades(tossed(0)), settings, look) for look in (1, 10))
    assert tenth.level < first.level / 50
    assert tenth.p_value == first.p_value


class TestNoGainByItself:
    """One idea a day that loses 0.2 R in the mean, or makes as much; outcomes do not depend on what is kept."""

    def test_twice_the_size(self, settings):
        wins = tossed(0, 0.4)
        measured = found(trades(wins, size=0.02), trades(wins), settings)
        assert (measured.gain, measured.p_value, measured.is_better) == (0, 1, False)
        assert measured.candidate.total == measured.incumbent.total

    @pytest.mark.parametrize("size", [0.005, 1e-9])
    def test_a_smaller_size_where_the_live_policy_loses(self, settings, size):
        losses = tossed(0, -0.2)
        measured = found(trades(losses, size=size), trades(losses), settings)
        assert (measured.gain, measured.is_better) == (pytest.approx(0), False)

    @pytest.mark.parametrize("candidate", [trades(tossed(0), size=0.0), trades(tossed(0), kept=False), empty_trades()])
    def test_no_risk_at_all(self, settings, candidate):
        with pytest.raises(CandidateFailed, match="20 trades that it lets through; got 0"):
            found(candidate, trades(tossed(0, -0.2)), settings)

    def test_fewer_trades_where_the_live_policy_loses(self, settings):
        losses = tossed(0, -0.2)
        assert not found(trades(losses, kept=NUMBERS % 2 == 0), trades(losses), settings).is_better

    def test_a_few_good_trades_of_many_that_pay(self, settings):
        wins = tossed(0, 0.4)
        best = NUMBERS % 7 == 0
        outcomes = np.where(best, 1.4, wins)
        measured = found(trades(outcomes, kept=best), trades(outcomes), settings)
        assert measured.gain < 0
        assert not measured.is_better


def test_a_gate_that_skips_losers_is_better_whether_the_live_policy_wins_or_loses(settings):
    bad = NUMBERS % 3 == 0
    for mean in (0.1, -0.15):
        outcomes = np.where(bad, -0.9, tossed(0) * 0.5 + mean + 0.3)
        assert found(trades(outcomes, kept=~bad), trades(outcomes), settings).is_better


def test_larger_sizes_where_it_pays_and_smaller_ones_where_not_are_better(settings):
    good = NUMBERS % 2 == 0
    outcomes = np.where(good, 0.8, -0.2) + 0.5 * tossed(0)
    measured = found(trades(outcomes, size=np.where(good, 0.015, 0.005)), trades(outcomes), settings)
    assert measured.is_better


class TestALivePolicyThatLetsTooLittleThrough:
    def test_does_not_keep_a_patch_that_makes_money_from_being_judged(self, settings):
        few = trades(tossed(1), kept=NUMBERS % 50 == 0)
        assert found(trades(tossed(0, 0.4)), few, settings).is_better
        assert found(trades(tossed(0, 0.4)), empty_trades(), settings).is_better

    def test_is_not_bettered_by_letting_through_what_makes_none(self, settings):
        assert not found(trades(tossed(0, -0.1)), empty_trades(), settings).is_better


class TestTooLittle:
    def test_ideas_are_no_verdict_and_too_few_that_pass_a_refusal(self, settings):
        few = trades(tossed(0), kept=NUMBERS < 19)
        with pytest.raises(CandidateFailed, match="20 trades that it lets through; got 19"):
            found(few, trades(tossed(0)), settings)
        with pytest.raises(TooLittleData, match="20 ideas; got 19"):
            compare_policies(few, few, OFFERED._replace(idea_count=19), settings, first_look(settings, MOMENT, 1))

    @pytest.mark.parametrize(("weeks", "enough"), [(13, False), (14, True)])
    def test_weeks_for_the_level_are_no_verdict(self, settings, weeks, enough):
        offered = OFFERED._replace(weeks=OFFERED.weeks[:weeks])
        short = trades(tossed(0, 0.4)[: weeks * 7 - 5])
        look = Look(MOMENT, MOMENTS[-1], 1, 0.0125)
        if enough:
            assert compare_policies(short, short, offered, settings, look).blocks == 7
        else:
            with pytest.raises(TooLittleData, match="14 weeks, 7 blocks"):
                compare_policies(short, short, offered, settings, look)


def test_no_warning_reaches_whoever_measures(settings, recwarn):
    found(trades(np.zeros(DAYS)), trades(np.zeros(DAYS)), settings)
    found(trades(np.ones(DAYS)), empty_trades(), settings)
    assert not recwarn.list


def test_novelty_on_paper_is_the_distance_that_drafting_takes_from_the_store(tmp_path):
    advice, rng = make_workspace(tmp_path).advice, np.random.default_rng(0)
    stored = [idea(number=n, as_of=MOMENT - timedelta(days=n // 3), vector=rng.random(16).tolist()) for n in range(30)]
    advice.add(stored)
    moments = pd.Series([row["as_of"] for row in stored], index=range(100, 130))
    same_elsewhere = stored[0]["vector"]
    vectors = [rng.random(16).tolist() for _ in stored[1:]] + [same_elsewhere]
    as_of = MOMENT - timedelta(days=2)
    measured = novelty_on_paper(moments, vectors, advice, as_of)
    for moment, vector, distance in zip(moments, vectors, measured, strict=True):
        where = f"as_of <= {sql_time(as_of)} AND as_of <> {sql_time(moment)}"
        assert advice.nearest_distances([vector], where) == [pytest.approx(distance, abs=1e-6)]
    known_later = novelty_on_paper(moments, vectors, advice, MOMENT)
    assert (measured[-1] > 0, known_later[-1]) == (True, 0)


def test_without_an_idea_of_another_moment_there_is_no_novelty(tmp_path):
    advice = make_workspace(tmp_path).advice
    for stored in ([], [idea()]):
        advice.add(stored)
        with pytest.raises(TooLittleData, match="earlier ideas to measure novelty by"):
            novelty_on_paper(pd.Series([MOMENT]), [[0.0] * 16], advice, MOMENT)
