"""A market with a planted edge: what it promises of its features, its runs, and that nothing else is in it."""

import numpy as np
import pytest

from osiris.drafting.snapshot import take_snapshot
from osiris.market.bar_jumps import find_jumps
from osiris.market.calendars import PRICE_COLUMNS, non_session_dates
from osiris.market.synthetic import (
    EDGE_FEATURES,
    EDGE_RULES,
    EDGES,
    EXPECTED_ATR,
    RUN_SESSIONS,
    SESSION_VOLATILITY,
    Market,
)
from osiris.policy import ShippedPolicy


def looked_at(market):
    """Signs of the features at every moment, shape (n, 3), and the log return of the run that follows, shape (n,)."""
    bars = market.generate_bars()
    signs, runs = [], []
    for moment in market.draft_moments:
        for ticker in market.names:
            shot = take_snapshot(ticker, bars[ticker], moment, ShippedPolicy())
            at = int((bars[ticker]["end"] <= moment).sum()) - 1
            closes = bars[ticker]["close"].to_numpy()
            runs.append(np.log(closes[at + RUN_SESSIONS] / closes[at]))
            signs.append([1 if feature.value >= 0 else -1 for feature in shot.features])
    return np.array(signs), np.array(runs)


@pytest.fixture(scope="module", params=EDGES)
def edge(request):
    return request.param


@pytest.fixture(scope="module")
def seen(edge):
    return looked_at(Market(edge, 3, 60, 6, 0.2))


def test_features_point_up_or_down_by_fair_and_independent_coins(seen):
    signs, _ = seen
    assert np.abs(signs.mean(axis=0)).max() < 4 / np.sqrt(len(signs))
    assert np.abs(np.corrcoef(signs.T) - np.eye(3)).max() < 4 / np.sqrt(len(signs))


def test_the_runs_drift_is_told_by_one_feature_and_by_no_other(edge, seen):
    signs, runs = seen
    feature, sign = EDGE_RULES[edge]
    error = SESSION_VOLATILITY * np.sqrt(RUN_SESSIONS / len(runs))
    planted = 0.2 * EXPECTED_ATR * RUN_SESSIONS
    for number, name in enumerate(EDGE_FEATURES):
        told = np.mean(signs[:, number] * runs)
        expected = sign * planted if name == feature else 0.0
        assert abs(told - expected) < 4 * error + abs(planted) * 4 / np.sqrt(len(runs)) * (name != feature)


def test_bars_are_whole_without_gaps_and_look_like_no_split(edge):
    market = Market(edge, 1, 4, 3, 0.2)
    for bars in market.generate_bars().values():
        assert len(bars) == market.session_count
        assert not len(
            non_session_dates(
                "XNYS", bars["start"].dt.tz_convert("America/New_York").dt.tz_localize(None).dt.normalize()
            )
        )
        prices = bars[list(PRICE_COLUMNS)]
        assert (bars["high"] == prices.max(axis=1)).all()
        assert (bars["low"] == prices.min(axis=1)).all()
        assert bars["open"].to_numpy()[1:].tolist() == bars["close"].to_numpy()[:-1].tolist()
        assert find_jumps(bars).empty


def test_the_same_seed_gives_the_same_bars_and_another_seed_others():
    one, again, other = (Market("momentum", seed, 3, 2, 0.2).generate_bars() for seed in (5, 5, 6))
    assert all(one[name].equals(again[name]) for name in one)
    assert not one["P000"].equals(other["P000"])


def test_the_features_are_known_before_the_run_begins():
    market = Market("reversal", 2, 2, 2, 0.2)
    bars = market.generate_bars()["P001"]
    moment = market.draft_moments[0]
    known = bars[bars["end"] <= moment]
    assert take_snapshot("P001", bars, moment, ShippedPolicy()) == take_snapshot("P001", known, moment, ShippedPolicy())
