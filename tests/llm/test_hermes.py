import random
import re

import pytest

from osiris.errors import BadInput
from osiris.llm import starter_data as data
from osiris.llm.hermes import Idea, judge_text, score, spell_numbers
from osiris.llm.loader import load_judge
from tests.llm.conftest import settings_with
from tests.llm.makes import make_tokenizer, save_llama


@pytest.fixture(scope="module")
def ideas():
    rng = random.Random(11)
    found = []
    for _ in range(220):
        market = data.random_features(rng)
        reply = data.random_reply(rng, data.random_symbol(rng), market)
        found.append(Idea(reply.to_json(), data.snapshot_text(market)))
    return found


@pytest.fixture(scope="module")
def some(ideas):
    return ideas[:100]


def written(judge, ideas):
    """The beginning of what the judge writes, a token at a time, one idea at a time: text and token ids."""
    import torch

    found = []
    for idea in ideas:
        inputs = judge.tokenizer(judge_text(judge.tokenizer, idea), return_tensors="pt", add_special_tokens=False)
        ids = inputs["input_ids"]
        with torch.inference_mode():
            out = judge.model.generate(
                input_ids=ids,
                attention_mask=inputs["attention_mask"],
                do_sample=False,
                max_new_tokens=4,
                pad_token_id=judge.tokenizer.pad_token_id,
            )[0, ids.shape[1] :]
        found.append((judge.tokenizer.decode(out, skip_special_tokens=True), out.tolist()))
    return found


def number_at(text):
    match = re.match(r"(10|\d)", text)
    return int(match[1]) if match else None


def number_tokens(tokenizer):
    return [tokenizer(str(digit), add_special_tokens=False)["input_ids"][-1] for digit in range(10)]


def judge_of(folder):
    return load_judge(settings_with(judge=str(folder)))


def test_the_number_is_the_one_that_would_have_been_written(judge, ideas):
    assert [result.raw for result in score(judge, ideas, 64)] == [number_at(text) for text, _ in written(judge, ideas)]


def test_a_ten_of_two_tokens_is_told_from_a_one(tmp_path, some):
    tokenizer = make_tokenizer()
    digits = number_tokens(tokenizer)
    judge = judge_of(
        save_llama(tmp_path, tokenizer, dict.fromkeys(digits, 20) | {digits[1]: 40, digits[0]: 30}, seed=4)
    )
    assert spell_numbers(judge.tokenizer, "rate:[reply]:").second is not None
    wanted = [number_at(text) for text, _ in written(judge, some)]
    assert {1, 10} <= set(wanted)
    assert [result.raw for result in score(judge, some, 32)] == wanted


def test_a_ten_of_one_token_is_read_too(tmp_path, some):
    tokenizer = make_tokenizer(words=["10"])
    ten = tokenizer.convert_tokens_to_ids("10")
    judge = judge_of(save_llama(tmp_path, tokenizer, dict.fromkeys([*number_tokens(tokenizer), ten], 20), seed=4))
    assert spell_numbers(judge.tokenizer, "rate:[reply]:").second is None
    ids = [tokens[0] for _, tokens in written(judge, some)]
    assert ten in ids
    first = {token: number for number, token in enumerate([*number_tokens(tokenizer), ten])}
    assert [result.raw for result in score(judge, some, 32)] == [first.get(token) for token in ids]


def test_a_tokenizer_that_begins_every_text_with_a_space_piece_is_read_behind_it(tmp_path, some):
    tokenizer = make_tokenizer(spaced=True)
    space = tokenizer.convert_tokens_to_ids("_")
    digits = number_tokens(tokenizer)
    likely = dict.fromkeys(digits, 20) | {digits[1]: 40, digits[0]: 30, space: 60}
    judge = judge_of(save_llama(tmp_path, tokenizer, likely, seed=7))
    assert spell_numbers(judge.tokenizer, "rate:[reply]:").lead == (space,)
    wanted = [number_at(text[1:]) if text.startswith("_") else None for text, _ in written(judge, some)]
    assert len(set(wanted) - {None}) >= 3
    assert [result.raw for result in score(judge, some, 32)] == wanted


def test_a_judge_that_writes_no_number_leaves_the_score_empty_and_says_what_it_would_have_written(tmp_path, some):
    tokenizer = make_tokenizer()
    judge = judge_of(save_llama(tmp_path, tokenizer))
    scores = score(judge, some[:30], 32)
    texts = [text for text, _ in written(judge, some[:30])]
    unreadable = [(result, text) for result, text in zip(scores, texts, strict=True) if number_at(text) is None]
    assert len(unreadable) > 10
    for result, text in unreadable:
        assert (result.raw, result.normalized) == (None, None)
        assert text == "" or text[0] in result.note


def test_scores_are_a_tenth_of_the_number_and_do_not_depend_on_batches(judge, ideas):
    whole = score(judge, ideas[:50], 64)
    assert whole == score(judge, ideas[:50], 7)
    assert all(result.normalized == result.raw / 10 and result.note == "" for result in whole)


def test_what_candidates_of_one_prompt_share_is_read_once_and_their_numbers_stay_the_same(judge, ideas):
    rng = random.Random(5)
    market = [data.random_features(rng) for _ in range(8)]
    many = [
        Idea(data.random_reply(rng, "IBM", one).to_json(), data.snapshot_text(one)) for one in market for _ in range(6)
    ]
    read = []
    hook = judge.model.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"].shape), with_kwargs=True
    )
    together = score(judge, many, 48)
    hook.remove()
    alone = [score(judge, [one], 1)[0] for one in many]
    assert together == alone
    assert len({one.raw for one in alone}) > 4
    (prefixes, shared), (rows, rest) = read
    assert (prefixes, rows) == (8, 48)
    assert shared > 10
    assert shared + rest < 1.2 * max(
        len(judge.tokenizer(judge_text(judge.tokenizer, one))["input_ids"]) for one in many
    )


def test_an_idea_that_is_longer_than_the_judge_reads_gets_no_score_and_the_others_theirs(judge, some):
    long = Idea("x" * 4000)
    found = score(judge, [some[0], long, some[1]], 2)
    assert found[1].raw is None
    assert "longer than" in found[1].note
    assert [found[0], found[2]] == score(judge, some[:2], 2)


def test_no_ideas_give_no_scores(judge):
    assert score(judge, [], 8) == []


def test_an_idea_needs_no_context_and_may_be_any_text(judge):
    results = score(judge, [Idea("Buy AAPL at 100, target 106, stop 97"), Idea('{"ticker":"AAPL"}', "")], 8)
    assert len(results) == 2


def test_the_prompt_is_the_sources():
    tokenizer = make_tokenizer()
    assert judge_text(tokenizer, Idea("buy", "calm")) == (
        "[user] calm\nbuy\nRate the above trade idea from 0-to-10 where 10 = excellent risk-reward … "
        "Reply with just the number. [reply]:"
    )


def test_a_tokenizer_without_single_digits_is_refused(tmp_path, ideas):
    tokenizer = make_tokenizer(words=["[reply]:7"])
    judge = judge_of(save_llama(tmp_path, tokenizer))
    with pytest.raises(BadInput, match="one token each"):
        score(judge, ideas[:1], 8)
