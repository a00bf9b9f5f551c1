"""What a server does beyond OpenAI's protocol: replies bound to their form, and the probabilities of numbers."""

import random
import re
from types import SimpleNamespace

import llguidance
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osiris.config.settings import LlmSettings, ModelSettings, Settings
from osiris.core.ideas import MAX_LEVEL_ATR, REPLY_KEYS, Reply, Side, parse_reply
from osiris.llm import starter_data as data
from osiris.llm.generate import DraftRequest, draft_replies, reply_prefix
from osiris.llm.hermes import JudgedIdea, score_ideas
from osiris.llm.loader import load_judge
from osiris.llm.models import open_models
from osiris.llm.scores import Completion, served_number_odds
from osiris.llm.server_abilities import PROBE_WORD, REPLY_FORM, first_token_odds
from tests.llm.bound_server import FORMS, BoundModel, bound_server

OPTIONS = {"temperature": 0, "retries": 0, "max_new_tokens": 96}


@pytest.fixture(scope="module")
def judge():
    """The starter that judges: asked for an idea it writes a number, so only bound replies of it are valid."""
    loaded = load_judge(Settings())
    return BoundModel(loaded.model, loaded.tokenizer)


def on(url, **llm):
    return Settings(model=ModelSettings(**OPTIONS), llm=LlmSettings(backend="openai", url=url, **llm))


def drafts(settings, tickers=("AAPL", "0700.HK")):
    rng = random.Random(1)
    requests = [DraftRequest(data.render_draft_prompt(one, data.random_features(rng)), one) for one in tickers]
    models = open_models(settings)
    return models, [group[0] for group in draft_replies(models.serve(None), requests, 1, settings, 0)]


@pytest.mark.parametrize("constraint", FORMS)
def test_a_reply_is_bound_by_whichever_parameter_the_server_has(judge, constraint):
    with bound_server(judge, constraint) as (url, asked):
        models, first = drafts(on(url))
        assert all(draft.reply is not None for draft in first)
        probes = sum(PROBE_WORD in str(body) for body in asked)
        assert probes == 1 + list(FORMS).index(constraint)
        draft_replies(models.serve(None), [DraftRequest("Ticker: IBM", "IBM")], 1, on(url), 1)
        assert constraint in asked[-1]
        assert sum(PROBE_WORD in str(body) for body in asked) == probes, "it is asked once"


def test_a_server_that_ignores_what_it_does_not_know_is_asked_for_no_form_again(judge):
    with bound_server(judge) as (url, asked):
        _, first = drafts(on(url))
    assert all(draft.reply is None for draft in first)
    assert [sorted({*FORMS} & body.keys()) for body in asked] == [[name] for name in FORMS] + [[], []]


def test_a_named_parameter_is_used_unasked_and_none_is_none(judge):
    for constraint, valid in (("grammar", True), ("none", False)):
        with bound_server(judge, "grammar") as (url, asked):
            _, first = drafts(on(url, constraint=constraint))
        assert [draft.reply is not None for draft in first] == [valid] * 2
        assert len(asked) == 2


def test_unbound_settings_ask_for_no_form(judge):
    with bound_server(judge, "regex") as (url, asked):
        settings = on(url)
        drafts(settings.with_model(constrained=False))
    assert not any({*FORMS} & body.keys() for body in asked)


@pytest.fixture(scope="module")
def ideas():
    rng = random.Random(11)
    return [
        JudgedIdea(data.random_reply(rng, "IBM", market).to_json(), data.render_snapshot(market))
        for market in (data.random_features(rng) for _ in range(6))
    ]


@pytest.mark.parametrize("style", ["vllm", "llama.cpp"])
def test_the_distribution_of_a_judge_on_a_server_is_that_of_the_same_judge_here(judge, ideas, style):
    with bound_server(judge, style=style) as (url, _):
        there = score_ideas(open_models(on(url)).judge, ideas, 8)
    here = score_ideas(open_models(Settings()).judge, ideas, 8)
    assert there == here
    for one, other in zip(there, here, strict=True):
        assert one.expected == pytest.approx(other.expected, abs=0.02)
        assert one.number_probability == pytest.approx(other.number_probability, abs=0.01)


def test_a_server_that_lists_five_tokens_is_asked_for_five_and_one_that_lists_none_for_none(judge, ideas):
    with bound_server(judge, style="vllm", most=5) as (url, asked):
        models = open_models(on(url))
        assert score_ideas(models.judge, ideas[:1], 8)[0].expected is not None
        score_ideas(models.judge, ideas[1:2], 8)
    assert [body.get("logprobs") for body in asked][:2] == [20, 5]
    assert 20 not in [body.get("logprobs") for body in asked][1:]
    with bound_server(judge) as (url, asked):
        models = open_models(on(url))
        found = [score_ideas(models.judge, [idea], 8)[0] for idea in ideas[:2]]
    assert all(one.raw is not None and one.expected is None for one in found)
    assert [body.get("logprobs") for body in asked] == [20, None]


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"top_logprobs": []},
        {"top_logprobs": [None]},
        {"top_logprobs": ["7"]},
        {"top_logprobs": [{"7": "likely"}]},
        {"top_logprobs": [{"7": 0.4}]},
        {"top_logprobs": [{"7": float("nan")}]},
        {"content": []},
        {"content": [{"top_logprobs": [{"token": "7"}]}]},
        {"content": ["7"]},
    ],
    ids=str,
)
def test_probabilities_that_are_none_are_not_told(told):
    assert first_token_odds(SimpleNamespace(logprobs=told and SimpleNamespace(**told))) is None


def test_a_ten_that_begins_with_a_one_is_told_from_a_one():
    behind = {"1": {"0": -0.5, "2": -3.0, ".": -2.0}, " 1": {"0": -9.0}, "\n": {"4": -0.1}}
    first = {"1": -1.0, " 1": -2.0, "\n": -3.0, "7": -1.5, "The": -0.7, "75": -4.0, "10": -5.0}
    odds = served_number_odds(Completion("The", True, first), lambda text: behind[text])
    p = {text: 2.718281828**value for text, value in first.items()}
    assert odds.probabilities[10] == pytest.approx(p["1"] * 0.60653 + p[" 1"] * 0.000123 + p["10"], rel=1e-3)
    assert odds.probabilities[1] == pytest.approx(p["1"] * (1 - 0.60653 - 0.04979) + p[" 1"] * 0.999877, rel=1e-3)
    assert odds.probabilities[4] == pytest.approx(p["\n"] * 0.904837, rel=1e-3)
    assert odds.probabilities[7] == pytest.approx(p["7"], rel=1e-3)


@given(st.from_regex(REPLY_FORM.regex, fullmatch=True))
def test_whatever_has_the_form_is_a_valid_reply(text):
    if len(text) < 400:
        assert parse_reply(reply_prefix("AAPL") + text, "AAPL") is not None


distances = st.floats(0.0001, MAX_LEVEL_ATR).map(lambda value: max(round(value, 4), 0.0001))
replies = st.builds(
    Reply,
    ticker=st.just("AAPL"),
    rationale=st.text(st.characters(codec="ascii"), min_size=1, max_size=60).filter(
        lambda text: not re.search(r"[\x7f]|[\x00-\x07\x0b\x0e-\x1f]", text)
    ),
    side=st.sampled_from(Side),
    target_atr=distances.filter(lambda value: "e" not in str(value)),
    stop_atr=st.sampled_from([0.5, 1.0, 2, 10, 10.25, 19.9999, 20]),
    confidence=st.sampled_from([0, 0.0, 0.5, 0.7325, 1, 1.0]),
)


@given(replies)
def test_every_reply_has_the_form_in_both_notations(reply):
    assert tuple(REPLY_KEYS[:2]) == ("ticker", "rationale")
    text = reply.to_json().removeprefix(reply_prefix("AAPL")).replace("20.0", "20")
    assert re.fullmatch(REPLY_FORM.regex, text)
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), FORMS["grammar"](REPLY_FORM.grammar))
    assert matcher.consume_tokens(list(text.encode())), text
    assert matcher.is_accepting()
