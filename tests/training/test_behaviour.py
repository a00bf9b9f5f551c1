"""How a model answers, and when a training failed."""

import json
import random

import pytest

from osiris.config.settings import LlmSettings, ModelSettings, Settings
from osiris.llm.generate import Draft, DraftRequest, draft_replies
from osiris.llm.loader import load_drafter
from osiris.llm.local_models import LocalModels
from osiris.llm.starter_data import random_draft_example
from osiris.training.behaviour import MAX_BEHAVIOUR_PROMPTS, MIN_REPLIES, failure_reason, measure_behaviour
from tests.builders import random_adapter

GOOD = {"before/valid_share": 1.0, "after/valid_share": 0.99, "before/logps/chosen": -18.0, "after/logps/chosen": -20.0}


def rows(count):
    examples = [random_draft_example(random.Random(number)) for number in range(count)]
    return [{"prompt": one.prompt, "good_reply": one.answer} for one in examples]


@pytest.fixture(scope="module")
def starter():
    settings = Settings()
    return load_drafter(settings), settings


def test_the_starter_answers_in_form_and_without_a_preference(starter):
    drafter, settings = starter
    found = measure_behaviour(drafter, rows(2 * MAX_BEHAVIOUR_PROMPTS + 1), settings)
    assert found["valid_share"] > 0.97
    assert 0.35 < found["long_share"] < 0.65
    assert 1.2 < found["reward_to_risk"] < 1.8


def test_a_reply_that_needed_a_second_attempt_is_not_counted_as_valid(starter):
    drafter, settings = starter
    nonsense = [{"prompt": f"{number}", "reply": json.dumps({"ticker": "AAPL"})} for number in range(8)]
    assert measure_behaviour(drafter, nonsense, settings)["valid_share"] < 0.9


@pytest.mark.parametrize(
    ("invalid", "replies"),
    [(0, MAX_BEHAVIOUR_PROMPTS), (1, 4 * MAX_BEHAVIOUR_PROMPTS), (MAX_BEHAVIOUR_PROMPTS // 4, MAX_BEHAVIOUR_PROMPTS)],
)
def test_where_nearly_all_replies_are_valid_more_are_drawn(monkeypatch, invalid, replies):
    drawn = []

    def drafts(drafter, requests, each, settings, seed):
        first = 0 if drawn else invalid
        drawn.extend([seed] * len(requests) * each)
        return [[Draft("", None, 0.0, 2 if number < first else 1)] * each for number in range(len(requests))]

    monkeypatch.setattr("osiris.training.behaviour.draft_replies", drafts)
    monkeypatch.setattr(Draft, "is_valid_at_once", property(lambda self: self.attempts == 1))
    assert measure_behaviour(None, rows(MAX_BEHAVIOUR_PROMPTS), Settings()) == {"valid_share": 1 - invalid / replies}
    assert len(drawn) == replies
    assert len(set(drawn)) == (2 if replies > MAX_BEHAVIOUR_PROMPTS else 1)


def test_a_form_that_a_training_spoilt_is_seen_although_replies_are_bound_elsewhere(tmp_path):
    settings = Settings(model=ModelSettings(max_new_tokens=512, retries=0))
    spoilt = LocalModels(settings).serve(random_adapter(tmp_path / "20050225", 0))
    bound = draft_replies(spoilt, [DraftRequest(row["prompt"], "AAPL") for row in rows(2)], 1, settings, 0)
    assert all(group[0].is_valid_at_once for group in bound)
    short = Settings(model=ModelSettings(max_new_tokens=96, retries=0))
    assert measure_behaviour(spoilt, rows(2), short) == {"valid_share": 0.0}


def test_a_training_that_keeps_its_form_did_not_fail():
    assert failure_reason(GOOD, Settings()) == ""
    assert failure_reason({key: value for key, value in GOOD.items() if "logps" not in key}, Settings()) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"after/valid_share": 0.97}, "valid replies fell to 97.0% from 100.0%; at least 98.0% needed"),
        ({"after/logps/chosen": -28.5}, "logps/chosen fell by 10.5 nats; at most 10 are allowed"),
    ],
)
def test_a_training_that_loses_it_failed_and_says_why(change, reason):
    assert failure_reason(GOOD | change, Settings()) == reason


@pytest.mark.parametrize(
    ("before", "after", "bound", "reason"),
    [
        (0.6, 0.94, True, ""),
        (0.6, 0.58, True, ""),
        (0.6, 0.50, True, "valid replies fell to 50.0% from 60.0%; at least 50.1% needed"),
        (0.0, 0.0, True, ""),
        (0.6, 0.94, False, "valid replies rose only to 94.0% from 60.0%; at least 98.0% needed"),
        (0.6, 0.6, False, "valid replies stayed at 60.0%; at least 98.0% needed"),
        (0.6, 0.98, False, ""),
    ],
)
def test_a_weak_base_is_not_held_against_its_adapter_where_the_schema_keeps_the_form(before, after, bound, reason):
    found = failure_reason(
        {"before/valid_share": before, "after/valid_share": after}, Settings(model=ModelSettings(constrained=bound))
    )
    assert found == reason


def test_a_server_keeps_no_schema():
    settings = Settings(llm=LlmSettings(backend="openai"))
    assert failure_reason({"before/valid_share": 0.6, "after/valid_share": 0.94}, settings).startswith(
        "valid replies rose only"
    )


def test_few_prompts_are_asked_several_times_so_that_one_invalid_reply_decides_nothing(starter):
    drafter, settings = starter
    share = measure_behaviour(drafter, rows(8), settings)["valid_share"]
    assert (share * MIN_REPLIES).is_integer()
    assert share > 0.95
