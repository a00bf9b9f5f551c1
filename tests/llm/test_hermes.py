import math
import random
import re

import pytest

from osiris.llm import starter_data as data
from osiris.llm.hermes import JudgedIdea, format_judge_prompt, score_ideas
from osiris.llm.loader import load_judge
from tests.llm.conftest import settings_with
from tests.llm.model_factories import make_tokenizer, save_chain


@pytest.fixture(scope="module")
def ideas():
    rng = random.Random(11)
    found = []
    for _ in range(220):
        market = data.random_features(rng)
        reply = data.random_reply(rng, data.random_symbol(rng), market)
        found.append(JudgedIdea(reply.to_json(), data.render_snapshot(market)))
    return found


@pytest.fixture(scope="module")
def some(ideas):
    return ideas[:100]


def written(judge, ideas):
    """The beginning of what the judge writes, a token at a time, one idea at a time: text and token ids."""
    import torch

    found = []
    for idea in ideas:
        inputs = judge.tokenizer(
            format_judge_prompt(judge.tokenizer, idea), return_tensors="pt", add_special_tokens=False
        )
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


def judge_that_writes(folder, text, **made):
    """A judge that answers every prompt with `text`, of different tokens, and the end token."""
    tokenizer = make_tokenizer(**made)
    begun, said = (tokenizer(f"[reply]:{more}", add_special_tokens=False)["input_ids"] for more in ("", text))
    chain = [begun[-1], *said[len(begun) :], tokenizer.eos_token_id]
    return judge_of(save_chain(folder, tokenizer, chain)), chain[1:-1]


def judge_of(folder):
    return load_judge(settings_with(judge=str(folder)))


def test_the_number_is_the_one_that_would_have_been_written(judge, ideas):
    assert [result.raw for result in score_ideas(judge, ideas, 64)] == [
        number_at(text) for text, _ in written(judge, ideas)
    ]


@pytest.mark.parametrize(
    ("text", "made", "tokens", "number"),
    [
        ("7", {}, 1, 7),
        ("10", {}, 2, 10),
        ("10", {"words": ["10"]}, 1, 10),
        (" 10", {}, 3, 10),
        ("\n10", {}, 3, 10),
        ("10.", {}, 3, 10),
        ("7", {"spaced": True}, 2, 7),
        ("75", {}, 2, None),
        ("7.5", {}, 3, None),
        ("1 0", {}, 3, None),
        ("-3", {}, 2, None),
        ("12345678", {}, 8, None),
    ],
)
def test_the_number_is_what_it_wrote_however_its_tokenizer_spells_it(tmp_path, some, text, made, tokens, number):
    judge, spelled = judge_that_writes(tmp_path, text, **made)
    assert len(spelled) == tokens
    found = score_ideas(judge, some[:3], 2)
    assert [result.raw for result in found] == [number] * 3
    assert all(number is not None or repr(text) in result.note for result in found)


def test_the_probability_of_each_number_is_that_of_writing_it(judge, some):
    import torch

    found = score_ideas(judge, some[:12], 5)
    for idea, score in zip(some[:12], found, strict=True):
        text = format_judge_prompt(judge.tokenizer, idea)
        odds = []
        for number in range(11):
            ids = judge.tokenizer(f"{text}{number}<|end|>", return_tensors="pt", add_special_tokens=False)["input_ids"]
            begin = len(judge.tokenizer(text, add_special_tokens=False)["input_ids"])
            with torch.inference_mode():
                logs = judge.model(input_ids=ids).logits[0].log_softmax(-1)
            steps = range(begin, ids.shape[1] - (number != 1))  # only behind a 1 it matters that the number has ended
            odds.append(sum(float(logs[place - 1, ids[0, place]]) for place in steps))
        likely = [math.exp(one) for one in odds]
        assert score.number_probability == pytest.approx(sum(likely), abs=0.02)
        assert score.expected == pytest.approx(sum(n * one for n, one in enumerate(likely)) / sum(likely), abs=0.05)


def test_a_ten_is_not_counted_as_a_one_too(judge, ideas):
    tens = [score for score in score_ideas(judge, ideas, 64) if score.raw == 10]
    assert tens, "the starter gives a 10 to some of these ideas"
    assert all(score.number_probability < 1.001 for score in tens)
    assert all(score.expected > 9 for score in tens)


class TestAJudgeThatBeginsWithProse:
    """It writes "The" behind every prompt, and would have said a number else."""

    @pytest.fixture
    def judge(self, tmp_path):
        return judge_that_writes(tmp_path, "The")[0]

    def test_gives_the_number_that_it_finds_likeliest(self, judge, some):
        found = score_ideas(judge, some[:3], 2, min_probability=0)
        assert all(one.raw is not None and one.normalized == one.raw / 10 for one in found)
        assert all(0 <= one.expected <= 10 and one.note == "" for one in found)

    def test_gives_none_where_a_number_is_too_unlikely_and_says_how_unlikely(self, judge, some):
        found = score_ideas(judge, some[:1], 1, min_probability=0.5)[0]
        assert (found.raw, found.normalized, found.expected) == (None, None, None)
        assert found.number_probability < 0.5
        assert "'The'" in found.note
        assert "probability" in found.note


def test_a_judge_with_fewer_positions_than_an_idea_needs_is_not_asked_beyond_them(tmp_path, some):
    tokenizer = make_tokenizer()
    judge = judge_of(save_chain(tmp_path, tokenizer, [tokenizer.eos_token_id], positions=64))
    assert judge.tokenizer.model_max_length == 64
    assert "longer than the 56 tokens" in score_ideas(judge, some[:1], 1)[0].note


def test_scores_are_a_tenth_of_the_number_and_do_not_depend_on_batches(judge, ideas):
    whole = score_ideas(judge, ideas[:50], 64)
    assert whole == score_ideas(judge, ideas[:50], 7)
    assert all(result.normalized == result.raw / 10 and result.note == "" for result in whole)


def test_what_candidates_of_one_prompt_share_is_read_once_and_their_numbers_stay_the_same(judge, ideas):
    rng = random.Random(5)
    market = [data.random_features(rng) for _ in range(8)]
    many = [
        JudgedIdea(data.random_reply(rng, "IBM", one).to_json(), data.render_snapshot(one))
        for one in market
        for _ in range(6)
    ]
    read = []
    hook = judge.model.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"].shape), with_kwargs=True
    )
    together = score_ideas(judge, many, 48)
    hook.remove()
    alone = [score_ideas(judge, [one], 1)[0] for one in many]
    assert together == alone
    assert len({one.raw for one in alone}) > 4
    (prefixes, shared), (rows, rest), *each = read
    assert {shape[1] for shape in each} <= {1, 2}  # a token of the answer, or the beginning of a number
    assert (prefixes, rows) == (8, 48)
    assert shared > 10
    assert shared + rest < 1.2 * max(
        len(judge.tokenizer(format_judge_prompt(judge.tokenizer, one))["input_ids"]) for one in many
    )


def test_an_idea_that_is_longer_than_the_judge_reads_gets_no_score_and_the_others_theirs(judge, some):
    long = JudgedIdea("x" * 4000)
    found = score_ideas(judge, [some[0], long, some[1]], 2)
    assert found[1].raw is None
    assert "longer than" in found[1].note
    assert [found[0], found[2]] == score_ideas(judge, some[:2], 2)


def test_no_ideas_give_no_scores(judge):
    assert score_ideas(judge, [], 8) == []


def test_an_idea_needs_no_context_and_may_be_any_text(judge):
    results = score_ideas(
        judge, [JudgedIdea("Buy AAPL at 100, target 106, stop 97"), JudgedIdea('{"ticker":"AAPL"}', "")], 8
    )
    assert len(results) == 2


def test_the_prompt_is_the_sources():
    tokenizer = make_tokenizer()
    assert format_judge_prompt(tokenizer, JudgedIdea("buy", "calm")) == (
        "[user] calm\nbuy\nRate the above trade idea from 0-to-10 where 10 = excellent risk-reward … "
        "Reply with just the number. [reply]:"
    )
