"""A pretrained model in the loop: SmolLM2 drafts from all blocks and scores, ideas are settled, an adapter is trained.

It was never primed here, so its ideas are valid by constrained decoding alone; what it learns is not looked at.
"""

import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from osiris.core.ideas import FINAL_OUTCOMES, parse_reply
from osiris.drafting.draft_ideas import DraftingContext, draft_ideas
from osiris.labeling.settle import settle
from osiris.llm.generate import DraftRequest, draft_replies
from osiris.llm.loader import load_drafter
from osiris.market.sample import load_sample
from osiris.storage.notes import parse_note
from osiris.training.methods import train_adapter
from osiris.training.recipe import load_recipe
from osiris.training.run import TrainingOptions
from tests.builders import make_workspace

WHEELS = Path(sys.prefix) / "wheels"
pytestmark = pytest.mark.skipif(not list(WHEELS.glob("*.whl")), reason="no wheel of SmolLM2; run: make setup")
CLOSE = datetime(2005, 2, 17, 21, tzinfo=UTC)
LATER = CLOSE + timedelta(days=60)
TOML = """
[prices]
source = "local"
[advise]
tickers = ["AAPL"]
candidates = 2
[model]
base = "smollm2"
judge = "smollm2"
max_new_tokens = 96
retries = 8
min_number_probability = 0
[outcomes]
max_holding_days = 30
[context]
benchmark = "IBM"
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Two sessions of ideas, drafted and settled one after the other, so that the second remembers the first."""
    workspace = make_workspace(tmp_path_factory.mktemp("pretrained"), TOML, CLOSE)
    load_sample(workspace.bars, ["AAPL", "IBM"])
    note = {"at": "2005-02-11T14:00:00+00:00", "ticker": "AAPL", "kind": "news", "text": "a split of two for one"}
    workspace.notes.add([parse_note(note)])
    ws = workspace
    context = DraftingContext(ws.advice, ws.prices, ws.events, ws.policy, ws.settings)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PIP_NO_INDEX", "1")
        patched.setenv("PIP_FIND_LINKS", str(WHEELS))
        for moment in (CLOSE, LATER):
            ws.clock.set(moment)
            draft_ideas(context, ws.load_drafter(), ws.models.judge, [moment])
            settle(ws.advice, ws.prices, ws.events, ws.settings, moment + timedelta(days=59))
        yield workspace
    workspace.close()


def prompts(workspace, moment):
    """The prompts of the ideas that were drafted at a moment."""
    return [row["prompt"] for row in workspace.advice.rows() if row["as_of"] == moment]


def test_it_sees_every_block_that_there_is_something_to_tell_in(workspace):
    first, last = (prompts(workspace, moment)[0] for moment in (CLOSE, LATER))
    told = ("momentum", "trend_120", "volatility", "high_252", "strength_20", "gap", "next session Friday", "0 ago:")
    for words in told:
        assert words in first
    assert "6 days ago, news: a split of two for one" in first
    assert "earlier situations" not in first
    assert "earlier situations like this one:\nAAPL, 60 days before:" in last
    assert "a split" not in last, "the note is older than a week"


def test_its_ideas_are_valid_and_every_one_is_scored(workspace):
    ideas = workspace.advice.rows()
    assert len(ideas) == 4
    for idea in ideas:
        assert parse_reply(idea["reply"], "AAPL") is not None
        assert (idea["model"], idea["judge"]) == ("smollm2", "smollm2")
        assert 0 <= idea["hermes_raw"] <= 10
        assert 0 <= idea["hermes_expected"] <= 10
        assert 0 < idea["hermes_number_probability"] < 1


def test_its_ideas_are_settled(workspace):
    first = [idea for idea in workspace.advice.rows() if idea["as_of"] == CLOSE]
    assert len(first) == 2
    assert {idea["outcome"] for idea in first} <= {str(outcome) for outcome in FINAL_OUTCOMES}


def test_an_adapter_is_trained_on_it_and_drafts(workspace, tmp_path):
    """One step of two pairs; the whole recipe takes minutes on two cores."""
    ideas = workspace.advice.rows()
    lines = [
        {"prompt": one["prompt"], "good_reply": one["reply"], "bad_reply": one["reply"].replace("0.", "0.1", 1)}
        for one in ideas[:2]
    ]
    usual = load_recipe("dpo", "dpo")
    short = replace(usual, args=usual.args | {"max_steps": 1, "per_device_train_batch_size": 2})
    options = TrainingOptions(None, tmp_path / "20050418", short, progress=False)
    trained = train_adapter(workspace.settings, lines, options)
    assert trained.tensors_changed == trained.tensors // 2, "of each pair of matrices the first step changes one"
    assert trained.weights in ("float32", "bfloat16", "4bit")
    drafter = load_drafter(workspace.settings, options.out)
    request = DraftRequest(ideas[0]["prompt"], "AAPL")
    assert draft_replies(drafter, [request], 1, workspace.settings, 0)[0][0].reply is not None
