import random
from dataclasses import replace

import pytest

from osiris.config.settings import Settings
from osiris.core.errors import BadInput
from osiris.core.ideas import Reply, has_valid_levels, parse_reply
from osiris.llm import starter_data as data
from osiris.llm.generate import DraftRequest, draft_replies, reply_prefix, unconstrained
from osiris.llm.loader import load_drafter
from tests.llm.conftest import settings_with
from tests.llm.model_factories import make_tokenizer, save_llama

TICKERS = ["AAPL", "0700.HK", "^GSPC", "BRK-B"]


@pytest.fixture(scope="module")
def requests():
    rng = random.Random(7)
    return [DraftRequest(data.render_draft_prompt(ticker, data.random_features(rng)), ticker) for ticker in TICKERS]


def texts(answers):
    return [[each.text for each in drafts] for drafts in answers]


def test_every_request_gets_its_k_drafts_in_order(drafter, requests, settings):
    answers = draft_replies(drafter, requests, 3, settings, 0)
    assert [len(drafts) for drafts in answers] == [3] * len(requests)
    for request, drafts in zip(requests, answers, strict=True):
        for each in drafts:
            assert each.text.startswith(reply_prefix(request.ticker))
            assert each.reply == parse_reply(each.text, request.ticker)
            assert each.reply is not None
            assert each.seconds > 0


def test_no_requests_give_no_drafts(drafter, settings):
    assert draft_replies(drafter, [], 3, settings, 0) == []


def test_a_seed_fixes_the_texts_and_the_callers_random_state_is_left_alone(drafter, requests, settings):
    import torch

    torch.manual_seed(1)
    first = texts(draft_replies(drafter, requests, 4, settings, 5))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert texts(draft_replies(drafter, requests, 4, settings, 5)) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert texts(draft_replies(drafter, requests, 4, settings, 6)) != first


def test_candidates_of_one_prompt_differ_by_chance_and_not_at_temperature_zero(drafter, requests):
    assert len(set(texts(draft_replies(drafter, requests[:1], 12, settings_with(), 0))[0])) > 6
    assert len(set(texts(draft_replies(drafter, requests[:1], 12, settings_with(temperature=0), 0))[0])) == 1


def test_batches_do_not_change_what_the_likeliest_answer_is(drafter, requests):
    whole = draft_replies(drafter, requests, 1, settings_with(temperature=0), 0)
    alone = draft_replies(drafter, requests, 1, settings_with(temperature=0, batch_size=1), 0)
    assert texts(whole) == texts(alone)


def test_a_prompt_is_read_once_for_all_its_candidates_and_they_answer_as_one_alone(drafter, requests):
    read = []
    hook = drafter.model.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"].shape), with_kwargs=True
    )
    together = texts(draft_replies(drafter, requests, 3, settings_with(temperature=0), 0))
    hook.remove()
    assert read[0][0] == len(requests)
    assert {shape[1] for shape in read[1:]} == {1}
    alone = texts(draft_replies(drafter, requests, 1, settings_with(temperature=0, batch_size=1), 0))
    assert together == [one * 3 for one in alone]


def test_a_draft_that_is_not_valid_is_drawn_again_and_kept_as_it_was_written(drafter, requests):
    short = settings_with(max_new_tokens=16, retries=2)
    answers = draft_replies(drafter, [*requests, DraftRequest("Write a poem", "AAPL")], 2, short, 0)
    for drafts in answers:
        for each in drafts:
            assert each.reply is None
            assert each.attempts == 3
            assert '"rationale":"' in each.text


def test_a_reply_that_is_no_trade_at_its_market_is_drawn_again_and_is_not_valid(drafter, requests):
    wild = [replace(request, market=(1.0, 0.6)) for request in requests]
    answers = draft_replies(drafter, wild, 8, settings_with(retries=2), 0)
    drawn = [each for drafts in answers for each in drafts]
    assert all(each.reply is None or has_valid_levels(each.reply, 1.0, 0.6) for each in drawn)
    assert {each.reply is None for each in drawn if each.attempts == 3} == {True, False}


@pytest.mark.parametrize(
    ("side", "market", "valid"),
    [
        ("short", (100.0, 4.9), True),
        ("short", (100.0, 5.1), False),
        ("long", (100.0, 5.1), True),
        ("long", (1.0, 1.1), False),
        ("long", (100.0, 0.0), False),
        ("long", (100.0, float("nan")), False),
        ("long", (-37.6, 2.0), False),
        ("long", (100.0, 1e-300), False),
        ("long", None, True),
    ],
)
def test_a_target_of_twenty_atr_is_a_trade_where_it_and_the_stop_are_prices(side, market, valid):
    text = Reply(ticker="AAPL", rationale="up", side=side, target_atr=20, stop_atr=1, confidence=0.5).to_json()
    assert (DraftRequest("", "AAPL", market).parse(text) is not None) == valid


def test_brackets_nested_by_the_thousand_are_no_reply():
    assert DraftRequest("", "AAPL").parse("[" * 50_000) is None
    assert DraftRequest("", "AAPL").parse('{"ticker":' * 50_000) is None


def test_a_prompt_that_leaves_no_room_for_its_reply_is_refused_before_anything_is_drawn(drafter):
    long = DraftRequest("momentum up 1.0 " * 400, "AAPL")
    with pytest.raises(BadInput, match=r"at most 928 tokens.*tokens about AAPL.*context\.max_tokens"):
        draft_replies(drafter, [long], 1, Settings(), 0)


def test_valid_drafts_are_not_drawn_again(drafter, requests, settings):
    hot = unconstrained(settings_with(temperature=1.6, top_p=1.0, retries=8))
    drawn = [each for drafts in draft_replies(drafter, requests, 24, hot, 0) for each in drafts]
    assert {each.attempts for each in drawn} > {1}
    first = draft_replies(drafter, requests, 24, unconstrained(settings_with(temperature=1.6, top_p=1.0, retries=0)), 0)
    once = [each for drafts in first for each in drafts]
    assert all(early.text == late.text for early, late in zip(once, drawn, strict=True) if early.reply)


def test_another_model_with_another_chat_template_drafts_by_the_same_code(tmp_path, requests):
    folder = save_llama(tmp_path, make_tokenizer())
    other = load_drafter(settings_with(base=str(folder)))
    answers = draft_replies(other, requests, 2, settings_with(retries=0, max_new_tokens=16), 0)
    for request, drafts in zip(requests, answers, strict=True):
        assert all(each.text.startswith(reply_prefix(request.ticker)) and each.reply is None for each in drafts)


def test_a_tokenizer_that_merges_across_the_ticker_is_refused(tmp_path, requests):
    folder = save_llama(tmp_path, make_tokenizer(pieces=False, size=900))
    other = load_drafter(settings_with(base=str(folder)))
    with pytest.raises(BadInput, match="merges across"):
        draft_replies(other, requests, 1, settings_with(), 0)
