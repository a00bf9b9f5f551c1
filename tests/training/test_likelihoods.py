"""Means over rows: the last batch weighs what it has."""

import numpy as np
import pytest

from osiris.llm.loader import load_drafter
from osiris.training.likelihoods import Likelihoods, measure_likelihoods, row_means
from osiris.training.methods import train_adapter
from osiris.training.recipe import load_recipe
from osiris.training.run import TrainingOptions
from osiris.training.tokens import apply_chat_format, to_assistant_message, to_user_message, token_ids


@pytest.fixture
def drafter(settings):
    return load_drafter(settings)


def rows_of(pairs):
    return [
        {
            "prompt": to_user_message(one["prompt"]),
            "chosen": to_assistant_message(one["good_reply"]),
            "rejected": to_assistant_message(one["bad_reply"]),
        }
        for one in pairs
    ]


def test_log_probabilities_are_those_of_each_reply_alone_whatever_the_batch(drafter, pairs):
    import torch

    texts = apply_chat_format(drafter.tokenizer, rows_of(pairs[:5]), None)
    found = [measure_likelihoods(drafter.model, drafter.tokenizer, texts, batch) for batch in (1, 4, 32)]
    asked, reply = texts[3]["prompt"][0]["content"], texts[3]["rejected"][0]["content"]
    assert reply.endswith("<|end|>")
    ids, begin = token_ids(drafter.tokenizer, asked + reply), len(token_ids(drafter.tokenizer, asked))
    with torch.no_grad():
        scores = drafter.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
    expected = sum(scores[place - 1, ids[place]].item() for place in range(begin, len(ids)))
    for one in found:
        assert one.logps["rejected"][3] == pytest.approx(expected, abs=1e-3)
        assert one.logps["chosen"] == pytest.approx(found[0].logps["chosen"], abs=1e-3)


def test_one_row_of_thirty_three_weighs_a_thirty_third():
    now = Likelihoods({"chosen": np.r_[np.full(32, -10.0), -43.0], "rejected": np.r_[np.full(32, -12.0), -10.0]}, 0, 1)
    begun = Likelihoods({"chosen": np.full(33, -11.0), "rejected": np.full(33, -11.0)}, 0, 1)
    means = row_means(now, begun, 0.5)
    assert means["logps/chosen"] == pytest.approx(-11.0)
    assert means["rewards/accuracies"] == pytest.approx(32 / 33)
    assert means["rewards/margins"] == pytest.approx(0.5 * (0.0 + 32 / 33 - 1 / 33))


def test_single_replies_have_the_means_of_their_own_kind():
    now = Likelihoods({"chosen": np.array([-1.0, -3.0]), "rejected": np.array([-5.0])}, 0, 1)
    begun = Likelihoods({"chosen": np.array([-2.0, -4.0]), "rejected": np.array([-4.0])}, 0, 1)
    assert row_means(now, begun, 0.1)["rewards/margins"] == pytest.approx(0.2)


def test_a_training_reports_the_same_whatever_the_batch_it_is_measured_in(settings, pairs, tmp_path):
    from dataclasses import replace

    recipe = load_recipe("dpo", "dpo")
    few = {"max_steps": 1, "per_device_train_batch_size": 11}
    reports = [
        train_adapter(
            settings, pairs[:11], TrainingOptions(None, tmp_path / str(size),
            replace(recipe, args=recipe.args | few | {"per_device_eval_batch_size": size}), progress=False),
        ).after
        for size in (5, 11)
    ]  # fmt: skip
    assert reports[0] == pytest.approx(reports[1], rel=1e-3, abs=1e-3)
