"""Batches that fit the memory: the rows of a step stay, what is read at once does not."""

from types import SimpleNamespace

import pytest

from osiris.training.batches import MEMORY_SHARE, bytes_per_token, fit_batches
from osiris.training.recipe import load_recipe


class Model:
    """A model of given widths."""

    def __init__(self, **widths):
        sizes = {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "vocab_size": 49152} | widths
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(**sizes))


def memory_for(rows, lengths, replies=2):
    """Free bytes that hold exactly so many rows."""
    return int(rows * max(lengths) * replies * bytes_per_token(Model()) / MEMORY_SHARE) + 1


@pytest.fixture
def recipe():
    return load_recipe("dpo", "dpo")


def read(recipe):
    return recipe.args["per_device_train_batch_size"], recipe.args.get("gradient_accumulation_steps", 1)


@pytest.mark.parametrize(
    ("rows", "parts"), [(32, (32, 1)), (31, (16, 2)), (9, (8, 4)), (4, (4, 8)), (1, (1, 32)), (0.1, (1, 32))]
)
def test_a_step_keeps_its_rows_however_few_are_read_at_once(recipe, rows, parts):
    lengths = [400, 450, 300]
    fitted = fit_batches(recipe, Model(), lengths, memory_for(rows, lengths))
    assert read(fitted) == parts
    assert fitted.args["per_device_eval_batch_size"] <= max(1, rows) or rows >= 32


def test_a_recipe_that_fits_is_left_alone(recipe):
    assert fit_batches(recipe, Model(), [100], 10**13) is recipe


def test_a_single_reply_a_row_needs_half_the_memory():
    recipe = load_recipe("kto", "kto")
    wanted = recipe.args["per_device_train_batch_size"]
    fitted = fit_batches(recipe, Model(), [400], memory_for(wanted / 2, [400]))
    assert fitted is recipe


def test_a_starter_reads_its_whole_batch_in_two_gigabytes(recipe):
    starter = Model(hidden_size=128, num_hidden_layers=2, intermediate_size=320, vocab_size=640)
    assert fit_batches(recipe, starter, [160] * 32, 2 * 10**9) is recipe


def test_memory_that_does_not_hold_one_row_is_said(recipe, caplog):
    fit_batches(recipe, Model(), [2000], 10**9)
    assert "and 1.0 GB are free" in caplog.text
