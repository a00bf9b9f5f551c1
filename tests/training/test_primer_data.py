"""Made-up situations: balanced, coherent, and different from seed to seed."""

import random
from collections import Counter

import pytest

from osiris.config.settings import Settings
from osiris.core.ideas import Reply, Side, parse_reply
from osiris.training.primer_data import draw_replies, find_facts, is_reason_coherent, make_situations


@pytest.fixture(scope="module")
def situations():
    return make_situations(Settings(), 3, 40, len)


@pytest.fixture(scope="module")
def longer():
    """Situations whose prompts may be as long as they like."""
    settings = Settings(context={"max_tokens": 100_000})
    return make_situations(settings, 3, 40, len)


def test_each_fact_is_a_reason_to_buy_once_and_to_sell_once(longer):
    for one in longer:
        reasons = Counter(reply.rationale.partition(",")[0] for reply in one.replies)
        assert {*reasons.values()} == {2}
        assert sum(reply.side is Side.LONG for reply in one.replies) * 2 == len(one.replies) == 6


def test_every_reply_is_valid_and_its_side_agrees_with_a_reason_that_fits(longer):
    for one in longer:
        for reply in one.replies:
            assert parse_reply(reply.to_json(), one.snapshot.ticker) == reply
            assert is_reason_coherent(reply, one.snapshot.text)


def test_all_blocks_are_shown_in_some_prompts_and_left_out_of_others(longer):
    shown = Counter(block for one in longer for block in one.snapshot.blocks)
    assert shown["features"] == 40
    assert all(
        0 < shown[block] < 40 for block in ("trend", "levels", "notes", "memory", "bars", "strength", "examples")
    )


def test_the_same_seed_gives_the_same_situations_and_another_others(longer):
    again, other = (make_situations(Settings(context={"max_tokens": 100_000}), seed, 5, len) for seed in (3, 4))
    assert [one.snapshot.prompt for one in again] == [one.snapshot.prompt for one in longer[:5]]
    assert [one.replies for one in again] == [one.replies for one in longer[:5]]
    assert other[0].snapshot.prompt != again[0].snapshot.prompt


def test_a_workspaces_own_templates_are_not_taught(tmp_path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "advise.jinja").write_text("{{ ticker }}?")
    assert "Draft one trade idea" in make_situations(Settings(workspace=tmp_path), 0, 1, len)[0].snapshot.prompt


TEXT = "momentum up 1.2\ntrend_20 down 0.4\nlargest gap up 2.0, 3 sessions ago, open"


def test_facts_are_whole_lines_of_a_name_a_direction_and_a_number():
    assert find_facts(TEXT) == {"momentum": "up", "trend_20": "down"}


@pytest.mark.parametrize(
    ("rationale", "side", "coherent"),
    [
        ("momentum up, buy", "long", True),
        ("momentum up, sell", "short", True),
        ("trend_20 down, sell", "short", True),
        ("trend_20 down, buy", "long", True),
        ("momentum up, buy", "short", False),
        ("momentum down, sell", "short", False),
        ("volume up, buy", "long", False),
        ("momentum up", "long", False),
        ("momentum up, buy it", "long", False),
    ],
)
def test_a_reason_fits_if_its_fact_is_shown_and_its_side_agrees(rationale, side, coherent):
    reply = Reply(ticker="A", rationale=rationale, side=side, target_atr=2, stop_atr=1, confidence=0.5)
    assert is_reason_coherent(reply, TEXT) is coherent


def test_a_prompt_with_one_fact_has_two_replies(situations):
    from dataclasses import replace

    shot = replace(situations[0].snapshot, text="momentum up 1.2")
    assert [reply.side for reply in draw_replies(random.Random(0), shot)] == [Side.LONG, Side.SHORT]
