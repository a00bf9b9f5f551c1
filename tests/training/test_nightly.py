"""The steps of the night on hand-made feedback, with real training on the starter."""

import hashlib
import json
import random
from datetime import timedelta

import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from osiris.cli import app
from osiris.core.errors import BadInput
from osiris.core.ideas import Reply
from osiris.llm.starter_data import random_features, render_draft_prompt
from osiris.market.sample import load_sample
from osiris.serving.status import get_workspace_status
from osiris.training.datasets import write_dataset
from osiris.training.nightly import learn_from_feedback, learn_from_outcomes, pairs_file
from osiris.training.pairs import Pair
from osiris.training.promotion import HeldoutSource, evaluate_adapters, list_challengers
from tests.builders import MOMENT, idea, make_workspace

NIGHT, DECIDED = MOMENT + timedelta(hours=10), MOMENT + timedelta(hours=1)
EARLIER_PROMPTS = "0123456789abcdef"
"""The version of prompts that are not those of today."""
TOML = '[prices]\nsource = "local"\n[advise]\ntickers = ["AAPL"]\n[training]\nmin_examples = 4\n'


def accepted(number):
    reply = Reply(
        ticker="AAPL", rationale="momentum up, follow", side="long", target_atr=3.0, stop_atr=1.5, confidence=0.6
    )
    changes = {"status": "approved", "status_at": DECIDED, "shadow": False, "prompt_version": EARLIER_PROMPTS}
    return idea(number=number, prompt=asked(number), reply=reply.to_json(), **changes)


def asked(number):
    """A prompt as ideas are really drafted on, which the starter can answer."""
    return render_draft_prompt("AAPL", random_features(random.Random(number)))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = make_workspace(tmp_path_factory.mktemp("night"), TOML, NIGHT)
    workspace.advice.add([accepted(number) for number in range(6)])
    load_sample(workspace.bars, ["AAPL"])
    return workspace


@pytest.fixture(scope="module")
def published(workspace):
    ws = workspace
    report = learn_from_feedback(ws.advice, ws.registry, ws.tracking, ws.settings, MOMENT, NIGHT)
    return report


def test_feedback_becomes_an_adapter_with_its_card_and_curve(workspace, published):
    assert (published.adapter, published.rows) == ("20050226", 6)
    card = workspace.registry.validate("20050226")
    assert (card.parent, card.recipe) == ("base", "qlora")
    assert card.trained_until == DECIDED, "a reviewer knows all days until the decision"
    assert any(
        tensor.any()
        for key, tensor in load_file(workspace.registry.path("20050226") / "adapter_model.safetensors").items()
        if "lora_B" in key
    )
    assert any("loss" in entry for entry in published.history)
    assert workspace.tracking.adapters()[0]["name"] == "20050226"


def test_an_adapter_says_how_its_base_was_kept_and_which_prompts_it_was_trained_on(workspace, published, caplog):
    card, logged = workspace.registry.read_card("20050226"), workspace.tracking.adapters()[0]
    assert (card.weights, card.prompt_versions) == ("4bit", EARLIER_PROMPTS)
    assert (logged["weights"], logged["prompt_versions"]) == ("4bit", EARLIER_PROMPTS)
    workspace.registry.pin("20050226")
    try:
        workspace.load_drafter()
        assert f"version {EARLIER_PROMPTS}; today's are {workspace.snapshots.prompt_version}" in caplog.text
        assert get_workspace_status(workspace)["prompt_note"] in caplog.text
    finally:
        workspace.registry.unpin()
    assert workspace.describe_other_prompts(None) == ""


def test_a_second_try_changes_nothing_and_reports_the_same(workspace, published):
    ws = workspace
    again = learn_from_feedback(ws.advice, ws.registry, ws.tracking, ws.settings, MOMENT, NIGHT)
    assert again.note == "published before; nothing changed"
    assert (again.run_id, again.metrics, again.rows) == (published.run_id, published.metrics, published.rows)


def test_a_night_killed_between_publishing_and_logging_is_logged_by_the_next_try(tmp_path, workspace, published):
    from osiris.adapters.mlflow_runs import Tracking
    from osiris.config.settings import load_settings

    (tmp_path / "osiris.toml").write_text("")
    empty = Tracking(load_settings(tmp_path))
    again = learn_from_feedback(workspace.advice, workspace.registry, empty, workspace.settings, MOMENT, NIGHT)
    assert again.metrics == published.metrics
    assert empty.adapters()[0]["metrics"]["rows"] == 6


def test_an_adapter_is_not_judged_on_days_it_was_trained_on(workspace, published):
    ws = workspace
    report, evaluations = evaluate_adapters(
        ws.registry, ws.tracking, ws.models, HeldoutSource(ws.snapshots, ws.policy), NIGHT
    )
    assert (report.adapter, evaluations) == (None, [])
    assert "20050226: too early, what is compared was trained on days up to 2005-02-25" in report.note
    assert ws.find_served(NIGHT).name is None


def test_it_is_judged_once_later_days_are_there(workspace, published):
    ws, later = workspace, NIGHT + timedelta(days=40)
    report, evaluations = evaluate_adapters(
        ws.registry, ws.tracking, ws.models, HeldoutSource(ws.snapshots, ws.policy), later
    )
    first = MOMENT + timedelta(days=ws.settings.gate.embargo_days)
    assert [e.adapter for e in evaluations] == ["20050226", "base"]
    assert evaluations[0].trades["as_of"].min() > first
    assert evaluations[0].trades["as_of"].max() <= later
    assert ws.registry.verdict("20050226")["reason"] in report.note
    assert "not decided yet" in report.note  # it stays on trial
    assert list_challengers(ws.registry, None, later) == ["20050226"]


def test_a_running_process_drafts_with_an_adapter_as_soon_as_it_is_promoted(workspace, published):
    later = NIGHT + timedelta(days=41)
    before = workspace.load_drafter(later)
    workspace.registry.promote("20050226", "ann", "tried it on paper", later)
    after = workspace.load_drafter(later)
    assert (before.adapter, after.adapter) == ("base", "20050226")
    workspace.registry.demote("20050226", "ann", "enough", later)
    assert workspace.load_drafter(later).adapter == "base"


def test_a_persons_word_decides_what_is_served_and_mlflow_and_status_say_so(workspace, published):
    def said(*words):
        ran = CliRunner().invoke(
            app, ["adapters", *words, "-w", str(workspace.folder), "--json"], catch_exceptions=False
        )
        return json.loads(ran.stdout)

    def champion():
        return workspace.tracking.aliases().get("champion")

    (workspace.folder / "osiris.toml").write_text(f'{TOML}[clock]\nas_of = "{NIGHT.isoformat()}"\n')
    weights = (workspace.registry.path("20050226") / "adapter_model.safetensors").read_bytes()
    served = said("promote", "20050226", "--by", "ann", "--why", "tried it on paper")
    assert (served["served"], served["served_sha256"]) == ("20050226", hashlib.sha256(weights).hexdigest())
    assert champion() == "20050226"
    assert workspace.registry.verdict("20050226")["by"] == "ann"
    assert (said("demote", "20050226", "--by", "bob", "--why", "enough")["served"], champion()) == ("base", None)
    assert "demoted by bob: enough" in get_workspace_status(workspace)["passed_over"][0]
    assert (said("pin", "20050226")["pinned"], champion()) == ("20050226", "20050226")
    assert get_workspace_status(workspace)["served"] == "20050226"
    assert (said("unpin")["served"], champion()) == ("base", None)


def test_no_pairs_make_no_dpo_adapter(workspace, published):
    report = learn_from_outcomes(workspace.registry, workspace.tracking, workspace.settings, NIGHT)
    assert (report.adapter, report.note) == (None, "no pairs in this nightly run; nothing is trained")


def test_pairs_make_a_dpo_adapter_from_the_nights_own(workspace, published):
    path = pairs_file(workspace.settings, NIGHT)
    texts = [
        Reply(
            ticker="AAPL", rationale=f"momentum up, {verdict}", side=side, target_atr=2.0, stop_atr=1.0, confidence=0.6
        )
        for verdict, side in (("follow", "long"), ("fade", "short"))
    ]
    pair = Pair(asked(0), *(text.to_json() for text in texts), "outcome", "1", "2")
    write_dataset(path, [pair] * 4, MOMENT, "like")
    with pytest.raises(BadInput, match="a dataset of kind unpaired; got one of kind like"):
        learn_from_outcomes(workspace.registry, workspace.tracking, workspace.settings, NIGHT, "kto")
    report = learn_from_outcomes(workspace.registry, workspace.tracking, workspace.settings, NIGHT)
    assert (report.adapter, report.note) == ("20050226-dpo", "from 20050226")
    assert report.metrics["after/rewards/margins"] > report.metrics["before/rewards/margins"] == 0
    card = workspace.registry.validate("20050226-dpo")
    assert card.trained_until == DECIDED, "its parent's, which is later than the cut-off of its pairs"
