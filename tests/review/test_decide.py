"""A person's decision: checked against the idea, the deadline and the levels before it is stored, once."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from osiris.core.commands import Feedback
from osiris.core.errors import BadInput, Conflict, NotFound
from osiris.review.decide import adjust_levels, decide, to_stored_time
from tests.builders import MOMENT, idea, make_settings, make_store

NOW = MOMENT + timedelta(hours=2)


@pytest.fixture
def settings(tmp_path):
    return make_settings(tmp_path)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


def feedback(row, kind="approval", **content):
    return Feedback(
        transaction_id=row["id"],
        feedback_type=kind,
        feedback_content={"reviewer": "ann", **content},
        timestamp=NOW - timedelta(seconds=1),
    )


def stored(store, **changes):
    row = idea(**changes)
    store.add([row])
    return row


def test_an_approval_accepts_the_idea_as_drafted(store, settings):
    row = stored(store)
    decided = decide(store, feedback(row), "key", settings, NOW)
    changed = {"status": "approved", "status_at": NOW, "reviewer": "ann", "shadow": False}
    assert decided | {"vector": None} == row | changed | {"vector": None}


def test_a_rejection_leaves_the_idea_to_be_followed_as_a_shadow(store, settings):
    decided = decide(store, feedback(stored(store), "rejection", comment="no"), "key", settings, NOW)
    assert (decided["status"], decided["shadow"]) == ("rejected", True)


@pytest.mark.parametrize("content", [{"target": 106.0}, {"confidence": 0.6}, {"stop": 97.0, "confidence": 0.6}])
def test_an_edit_that_changes_nothing_is_refused(store, settings, content):
    with pytest.raises(BadInput, match="an edit that changes something"):
        decide(store, feedback(stored(store), "human_edit", **content), "key", settings, NOW)
    assert store.feedback() == []


def test_an_edit_changes_what_it_names_and_accepts_the_idea(store, settings):
    row = stored(store)
    decided = decide(store, feedback(row, "human_edit", target=108.0, confidence=0.9), "key", settings, NOW)
    changed = {"status": "edited", "target": 108.0, "confidence": 0.9, "shadow": False}
    assert {name: decided[name] for name in changed} == changed
    assert (decided["entry"], decided["stop"]) == (row["entry"], row["stop"])


@pytest.mark.parametrize("kind", ["approval", "rejection"])
def test_a_confidence_is_adjusted_by_an_edit_alone(store, settings, kind):
    row = stored(store)
    with pytest.raises(BadInput, match=r"to stay at 0\.6; got 0\.9; send it as an edit"):
        decide(store, feedback(row, kind, confidence=0.9), "key", settings, NOW)
    assert (store.get(row["id"])["status"], store.feedback()) == ("pending", [])
    assert decide(store, feedback(row, kind, confidence=0.6), "key", settings, NOW)["confidence"] == 0.6


def test_the_feedback_row_says_who_asked_for_what_and_when(store, settings):
    row = stored(store)
    decide(store, feedback(row, "human_edit", stop=96.0, comment="wider"), "key", settings, NOW)
    (given,) = store.feedback()
    content = json.loads(given.pop("feedback_content"))
    assert given == {
        "idempotency_key": "key",
        "transaction_id": row["id"],
        "feedback_type": "human_edit",
        "action": "edited",
        "reviewer": "ann",
        "schema_version": "1.0",
        "timestamp": NOW - timedelta(seconds=1),
        "ts": NOW,
        "original": json.dumps({name: row[name] for name in ("entry", "target", "stop", "confidence")}),
    }
    assert content == {"reviewer": "ann", "stop": 96.0, "comment": "wider"}


@pytest.mark.parametrize("kind", ["approval", "rejection"])
def test_an_idea_drafted_at_the_farthest_levels_can_be_decided_on(store, settings, kind):
    row = stored(store, target=140.0000004, stop=59.9999996)
    assert decide(store, feedback(row, kind), "key", settings, NOW)["status"] != "pending"


@pytest.mark.parametrize(("side", "ok", "far"), [("long", 140.0, 140.01), ("short", 60.0, 59.99)])
def test_a_level_may_be_moved_up_to_twenty_atr_from_the_last_price(side, ok, far):
    row = idea(side=side)
    assert adjust_levels(row, feedback(row, "human_edit", target=ok)).target == ok
    with pytest.raises(BadInput, match=r"target within 20 ATR of the last price 100; got .*, 20\.0 ATR away"):
        adjust_levels(row, feedback(row, "human_edit", target=far))


@pytest.mark.parametrize(("name", "ok", "near"), [("stop", 99.89, 99.91), ("target", 100.11, 100.09)])
def test_a_level_keeps_a_twentieth_of_an_atr_from_the_entry(name, ok, near):
    row = idea()  # its ATR is 2
    assert getattr(adjust_levels(row, feedback(row, "human_edit", **{name: ok})), name) == ok
    with pytest.raises(BadInput, match=rf"{name} at least 0.05 ATR from the entry 100; got 0.045 ATR"):
        adjust_levels(row, feedback(row, "human_edit", **{name: near}))


@pytest.mark.parametrize(
    ("side", "levels"),
    [
        ("long", {"stop": 100.0}),
        ("long", {"stop": 101.0}),
        ("long", {"target": 99.0}),
        ("long", {"entry": 107.0}),
        ("short", {"stop": 99.0}),
        ("short", {"target": 101.0}),
        ("short", {"entry": 93.0}),
    ],
)
def test_levels_on_the_wrong_side_make_no_trade(store, settings, side, levels):
    row = stored(store, side=side)
    with pytest.raises(BadInput, match=f"a {side} idea needs"):
        decide(store, feedback(row, "human_edit", **levels), "key", settings, NOW)
    assert store.get(row["id"])["status"] == "pending"
    assert store.feedback() == []


def test_an_unknown_idea_is_not_found(store, settings):
    with pytest.raises(NotFound):
        decide(store, feedback({"id": "nobody's"}), "key", settings, NOW)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(days=3)])
def test_nobody_decides_after_the_review_deadline(store, settings, late):
    row = stored(store)
    deadline = row["as_of"] + timedelta(hours=settings.review.deadline_hours)
    with pytest.raises(Conflict, match="draft anew"):
        decide(store, feedback(row), "key", settings, deadline + late)
    assert store.get(row["id"])["status"] == "pending"
    assert decide(store, feedback(row), "key", settings, deadline - timedelta(seconds=1))["status"] == "approved"


def test_the_deadline_is_a_setting(store, tmp_path):
    row = stored(store)
    strict = make_settings(tmp_path, "[review]\ndeadline_hours = 1.5\n")
    with pytest.raises(Conflict, match="a decision before 2005-02-25T22:30:00"):
        decide(store, feedback(row), "key", strict, NOW)


def test_nobody_decides_before_the_idea_existed(store, settings):
    row = stored(store)
    with pytest.raises(BadInput, match="check the clock"):
        decide(store, feedback(row), "key", settings, MOMENT - timedelta(seconds=1))


def test_a_repeat_is_the_same_decision_even_after_the_deadline(store, settings):
    row = stored(store)
    edit = feedback(row, "human_edit", target=108.0)
    first = decide(store, edit, "key", settings, NOW)
    assert decide(store, edit, "key", settings, NOW + timedelta(days=9)) == first
    assert len(store.feedback()) == 1


def test_a_late_second_reviewer_hears_of_the_first_rather_than_of_the_deadline(store, settings):
    row = stored(store)
    decide(store, feedback(row), "key", settings, NOW)
    with pytest.raises(Conflict, match="approved by ann"):
        decide(store, feedback(row, "rejection", reviewer="bob"), "other", settings, NOW + timedelta(days=9))


def test_a_moment_is_stored_in_utc_and_one_that_has_none_is_refused():
    moment = datetime(2005, 2, 25, 16, tzinfo=timezone(timedelta(hours=-5)))
    assert to_stored_time(moment) == MOMENT
    assert to_stored_time(moment).tzinfo is UTC
    with pytest.raises(BadInput):
        to_stored_time(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))


@pytest.mark.parametrize(
    ("side", "levels", "named"),
    [
        ("long", {"entry": 96.0, "target": 138.0, "stop": 94.0}, "target within 20 ATR of the entry 96; got 21.0 ATR"),
        ("long", {"entry": 138.0, "target": 139.0}, "stop within 20 ATR of the entry 138; got 20.5 ATR"),
        ("short", {"entry": 104.0, "target": 63.0, "stop": 105.0}, "target within 20 ATR of the entry 104; got 20.5"),
    ],
)
def test_target_and_stop_keep_within_what_a_reply_may_say_from_the_entry(store, settings, side, levels, named):
    row = stored(store, side=side)
    with pytest.raises(BadInput, match=named):
        decide(store, feedback(row, "human_edit", **levels), "key", settings, NOW)
    assert store.get(row["id"])["status"] == "pending"


def test_a_stop_can_be_edited_of_an_idea_drafted_at_the_farthest_target(store, settings):
    row = stored(store, target=140.0000004)
    assert decide(store, feedback(row, "human_edit", stop=96.0), "key", settings, NOW)["stop"] == 96.0


@pytest.mark.parametrize("atr", [None, 0.0])
def test_levels_of_an_idea_without_an_atr_are_not_edited_and_it_can_be_approved(store, settings, atr):
    row = stored(store, atr=atr)
    with pytest.raises(BadInput, match="an idea with atr above 0"):
        decide(store, feedback(row, "human_edit", target=107.0), "key", settings, NOW)
    assert decide(store, feedback(row), "key", settings, NOW)["status"] == "approved"
