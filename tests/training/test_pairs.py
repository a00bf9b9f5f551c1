"""The preference dataset: who is set against whom."""

import json
from collections import Counter
from datetime import timedelta

import pytest

from osiris.core.errors import TooLittleData
from osiris.core.ideas import Reply
from osiris.training.datasets import build_dataset, write_dataset
from osiris.training.pairs import load_accepted_ideas
from osiris.training.stored_replies import select_trainable
from tests.builders import MOMENT, idea, make_settings, make_store

CUTOFF = MOMENT + timedelta(days=10)
SMALL = "[training]\nmin_pairs = 1\nmin_examples = 1\n"


def reply(side="long", target=3.0, stop=1.5, ticker="AAPL"):
    return Reply(
        ticker=ticker, rationale=f"momentum up, {side}", side=side, target_atr=target, stop_atr=stop, confidence=0.6
    ).to_json()


def candidate(number, sample, side="long", end=None, **changes):
    """The `sample`-th idea of prompt `number`, closed at its target or stop three days on, or still open."""
    row = idea(number=number, side=side, reply=reply(side), **changes)
    row["id"] = f"{number:016x}{sample:016x}"
    if end:
        outcome = {"target": "win", "stop": "loss", "expiry": "win"}[end]
        closed = changes.get("closed_at", MOMENT + timedelta(days=3))
        row |= {
            "outcome": outcome,
            "exit_reason": end,
            "closed_at": closed,
            "ambiguous": changes.get("ambiguous", False),
        }
    return row


@pytest.fixture
def build(tmp_path):
    def from_rows(*rows, toml=SMALL, data="like"):
        store = make_store(tmp_path)
        store.add(rows)
        return build_dataset(store, make_settings(tmp_path, toml), CUTOFF, data)

    return from_rows


def test_a_winner_is_set_against_a_loser_of_its_prompt(build):
    (pair,) = build(candidate(1, 0, "long", "target"), candidate(1, 1, "short", "stop"))
    assert (pair.source, json.loads(pair.good_reply)["side"], json.loads(pair.bad_reply)["side"]) == (
        "outcome", "long", "short",
    )  # fmt: skip


def test_opposite_sides_are_preferred(build):
    same = candidate(1, 3, "long", "stop") | {"reply": reply("long", 2.0)}
    opposite = candidate(1, 4, "short", "stop")
    (pair,) = build(candidate(1, 0, "long", "target"), same, opposite)
    assert pair.bad_id == opposite["id"]


def test_of_several_like_couples_the_farthest_targets_are_taken_since_winners_have_near_ones(build):
    near = [candidate(1, 0, "long", "target", target=103.0), candidate(1, 1, "short", "stop", target=97.0)]
    far = [candidate(1, 2, "long", "target"), candidate(1, 3, "short", "stop")]
    (pair,) = build(*near, *far)
    assert (pair.good_id, pair.bad_id) == (far[0]["id"], far[1]["id"])


def test_a_near_target_is_not_preferred_to_a_far_one_for_being_near(build):
    far = candidate(1, 1, "short", "stop", target=80.0)
    with pytest.raises(TooLittleData):
        build(candidate(1, 0, "long", "target"), far)
    like = candidate(1, 2, "short", "stop", target=94.2)
    (pair,) = build(candidate(1, 0, "long", "target"), far, like)
    assert pair.bad_id == like["id"]


def test_a_partner_is_of_like_reward_to_risk(build):
    unlike = candidate(1, 0, "short", "stop", target=80.0)
    whole = [candidate(3, 0, "long", "target"), candidate(3, 1, "short", "stop")]
    pairs = build(candidate(2, 0, "long", "target"), unlike, *whole, toml=SMALL + "max_partner_share = 1.0\n")
    assert [(pair.source, pair.bad_id) for pair in pairs] == [
        ("outcome", whole[1]["id"]),
        ("partner", whole[1]["id"]),
    ]


@pytest.mark.parametrize(
    "loser",
    [
        candidate(1, 1, "short"),
        candidate(1, 1, "short", "stop", ambiguous=True),
        candidate(1, 1, "short", "stop", closed_at=CUTOFF + timedelta(seconds=1)),
        candidate(1, 1, "short", "expiry"),
        candidate(1, 1, "short", "stop", entry=100.5),
        candidate(1, 1, "long", "stop"),
    ],
    ids=["open", "ambiguous", "closed after the cut-off", "closed by expiry", "another entry", "the same text"],
)
def test_what_proves_nothing_makes_no_pair(build, loser):
    with pytest.raises(TooLittleData, match=r"at least 1 preferences .* got 0"):
        build(candidate(1, 0, "long", "target"), loser)


def test_an_edit_is_preferred_to_its_original(build):
    row = candidate(1, 0, status="edited", status_at=MOMENT, target=105.0)
    (pair,) = build(row)
    assert pair.source == "edit"
    assert (json.loads(pair.good_reply)["target_atr"], json.loads(pair.bad_reply)["target_atr"]) == (2.5, 3.0)


def test_an_approved_idea_is_preferred_to_a_rejected_one(build):
    yes = candidate(1, 0, "long", status="approved", status_at=MOMENT)
    (pair,) = build(yes, candidate(1, 1, "short", status="rejected", status_at=MOMENT))
    assert (pair.source, pair.good_id) == ("review", yes["id"])


def test_a_lonely_winner_gets_a_marked_partner_from_the_nearest_prompt_with_its_ticker(build):
    whole = [candidate(1, 0, "long", "target"), candidate(1, 1, "short", "stop")]
    lonely = candidate(2, 0, "long", "target", ticker="MSFT") | {"reply": reply("long", ticker="MSFT")}
    pairs = build(*whole, lonely, toml=SMALL + "max_partner_share = 1.0\n")
    assert [pair.source for pair in pairs] == ["outcome", "partner"]
    assert json.loads(pairs[1].bad_reply)["ticker"] == "MSFT"


def test_partners_are_capped(build):
    whole = [candidate(1, 0, "long", "target"), candidate(1, 1, "short", "stop")]
    lonely = [candidate(n, 0, "long", "target") for n in (2, 3, 4)]
    assert len(build(*whole, *lonely, toml=SMALL + "max_partner_share = 0.0\n")) == 1


def test_too_few_pairs_are_refused_with_both_numbers(build):
    with pytest.raises(TooLittleData, match=r"at least 8 .* got 1"):
        build(candidate(1, 0, "long", "target"), candidate(1, 1, "short", "stop"), toml="")


def test_the_file_has_exactly_the_three_keys_and_its_hash_beside_it(build, tmp_path):
    pairs = build(candidate(1, 0, "long", "target"), candidate(1, 1, "short", "stop"))
    path = tmp_path / "pairs.jsonl"
    about = write_dataset(path, pairs, CUTOFF, "like")
    assert [list(json.loads(line)) for line in path.read_text().splitlines()] == [["prompt", "good_reply", "bad_reply"]]
    assert json.loads(path.with_suffix(".json").read_text()) == about
    assert about["cutoff"] == CUTOFF.isoformat()
    assert write_dataset(path, pairs, CUTOFF, "like")["sha256"] == about["sha256"]


def test_feedback_becomes_examples_edits_as_corrected(tmp_path):
    store, settings = make_store(tmp_path), make_settings(tmp_path, SMALL)
    at = MOMENT + timedelta(hours=1)
    edited = candidate(1, 0, status="edited", status_at=at, target=104.0)
    kept = candidate(2, 0, status="approved", status_at=at)
    store.add([edited, kept, candidate(3, 0, status="rejected", status_at=at)])
    found, note = load_accepted_ideas(store, settings, MOMENT, CUTOFF)
    assert sorted(json.loads(row["trained_reply"])["target_atr"] for row in found) == [2.0, 3.0]
    assert note == ""
    with pytest.raises(TooLittleData):
        load_accepted_ideas(store, settings, at, CUTOFF)


# -- other methods ----------------------------------------------------------------------------------------------------


def test_single_replies_are_as_many_good_as_bad_at_each_reward_to_risk(build):
    near = [candidate(n, 0, "long", "target", target=103.0) for n in range(5)]
    far = [candidate(n, 1, "short", "stop") for n in range(4)]
    found = build(*near, *far, candidate(9, 0, "short", "stop", target=97.0), data="unpaired")
    assert sorted((single.label, single.id[-1]) for single in found) == [(False, "0"), (True, "0")]
    assert [list(single.line) for single in found] == [["prompt", "reply", "label"]] * 2


def test_winners_are_the_good_ones_of_those(build):
    rows = [candidate(1, 0, "long", "target"), candidate(2, 0, "short", "stop")]
    assert [single.id for single in build(*rows, data="winners")] == [rows[0]["id"]]


def test_ranked_couples_put_the_larger_r_first_and_are_drawn_by_how_far_apart_they_lie(build):
    rows = [
        candidate(n, sample, "long", end, r_multiple=r) | {"reply": reply("long", 1.0 + sample)}
        for n in range(200)
        for sample, (end, r) in enumerate([("stop", -1.0), ("expiry", -0.9), ("target", 2.0)])
    ]
    found = build(*rows, data="ranked")
    r_of = {row["id"]: row["r_multiple"] for row in rows}
    apart = [r_of[pair.good_id] - r_of[pair.bad_id] for pair in found]
    assert len(found) == 400
    assert min(apart) > 0
    assert sum(gap < 1 for gap in apart) < 20  # 0.1 apart against 2.9 and 3.0: about one draw in sixty
    assert found == build(*rows, data="ranked")


def test_too_few_lines_of_any_kind_are_refused(build):
    with pytest.raises(TooLittleData, match=r"at least 8 .* got 2"):
        build(candidate(1, 0, "long", "target"), candidate(2, 0, "short", "stop"), toml="", data="unpaired")


def test_ideas_that_an_adapter_learned_from_are_no_examples_again(tmp_path):
    store, settings, at = make_store(tmp_path), make_settings(tmp_path, SMALL), MOMENT + timedelta(hours=1)
    rows = [candidate(number, 0, status="approved", status_at=at) for number in (1, 2)]
    store.add(rows)
    found, _ = load_accepted_ideas(
        store, settings, None, CUTOFF, lambda idea, decided: idea == rows[0]["id"] and decided == at
    )
    assert [row["id"] for row in found] == [rows[1]["id"]]


# -- what an idea teaches ---------------------------------------------------------------------------------------------

WRITTEN = (
    '{"ticker": "AAPL","rationale":"momentum up \u2014 \\u00e9 \\"target_atr\\":9 follow","side":"long",'
    '"target_atr":2,"stop_atr": 1.25,"confidence":0.60}'
)
"""A reply in a way of writing of its own."""


def taught(**changes):
    """What an idea drafted as `WRITTEN` teaches (price 100, ATR 2), and why not."""
    drafted = {"entry": 100.0, "target": 104.0, "stop": 97.5, "status": "edited", "reply": WRITTEN}
    left_out = Counter()
    rows = select_trainable([idea(**drafted | changes)], left_out)
    return (rows[0]["trained_reply"] if rows else None), dict(left_out)


@pytest.mark.parametrize(
    ("changes", "old", "new"),
    [
        ({"confidence": 0.75}, '"confidence":0.60', '"confidence":0.75'),
        ({"confidence": 0.7}, '"confidence":0.60', '"confidence":0.70'),
        ({"confidence": 1.0}, '"confidence":0.60', '"confidence":1.00'),
        ({"target": 106.0}, '"target_atr":2,', '"target_atr":3,'),
        ({"target": 105.0}, '"target_atr":2,', '"target_atr":2.5,'),
        ({"stop": 97.0}, '"stop_atr": 1.25', '"stop_atr": 1.50'),
        ({"stop": 97.0, "target": 140.0}, '"target_atr":2,"stop_atr": 1.25', '"target_atr":20,"stop_atr": 1.50'),
        ({"status": "approved", "target": 106.0}, "", ""),
    ],
)
def test_an_edit_changes_what_was_edited_and_no_other_character(changes, old, new):
    assert taught(**changes) == (WRITTEN.replace(old, new, 1), {})


def test_a_short_stop_that_was_drafted_stays_when_the_confidence_is_edited():
    drafted = WRITTEN.replace("1.25", "0.03")
    assert taught(reply=drafted, stop=99.94, confidence=0.9) == (drafted.replace("0.60", "0.90"), {})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"entry": 95.0, "target": 105.0, "stop": 93.0}, "an edited entry"),
        ({"entry": 96.0, "target": 138.0, "stop": 94.0}, "an edited entry"),
        ({"target": 141.0}, "an edit that a reply cannot say"),
        ({"stop": 99.999}, "an edit that a reply cannot say"),
        ({"confidence": None}, "missing or no numbers"),
        ({"confidence": float("nan")}, "missing or no numbers"),
        ({"atr": None}, "missing or no numbers"),
        ({"atr": 0.0}, "missing or no numbers"),
        ({"price": float("nan")}, "missing or no numbers"),
        ({"target": None}, "missing or no numbers"),
        ({"stop": float("inf")}, "missing or no numbers"),
        ({"status": "approved", "stop": 100.0}, "levels that make no trade"),
        ({"status": "approved", "target": 99.0}, "levels that make no trade"),
        ({"reply": "{broken"}, "no valid reply"),
        ({"reply": None}, "no valid reply"),
        ({"reply": "[" * 50_000}, "no valid reply"),
        ({"reply": WRITTEN.replace('"side":"long"', '"side":"short"')}, "no valid reply"),
        ({"ticker": "IBM"}, "no valid reply"),
        ({"prompt": None}, "no prompt"),
        ({"prompt": ""}, "no prompt"),
    ],
)
def test_what_a_reply_cannot_tell_teaches_nothing_and_is_counted(changes, reason):
    told, left_out = taught(**changes)
    assert told is None
    assert [(reason in why, count) for why, count in left_out.items()] == [(True, 1)]


@pytest.mark.parametrize("status", ["approved", "edited", "rejected", "pending"])
@pytest.mark.parametrize("data", ["like", "ranked", "unpaired", "winners"])
def test_rows_of_any_make_leave_the_lines_of_the_others_as_they_are(build, data, status):
    good = [candidate(1, 0, "long", "target", r_multiple=2.0), candidate(1, 1, "short", "stop", r_multiple=-1.0)]
    ended = {"outcome": "win", "exit_reason": "target", "closed_at": MOMENT, "ambiguous": False}
    odd = [{"reply": "{"}, {"atr": None}, {"stop": 100.0}, {"closed_at": None}, {"ambiguous": None}, {"entry": None}]
    odd += [{"r_multiple": None}, {"target": 99.0}, {"prompt": None}, {"price": None}]
    rows = [
        candidate(2, n, status=status, status_at=MOMENT, target=141.0) | ended | change for n, change in enumerate(odd)
    ]
    found = build(*good, *rows, data=data)
    assert found[0].prompt == good[0]["prompt"]
    assert len(found) == (2 if data == "unpaired" else 1)


def test_a_price_of_many_decimals_is_still_the_entry(build):
    price = {"price": 99.9999999, "entry": 100.0}
    (pair,) = build(candidate(1, 0, "long", "target", **price), candidate(1, 1, "short", "stop", **price))
    assert pair.source == "outcome"


def test_an_outcome_does_not_teach_by_an_edit_made_after_the_cut_off(build):
    late = {"status": "edited", "status_at": CUTOFF + timedelta(seconds=1)}
    with pytest.raises(TooLittleData):
        build(candidate(1, 0, "long", "target", **late), candidate(1, 1, "short", "stop"))
