"""Replies bound to their schema, by models that would not keep it."""

import json
import random

import pytest
import torch

from osiris.core.errors import BadInput
from osiris.core.ideas import REPLY_KEYS
from osiris.llm import starter_data as data
from osiris.llm.completion import stop_token_ids
from osiris.llm.generate import DraftRequest, draft_replies, unconstrained
from osiris.llm.grammar import ReplyConstraint
from osiris.llm.loader import load_drafter
from osiris.llm.local_models import LocalModels
from tests.llm.conftest import settings_with
from tests.llm.model_factories import make_tokenizer, save_llama

TICKERS = ["AAPL", "0700.HK", "^GSPC", "BRK-B", 'A"\\Ä']


@pytest.fixture(scope="module")
def requests():
    rng = random.Random(3)
    return [DraftRequest(data.render_draft_prompt("AAPL", data.random_features(rng)), ticker) for ticker in TICKERS]


@pytest.fixture(scope="module")
def spoilt(settings, adapters):
    """A drafter whose adapter has random weights."""
    return LocalModels(settings).serve(adapters[0])


def drawn(drafter, requests, settings, k=8):
    return [one for group in draft_replies(drafter, requests, k, settings, 0) for one in group]


def test_a_model_that_does_not_keep_the_schema_keeps_it_when_bound(spoilt, requests):
    once = settings_with(retries=0, max_new_tokens=512)
    assert not any(one.reply for one in drawn(spoilt, requests, unconstrained(once)))
    assert all(one.reply for one in drawn(spoilt, requests, once))


def test_at_temperature_zero_a_model_that_keeps_the_schema_writes_the_same_bound_and_unbound(drafter, requests):
    likeliest = settings_with(temperature=0)
    bound, free = (drawn(drafter, requests[:4], one, 1) for one in (likeliest, unconstrained(likeliest)))
    assert [one.text for one in bound] == [one.text for one in free]
    assert all(one.is_valid_at_once for one in free)


def test_candidates_of_one_prompt_end_each_in_its_own_time(drafter, requests):
    hot = settings_with(temperature=1.5, top_p=1.0, retries=0, max_new_tokens=900)
    texts = [one.text for one in drawn(drafter, requests, hot, 24)]
    assert len({len(text) for text in texts}) > 10
    for text in texts:
        assert tuple(json.loads(text)) == REPLY_KEYS


def test_a_model_that_wants_nothing_but_digits_comes_to_an_end(drafter):
    tokenizer, width = drafter.tokenizer, drafter.model.config.vocab_size
    stops = stop_token_ids(drafter.model, tokenizer)
    wanted = torch.zeros(1, width)
    wanted[0, [number for word, number in tokenizer.get_vocab().items() if word.isdigit()]] = 1.0
    bound, written, token = ReplyConstraint(tokenizer, 1, width, stops), [], stops[0]
    while len(written) < 500 and not (written and token in stops):
        token = int(bound(torch.tensor([[token]]), wanted).argmax())
        written.append(token)
    assert token in stops
    assert len(tokenizer.decode(written)) > 400


def test_a_model_of_another_make_is_bound_by_the_same_code(tmp_path, requests):
    other = load_drafter(settings_with(base=str(save_llama(tmp_path, make_tokenizer()))))
    assert all(one.reply for one in drawn(other, requests[:2], settings_with(retries=0, max_new_tokens=900), 1))


def test_a_tokenizer_that_puts_a_space_before_a_text_is_bound_too(tmp_path, requests):
    folder = save_llama(tmp_path, make_tokenizer(spaced=True))
    other = load_drafter(settings_with(base=str(folder)))
    assert all(one.reply for one in drawn(other, requests[:1], settings_with(retries=0, max_new_tokens=900), 1))


def test_a_tokenizer_that_does_not_fit_its_model_is_refused(drafter):
    with pytest.raises(BadInput, match="fits its model"):
        ReplyConstraint(drafter.tokenizer, 1, 32, [0])


def test_a_tokenizer_that_cannot_be_bound_is_refused_with_the_way_out():
    with pytest.raises(BadInput, match=r"model\.constrained = false"):
        ReplyConstraint(object(), 1, 8, [0])
