"""A trial of a pretrained model, here a starter under no name of its own: a night of it, and the measurement."""

import shutil

import pytest

from osiris.cli.learning import learn_check_command
from osiris.config.settings import ModelSettings, Settings
from osiris.core.errors import BadInput, NotFound
from osiris.learn_check import plan_for, run_check
from osiris.learn_check.trial import Trial, TrialPlan, run_trial
from osiris.llm.primed import PrimerRecipe
from osiris.llm.starter import RECIPE_FILE, ensure_starter
from osiris.training import primer
from osiris.workspace import open_workspace

SHORT = PrimerRecipe(situations=2, learning_rate=1e-6)
SMALL = TrialPlan(nights=1, tickers=4, moments=14, fresh_moments=2, candidates=6, compared=2, recipe="dpo-pretrained")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A starter without its recipe is a folder like that of any other model."""
    folder = tmp_path_factory.mktemp("model") / "base"
    shutil.copytree(ensure_starter("drafter", Settings(), progress=False), folder)
    (folder / RECIPE_FILE).unlink()
    return str(folder)


@pytest.fixture
def cache(tmp_path, base, monkeypatch):
    """A cache with the primed model of the base."""
    monkeypatch.setattr(primer, "CHECK_SITUATIONS", 2)
    monkeypatch.setattr("osiris.llm.sources.PrimerRecipe", lambda: SHORT)
    cache = tmp_path / "cache"
    primer.prime_model(Settings(model=ModelSettings(base=base, cache=cache, max_new_tokens=64)), SHORT, progress=False)
    return cache


def test_a_pretrained_model_drafts_learns_and_is_measured(base, cache, tmp_path):
    plan = TrialPlan(**vars(SMALL) | {"model": base, "blocks": ("features", "trend")})
    done = []
    result = run_trial(trial := Trial("momentum", 3, plan), tmp_path / "trial", cache, done.append)
    assert len(done) == trial.step_count
    (night,) = result["nights"]
    assert (night["ideas"] + night["invalid"], night["pairs"] > 0) == (4 * 14 * 6, True)
    assert set(result["evaluations"]) == {"base", night["adapter"]}
    workspace = open_workspace(tmp_path / "trial", night["as_of"])
    (card,) = (workspace.registry.validate(name) for name in workspace.registry.names())
    settings, prompts = workspace.settings, workspace.advice.rows(columns=["prompt"])
    workspace.close()
    assert (settings.model.primed, settings.gate.candidates, settings.training.dpo_recipe) == (True, 2, plan.recipe)
    assert card.recipe == "dpo-pretrained"
    assert all("trend_20" in row["prompt"] for row in prompts)


def test_a_starter_sees_the_features_alone_and_is_not_primed(tmp_path, base):
    plan = TrialPlan(**vars(SMALL) | {"model": base})
    assert (plan.is_pretrained, TrialPlan().is_pretrained) == (True, False)
    assert TrialPlan().blocks == ("features",)


def test_a_model_that_was_not_primed_is_refused_before_anything_runs(base):
    with pytest.raises(NotFound, match="osiris models prime"):
        run_check(["momentum"], range(1), plan_for(base), jobs=1)


def test_a_pretrained_model_gets_a_plan_that_it_can_finish():
    usual, pretrained = plan_for("starter"), plan_for("smollm2")
    assert usual == TrialPlan()
    assert (
        pretrained.nights * pretrained.tickers * pretrained.moments < 0.2 * usual.nights * usual.tickers * usual.moments
    )


def test_a_block_that_is_none_is_named():
    with pytest.raises(BadInput, match=r"memory.*weather"):
        learn_check_command(blocks="features,weather")
