"""Drafting with the real starter models on real bars."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from osiris.core.ideas import parse_reply
from osiris.drafting.draft_ideas import (
    DraftingContext,
    draft_ideas,
    drafting_moments,
)
from osiris.drafting.drafted_idea import read_drafts, to_row
from osiris.drafting.snapshots import take_snapshots
from osiris.llm.generate import draft_replies
from osiris.market.sample import load_sample
from osiris.policy import ShippedPolicy
from osiris.policy.contracts import Feature
from osiris.storage.events import GENERATED_TOPIC, Events, read_messages
from tests.builders import make_workspace

CLOSE = datetime(2005, 2, 25, 21, tzinfo=UTC)
TOML = '[prices]\nsource = "local"\n[advise]\ntickers = ["AAPL", "IBM", "NONE"]\ncandidates = 3\n'


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("models"), TOML, CLOSE).models


@pytest.fixture
def workspace(tmp_path, models):
    workspace = make_workspace(tmp_path, TOML, CLOSE)
    workspace.models = models
    load_sample(workspace.bars, ["AAPL", "IBM"])
    yield workspace
    workspace.close()


def run(ws, moments=(CLOSE,), events=None):
    context = DraftingContext(ws.advice, ws.prices, events or ws.events, ws.policy, ws.settings)
    return draft_ideas(context, ws.load_drafter(), ws.models.judge, moments)


def test_every_candidate_becomes_a_pending_scored_idea_in_prices(workspace):
    subscription = workspace.events.subscribe(GENERATED_TOPIC)
    report = run(workspace)
    rows = workspace.advice.rows()
    assert (report.prompts, report.replies, report.stored) == (2, 6, len(rows))
    assert any("NONE" in note for note in report.notes)
    for row in rows:
        reply = parse_reply(row["reply"], row["ticker"])
        assert (row["status"], row["shadow"], row["adapter"], row["side"]) == ("pending", True, "base", reply.side)
        assert abs(row["target"] - row["entry"]) == pytest.approx(reply.target_atr * row["atr"], abs=1e-5)
        assert row["hermes_score"] == row["hermes_raw"] / 10
        assert row["decision_latency_ms"] > 0
    assert sorted(event["id"] for event in read_messages(subscription)) == sorted(row["id"] for row in rows)
    subscription.close()


class ByMomentum(ShippedPolicy):
    """A policy that lets through what goes with the momentum it sees."""

    def passes(self, idea):
        return idea.features["momentum"] > 1.0


def test_two_moments_with_one_text_are_gated_each_by_its_own_features(workspace):
    first = take_snapshots(workspace.snapshots, workspace.policy, ["AAPL"], [CLOSE])[0]
    twins = [
        replace(first, as_of=CLOSE + timedelta(days=day), features=(Feature("momentum", value, 1.0),))
        for day, value in enumerate((1.04, 0.96))
    ]
    assert twins[0].prompt == twins[1].prompt
    assert twins[0].prompt_id != twins[1].prompt_id
    drafts = draft_replies(workspace.load_drafter(), [shot.request for shot in twins], 2, workspace.settings, 0)
    drafter, policy = workspace.load_drafter(), ByMomentum()
    ideas = read_drafts(twins, drafts)
    for idea in ideas:
        idea.ask_policy(policy)
    rows = [to_row(idea, drafter, policy, novelty=None, latency_ms=1.0) for idea in ideas]
    assert {(row["as_of"], row["status"]) for row in rows} == {
        (twins[0].as_of, "pending"),
        (twins[1].as_of, "gated"),
    }
    assert len({row["id"] for row in rows}) == 4


def test_a_second_run_at_the_same_moment_drafts_nothing(workspace):
    run(workspace)
    before = workspace.advice.rows()
    assert run(workspace).prompts == 0
    assert workspace.advice.rows() == before


def test_the_same_seed_drafts_the_same_ideas(workspace, tmp_path_factory, models):
    other = make_workspace(tmp_path_factory.mktemp("other"), TOML, CLOSE)
    other.models = models
    load_sample(other.bars, ["AAPL", "IBM"])
    run(workspace)
    run(other)
    texts = [[(row["id"], row["reply"]) for row in ws.advice.rows()] for ws in (workspace, other)]
    assert texts[0] == texts[1]
    other.close()


def test_later_ideas_are_measured_against_earlier_ones(workspace):
    moments = drafting_moments(workspace.settings, CLOSE, 2)
    run(workspace, moments)
    first, second = (workspace.advice.frame().query("as_of == @moment")["novelty"] for moment in moments)
    assert first.isna().all()
    assert (second >= 0).all()


def test_the_last_sessions_are_closes_at_or_before_the_moment(workspace):
    moments = drafting_moments(workspace.settings, CLOSE, 3)
    assert [f"{m:%m-%d %H}" for m in moments] == ["02-23 21", "02-24 21", "02-25 21"]
    assert drafting_moments(workspace.settings, CLOSE, 0) == [CLOSE]


def test_a_redis_that_is_away_costs_no_idea(workspace, tmp_path):
    report = run(workspace, events=Events(tmp_path, "redis://127.0.0.1:1"))
    assert report.stored > 0
    assert any("not announced" in note for note in report.notes)
