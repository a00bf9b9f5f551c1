import random
from collections import Counter

import numpy as np
import pytest

from osiris.core.ideas import Reply, Side, parse_reply
from osiris.llm import starter_data as data
from osiris.policy import ShippedPolicy
from osiris.policy.contracts import Feature

RISING = [Feature("momentum", 1.0, 1.0), Feature("rsi", 10.0, 60.0), Feature("last", 0.2, 0.2)]
MIXED = [Feature("momentum", 1.0, 1.0), Feature("rsi", -10.0, 40.0), Feature("last", -0.2, 0.2)]


def reply(side="long", target=2.0, stop=1.0, rationale="momentum up, follow"):
    return Reply(ticker="AAPL", rationale=rationale, side=Side(side), target_atr=target, stop_atr=stop, confidence=0.5)


@pytest.mark.parametrize(
    ("side", "target", "stop", "market", "score"),
    [
        ("long", 3.0, 1.0, RISING, 10),
        ("long", 30 / 4, 1.0, RISING, 10),
        ("short", 1.0, 2.0, RISING, 0),
        ("short", 0.1, 2.0, RISING, 0),
        ("short", 3.0, 1.0, RISING, 5),
        ("long", 1.0, 2.0, RISING, 5),
        ("long", 2.0, 2.0, MIXED, 4),
        ("short", 2.0, 2.0, MIXED, 5),
    ],
)
def test_the_taught_score_is_half_reward_to_risk_and_half_agreement(side, target, stop, market, score):
    assert data.reference_score(reply(side, target, stop), market) == score


def test_the_taught_score_uses_all_eleven_numbers():
    rng = random.Random(0)
    used = Counter(int(data.random_judge_example(rng).answer) for _ in range(3000))
    assert sorted(used) == list(range(11))


def test_made_up_features_have_the_names_and_order_of_the_real_ones():
    bars = np.cumsum(np.random.default_rng(0).normal(size=100)) + 100
    real = ShippedPolicy().features(*((bars + shift).tolist() for shift in (1, -1, 0)), 2.0)
    for _ in range(200):
        made = data.random_features(random.Random(_))
        assert [feature.name for feature in made] == [feature.name for feature in real]
        assert all(feature.shown >= 0 for feature in made)
        assert made[1].direction == ("up" if made[1].shown >= 50 else "down")


def test_made_up_replies_are_coherent_valid_and_without_an_edge():
    rng = random.Random(0)
    drawn = []
    for _ in range(4000):
        market, ticker = data.random_features(rng), data.random_symbol(rng)
        drawn.append((data.random_reply(rng, ticker, market), market))
        assert parse_reply(drawn[-1][0].to_json(), ticker) == drawn[-1][0]
    assert all(data.is_coherent(*pair) for pair in drawn)
    for feature in range(3):
        agrees = np.mean([(made.side is Side.LONG) == (market[feature].value >= 0) for made, market in drawn])
        assert abs(agrees - 0.5) < 0.03


@pytest.mark.parametrize(
    ("rationale", "side", "coherent"),
    [
        ("momentum up, follow", "long", True),
        ("momentum up, fade", "short", True),
        ("rsi down, fade", "long", True),
        ("momentum up, follow", "short", False),
        ("momentum down, follow", "short", False),
        ("volume up, follow", "long", False),
        ("buy it", "long", False),
    ],
)
def test_a_reply_is_coherent_when_side_reason_and_snapshot_agree(rationale, side, coherent):
    assert data.is_coherent(reply(side, rationale=rationale), MIXED) is coherent


def test_made_up_symbols_have_every_form_and_at_most_fifteen_characters():
    rng = random.Random(0)
    symbols = {data.random_symbol(rng) for _ in range(2000)}
    assert {len(symbol) for symbol in symbols} == set(range(1, 16))
    assert all(any(mark in symbol for symbol in symbols) for mark in ("-", "^", "=", ".", "-USD"))


def test_a_judge_is_hinted_what_its_score_is_made_of():
    rng = random.Random(0)
    for _ in range(200):
        example = data.random_judge_example(rng)
        (side, agreeing), (distances, worth) = example.hints
        assert example.prompt.count(side) == example.prompt.count(distances) == 1
        assert abs(5 * int(worth) / 9 + 5 * int(agreeing) / 3 - int(example.answer)) <= 0.8
