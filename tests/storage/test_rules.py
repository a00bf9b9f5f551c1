"""Of decisions that are taken together, each sees the ones before."""

from osiris.core.errors import Conflict, NotFound
from osiris.storage.rules import DecisionBatch
from tests.builders import decision, decision_changes, idea, with_changes


def test_of_two_decisions_on_an_idea_the_first_wins_and_the_second_is_told():
    row = idea() | {"status": "pending", "reviewer": None, "status_at": None}
    ballot = DecisionBatch({row["id"]: row}, {})
    won = ballot.decide(decision(row, "one"), with_changes(decision_changes()))
    lost = ballot.decide(decision(row, "two", "rejected", "bob"), with_changes(decision_changes("rejected", "bob")))
    assert (won["status"], won["reviewer"]) == ("approved", "ann")
    assert isinstance(lost, Conflict)
    assert "approved by ann" in str(lost)
    assert [one["decision"]["idempotency_key"] for one in ballot.accepted] == ["one"]


def test_a_key_that_comes_twice_counts_once():
    row = idea() | {"status": "pending", "reviewer": None, "status_at": None}
    ballot = DecisionBatch({row["id"]: row}, {})
    answers = [ballot.decide(decision(row, "one"), with_changes(decision_changes())) for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(ballot.accepted) == 1


def test_one_that_cannot_be_decided_on_does_not_spoil_the_others():
    row = idea() | {"status": "pending", "reviewer": None, "status_at": None}
    ballot = DecisionBatch({row["id"]: row}, {})
    unknown = ballot.decide(decision({"id": "nowhere"}, "one"), with_changes(decision_changes()))
    assert isinstance(unknown, NotFound)
    assert ballot.decide(decision(row, "two"), with_changes(decision_changes()))["status"] == "approved"
