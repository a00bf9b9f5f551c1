import random

import pytest

from osiris.llm import starter_data as data
from osiris.llm.generate import reply_prefix
from osiris.llm.starter_recipe import starter_recipe
from osiris.llm.starter_train import build_tokenizer, encode_example


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(starter_recipe("drafter"))


def pieces(tokenizer, text):
    return [tokenizer.decode([token]) for token in tokenizer(text)["input_ids"]]


def test_digits_and_newlines_stand_alone(tokenizer):
    assert pieces(tokenizer, "120.75\n\n4") == ["1", "2", "0", ".", "7", "5", "\n", "\n", "4"]


@pytest.mark.parametrize("word", ["long", "short", *(f" {verdict}" for verdict in data.RATIONALE_ENDINGS)])
def test_what_decides_is_a_single_piece(tokenizer, word):
    before = "momentum" if word.startswith(" ") else ""
    assert pieces(tokenizer, f'{before}{word}"') == [piece for piece in (before, word, '"') if piece]


def test_sides_and_reasons_are_single_pieces_inside_a_reply(tokenizer):
    example = data.random_draft_example(random.Random(3))
    found = pieces(tokenizer, example.answer)
    feature, verdict = example.decisions[0].split(" ", 1)
    assert {feature, f" {verdict}", example.decisions[1].strip('"')} <= set(found)


def test_text_survives_the_tokenizer(tokenizer):
    rng = random.Random(0)
    texts = [data.random_draft_example(rng).prompt for _ in range(50)] + ['naïve … "quoted" €5\t\n  two spaces']
    assert [tokenizer.decode(tokenizer(text)["input_ids"]) for text in texts] == texts


def test_a_reply_can_be_cut_after_its_ticker_between_two_tokens(tokenizer):
    rng = random.Random(0)
    for _ in range(300):
        ticker = data.random_symbol(rng)
        reply = data.random_reply(rng, ticker, data.random_features(rng))
        cut, whole = tokenizer(reply_prefix(ticker))["input_ids"], tokenizer(reply.to_json())["input_ids"]
        assert whole[: len(cut)] == cut


def test_the_chat_template_is_that_of_phi_3(tokenizer):
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    assert text == "<|user|>\nhello<|end|>\n<|assistant|>\nhi<|end|>\n"
    asked = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "<|user|>\nhello<|end|>\n<|assistant|>\n"
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|end|>", "<|pad|>")


def test_a_prompt_and_its_answer_tokenize_apart_as_together(tokenizer):
    example = data.random_draft_example(random.Random(1))
    turns = [{"role": "user", "content": example.prompt}, {"role": "assistant", "content": example.answer}]
    asked = tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True)["input_ids"]
    whole = tokenizer.apply_chat_template(turns)["input_ids"]
    assert whole[: len(asked)] == asked


def test_decisions_and_the_pieces_they_touch_weigh_more_than_the_rest_and_the_prompt_least(tokenizer):
    example = data.random_draft_example(random.Random(2))
    ids, targets, weights = encode_example(example, starter_recipe("drafter"), tokenizer)
    assert targets == ids
    heavy = "".join(tokenizer.decode([token]) for token, weight in zip(ids, weights, strict=True) if weight == 4.0)
    assert heavy == f'{example.decisions[0]}","side":{example.decisions[1]},"target_atr":'
    answer = tokenizer(example.answer)["input_ids"]
    assert set(weights[: -len(answer) - 1]) == {0.1}
    assert set(weights[-len(answer) - 1 :]) == {1.0, 4.0}


def test_hints_are_targets_right_behind_their_place_and_nothing_else_is_changed(tokenizer):
    example = data.random_judge_example(random.Random(2))
    ids, targets, weights = encode_example(example, starter_recipe("judge"), tokenizer)
    changed = [place for place, (token, target) in enumerate(zip(ids, targets, strict=True)) if token != target]
    assert [tokenizer.decode([targets[place]]) for place in changed] == [word for _, word in example.hints]
    asked = tokenizer.decode(ids)
    for place, (text, _) in zip(changed, example.hints, strict=True):
        assert tokenizer.decode(ids[:place]) == asked[: asked.index(text) + len(text)]
        assert weights[place] == 4.0
