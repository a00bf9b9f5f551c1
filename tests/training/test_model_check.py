"""`osiris models check`: what it measures, and what it advises."""

import pytest

from osiris.config.settings import ModelSettings, Settings
from osiris.training import model_check
from osiris.training.model_check import ModelCheck, check_models, time_threads
from tests.llm.model_factories import make_tokenizer, save_llama


@pytest.fixture(scope="module")
def starter_check():
    steps = []
    return check_models(Settings(), steps.append), steps


def test_a_starter_needs_no_change(starter_check):
    found, steps = starter_check
    assert [line for line in found.advice if "threads" not in line and "batches" not in line] == []
    assert steps == ["loading the drafter", "drafting", "scoring", "training two steps"]


def test_everything_is_measured(starter_check):
    found, _ = starter_check
    assert found.valid_share == found.scored_share == 1
    assert 0.2 < found.long_share < 0.8
    assert found.parameters_millions == pytest.approx(0.46, abs=0.02)
    assert (found.weights, found.training_weights) == ("float32", "4bit")
    assert "need no care" in found.reason
    assert [*found.tokens_per_second] == [1, 8, 32]
    assert found.tokens_per_second[32] > found.tokens_per_second[1]
    assert min(found.training_tokens_per_second, found.night_minutes, found.seconds_per_score, found.prompt_tokens) > 0
    assert len(found.ideas) == 3
    assert "a night takes about" in found.headline


def test_a_model_that_knows_nothing_is_told_what_to_do(tmp_path):
    folder = str(save_llama(tmp_path, make_tokenizer(), positions=2048))
    model = ModelSettings(base=folder, judge=folder, constrained=False, min_number_probability=0.9, max_new_tokens=48)
    found = check_models(Settings(model=model))
    advice = "\n".join(found.advice)
    assert found.valid_share == 0
    assert "model.constrained = true" in advice
    assert "osiris models prime" in advice
    assert "got no score" in advice
    assert not found.passed


@pytest.mark.parametrize(
    ("speeds", "size", "advice"),
    [({1: 20.0, 8: 100.0, 32: 40.0}, 32, "set model.batch_size = 8"), ({1: 20.0, 8: 90.0, 32: 100.0}, 32, "")],
)
def test_a_batch_that_is_too_large_is_told(speeds, size, advice, monkeypatch):
    monkeypatch.setattr(model_check, "time_threads", lambda: {1: 1.0, 2: 0.6})
    found = ModelCheck("starter", "starter", tokens_per_second=speeds)
    model_check._advise(found, Settings(model=ModelSettings(batch_size=size)))
    assert advice in "".join(found.advice)
    assert bool(found.advice) == bool(advice)


def test_a_night_that_takes_hours_is_told(monkeypatch):
    monkeypatch.setattr(model_check, "time_threads", lambda: {1: 1.0})
    for minutes, advice in ((119.0, ""), (188.0, "188 min, prompts have 487 tokens: show fewer [context] blocks")):
        found = ModelCheck("starter", "starter", prompt_tokens=487, night_minutes=minutes, tokens_per_second={1: 1.0})
        model_check._advise(found, Settings())
        assert advice in "".join(found.advice)
        assert bool(found.advice) == bool(advice)


def test_threads_that_wait_for_each_other_are_told(monkeypatch):
    monkeypatch.setattr(model_check, "time_threads", lambda: {1: 1.0, 2: 9.0})
    found = ModelCheck("starter", "starter", tokens_per_second={1: 1.0})
    model_check._advise(found, Settings())
    assert "OMP_NUM_THREADS=1" in found.advice[0]


def test_timing_threads_leaves_their_number_as_it_was():
    import torch

    before = torch.get_num_threads()
    assert set(time_threads()) == {1, before}
    assert torch.get_num_threads() == before
