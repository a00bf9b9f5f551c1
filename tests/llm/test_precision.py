"""How the weights of a model are kept: plain where that fits and is faster, in 4 bits elsewhere; chosen once."""

import json
import logging

import pytest
from transformers import LlamaConfig

from osiris.llm import precision
from osiris.llm.precision import (
    CHOICES_FILE,
    SMALL_PARAMETERS,
    choose_precision,
    count_parameters,
    fitting_types,
    stored_type,
    time_layers,
)
from tests.llm.conftest import settings_with

GIGABYTE = 10**9


def config(dtype="bfloat16", hidden=640, layers=8, words=20_000):
    """A Llama of 60 million parameters, of which none is in memory."""
    return LlamaConfig(
        vocab_size=words, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=8, dtype=dtype,
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    return settings_with(cache=tmp_path)


def choose_float32_before(cache):
    """Put float32 in the place of what was chosen, whichever way was the fastest."""
    keys = json.loads((cache / CHOICES_FILE).read_text())
    chosen = {key: {"weights": "float32", "reason": "said before"} for key in keys}
    (cache / CHOICES_FILE).write_text(json.dumps(chosen))


@pytest.mark.parametrize(
    ("stored", "gigabytes", "ways"),
    [
        ("float32", 10, ["float32", "4bit"]),
        ("float32", 6, ["4bit"]),
        ("bfloat16", 10, ["float32", "bfloat16", "4bit"]),
        ("bfloat16", 6, ["bfloat16", "4bit"]),
        ("float16", 6, ["bfloat16", "4bit"]),
        ("bfloat16", 3, ["4bit"]),
    ],
)
def test_what_fits_leaves_room_to_work_and_32_bits_are_never_rounded_to_16(stored, gigabytes, ways):
    assert fitting_types(GIGABYTE, gigabytes * GIGABYTE, stored) == ways


@pytest.mark.parametrize(("dtype", "stored"), [("bfloat16", "bfloat16"), ("float16", "float16"), (None, "float32")])
def test_the_type_of_a_model_is_the_one_it_was_published_in(dtype, stored):
    assert stored_type(config(dtype)) == stored


@pytest.mark.parametrize(
    ("quantize", "training", "weights"),
    [("4bit", False, "4bit"), ("none", True, "bfloat16"), ("none", False, "bfloat16")],
)
def test_what_a_setting_says_is_done_without_measuring(tmp_path, quantize, training, weights):
    chosen = choose_precision(settings_with(quantize=quantize, cache=tmp_path), config(), training)
    assert chosen == (weights, f'model.quantize = "{quantize}"')
    assert not (tmp_path / CHOICES_FILE).exists()


def test_a_small_model_is_trained_in_4_bits_and_answers_as_it_is(settings):
    small = config("float32", hidden=64, layers=1, words=500)
    assert count_parameters(small) < SMALL_PARAMETERS
    assert [choose_precision(settings, small, training).weights for training in (True, False)] == ["4bit", "float32"]


def test_a_choice_is_measured_once_logged_with_its_times_and_kept(settings, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first = choose_precision(settings, config(), training=True)
    assert {name in first.reason for name in ("float32", "bfloat16", "4bit", "ms")} == {True}
    assert first.reason in caplog.text
    (known,) = json.loads((tmp_path / CHOICES_FILE).read_text()).values()
    assert known == first._asdict()
    choose_float32_before(tmp_path)
    for training in (True, False):  # a model answers as it was trained
        assert choose_precision(settings, config(), training) == ("float32", "said before")


def test_the_fastest_is_taken_and_the_reason_has_all_times():
    seconds = {"float32": 0.03, "bfloat16": 0.01, "4bit": 0.2}
    chosen = precision._choose_fastest(list(seconds), seconds.get)
    assert chosen == ("bfloat16", "the fastest of those that fit: bfloat16 10.0 ms, float32 30.0 ms, 4bit 200.0 ms")


def test_a_way_that_was_slowed_down_once_by_another_process_is_still_the_fastest():
    times = {"float32": iter([0.25, 0.03, 0.03]), "4bit": iter([0.09, 0.09, 0.09])}
    assert precision._choose_fastest(list(times), lambda way: next(times[way])).weights == "float32"


@pytest.mark.parametrize(("rounded", "weights"), [(0.016, "float32"), (0.014, "4bit")])
def test_4_bits_which_round_the_weights_have_to_be_twice_as_fast(rounded, weights):
    seconds = {"float32": 0.03, "4bit": rounded}
    assert precision._choose_fastest(list(seconds), seconds.get).weights == weights


def test_a_copy_of_a_model_is_as_fast_as_the_model(settings, monkeypatch):
    first = choose_precision(settings, config(), training=True)
    monkeypatch.setattr(precision, "time_layers", lambda *_: pytest.fail("timed again"))
    moved = config()
    moved._name_or_path = "/elsewhere"
    assert choose_precision(settings, moved, training=True) == first


def test_a_choice_that_no_longer_fits_the_memory_is_made_anew(settings, tmp_path, monkeypatch):
    choose_precision(settings, config(), training=True)
    choose_float32_before(tmp_path)
    tight = precision.describe_machine()._replace(free_bytes=10)
    monkeypatch.setattr(precision, "describe_machine", lambda: tight)
    assert choose_precision(settings, config(), training=True) == ("4bit", "plain weights do not fit the free memory")


@pytest.mark.parametrize("text", ["{", "[]", '{"key": 1}', '{"key": {"weights": "8bit", "reason": "x"}}', "\udcff"])
def test_a_damaged_file_of_choices_is_measured_again(settings, tmp_path, text):
    (tmp_path / CHOICES_FILE).write_text(text, encoding="utf-8", errors="surrogateescape")
    choose_precision(settings, config(), training=True)
    assert all(one["weights"] in precision.BYTES for one in json.loads((tmp_path / CHOICES_FILE).read_text()).values())


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "4bit"])
def test_layers_of_the_models_size_are_timed(weights):
    assert 0 < time_layers(config(), weights) < 60
