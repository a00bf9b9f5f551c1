"""The routes that ask the models: real starters, adapters that come and go while others ask."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from osiris.api.models import MAX_MODEL_REQUESTS
from osiris.llm.hermes import JudgedIdea, score_ideas
from osiris.llm.local_models import MAX_ATTACHED_ADAPTERS
from osiris.serving.server import start_api
from osiris.workspace import open_workspace
from tests.builders import MOMENT, adapter_card, make_workspace, random_adapter

PROMPT = "Ticker: AAPL\nmomentum up 1.2\nrsi down 40.1\nlast up 0.3"
NAMES = [f"2005022{day}" for day in range(MAX_ATTACHED_ADAPTERS + 2)]
ASKERS, SWAPS = 4, 12


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("workspace"), "[model]\ntemperature = 0\n", MOMENT)
    for seed, name in enumerate(NAMES):
        trained = random_adapter(tmp_path_factory.mktemp("trained") / name, seed)
        made.registry.publish(name, trained, adapter_card(as_of=MOMENT - timedelta(days=1)))
    return made


@pytest.fixture(scope="module")
def client(workspace):
    with start_api(workspace, port=0) as api, api.client() as client:
        client.timeout = 120
        yield client


def ask(client, **changes):
    return client.post("/generate/", json={"prompt": PROMPT, "max_length": 16} | changes)


def swapped(client, workspace, name):
    """Pin an adapter and swap; what it then answers."""
    workspace.registry.pin(name)
    assert client.post("/adapters/swap").json()["adapter"] == name
    return ask(client).json()


def test_a_prompt_is_answered_by_the_model_that_is_asked(client):
    drafted, judged = (ask(client, model_id=model).json() for model in ("phi3", "hermes"))
    assert (drafted["model"], drafted["adapter"]) == ("starter", "base")
    assert (judged["model"], judged["adapter"]) == ("starter", None)
    assert drafted["text"] != judged["text"]
    assert ask(client, max_length=2).json()["text"] == drafted["text"][: len(ask(client, max_length=2).json()["text"])]


def test_hermes_scores_as_it_does_within_the_house(client, workspace):
    found = client.post("/score/hermes/", json={"proposal": '{"side":"long"}', "context": "momentum up 1.2"}).json()
    (expected,) = score_ideas(workspace.models.judge, [JudgedIdea('{"side":"long"}', "momentum up 1.2")], 1)
    assert found == {
        "score": expected.normalized,
        "raw": expected.raw,
        "note": expected.note,
        "expected": pytest.approx(expected.expected, abs=0.01),
        "number_probability": pytest.approx(expected.number_probability, abs=0.01),
    }


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused(client):
    answer = ask(client, prompt="x " * 1000, max_length=1000)
    assert answer.status_code == 422
    assert "ask for less" in answer.json()["detail"]


def test_adapters_are_swapped_while_requests_go_on_and_each_is_answered_whole(client, workspace):
    alone = {name: swapped(client, workspace, name)["text"] for name in NAMES}
    assert len(set(alone.values())) == len(NAMES)
    done, answers = threading.Event(), []

    def keep_asking():
        while not done.is_set():
            answers.append(ask(client))

    with ThreadPoolExecutor(ASKERS) as pool:
        asking = [pool.submit(keep_asking) for _ in range(ASKERS)]
        for turn in range(SWAPS):
            swapped(client, workspace, NAMES[turn % len(NAMES)])
        done.set()
        for one in asking:
            one.result()
    workspace.registry.unpin()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["adapter"] for answer in answers}) > 3
    assert all(alone[answer.json()["adapter"]] == answer.json()["text"] for answer in answers)


def test_the_first_requests_may_come_all_at_once(workspace, client):
    expected = [ask(client).json(), ask(client, model_id="hermes").json()]
    fresh = open_workspace(workspace.folder, MOMENT)
    (fresh.registry.folder / ".verdicts" / f"{NAMES[0]}.probe.json").unlink(missing_ok=True)
    fresh.registry.pin(NAMES[0])
    adapted = swapped(client, workspace, NAMES[0])
    (fresh.registry.folder / ".verdicts" / f"{NAMES[0]}.probe.json").unlink()
    with start_api(fresh, port=0) as api, api.client() as other, ThreadPoolExecutor(6) as pool:
        other.timeout = 120
        asked = [pool.submit(ask, other, model_id=model) for model in ("phi3", "hermes") * 3]
        found = [one.result().json() for one in asked]
    fresh.registry.unpin()
    assert found == [adapted, expected[1]] * 3


def test_more_than_some_at_once_are_asked_to_come_again(client):
    with ThreadPoolExecutor(4 * MAX_MODEL_REQUESTS) as pool:
        answers = list(pool.map(lambda _: ask(client, max_length=64), range(4 * MAX_MODEL_REQUESTS)))
    told = {answer.status_code: answer for answer in answers}
    assert set(told) == {200, 503}
    assert told[503].headers["Retry-After"] == "1"
    assert "ask again" in told[503].json()["detail"]


def test_a_seed_fixes_what_is_drawn(tmp_path):
    warm = make_workspace(tmp_path, "", MOMENT)
    with start_api(warm, port=0) as api, api.client() as client:
        client.timeout = 120
        drawn = [ask(client, max_length=40, seed=seed).json()["text"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_may_not_be_served_is_named_with_the_reason(client):
    told = client.post("/adapters/swap").json()
    assert told["adapter"] == "base"
    assert told["skipped"] == dict.fromkeys(NAMES, "the gate has not decided yet")
