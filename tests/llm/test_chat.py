"""Where an answer begins and ends, by chat templates as they are in the wild."""

import copy

import pytest

from osiris.core.errors import BadInput
from osiris.llm.chat import end_of_answer, format_exchange, format_prompt, require_chat_template
from osiris.llm.completion import stop_token_ids
from tests.llm.model_factories import make_tokenizer

TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
BEGIN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHATML = TURNS + BEGIN
THINK = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}" + BEGIN
)
R1 = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
SYSTEM = "<|im_start|>system\nYou help.<|im_end|>\n" + CHATML
SPACED = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]"
    "{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)
TWO_ENDS = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n{% else %}<end>{% endif %}"
NO_END = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
IGNORES = TURNS


@pytest.fixture(scope="module")
def plain():
    tokenizer = make_tokenizer(size=300)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": "<s>"})
    return tokenizer


@pytest.fixture
def with_template(plain):
    def given(template):
        tokenizer = copy.deepcopy(plain)
        tokenizer.chat_template = template
        return tokenizer

    return given


@pytest.mark.parametrize(
    ("template", "begins", "end"),
    [
        (CHATML, "Hi<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"),
        (SYSTEM, "Hi<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"),
        (THINK, "<|im_start|>assistant\n<think>\n\n</think>\n\n", "<|im_end|>"),
        (IGNORES, "Hi<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"),
        (SPACED, "<s>[INST] Hi [/INST]", "<end>"),
        (TWO_ENDS, "<|im_start|>assistant\n", "<|im_end|>"),
        (NO_END, "user: Hi\nassistant: ", "<end>"),
    ],
    ids=["chatml", "system", "think", "ignores", "spaced", "two ends", "no end"],
)
def test_an_answer_begins_where_the_template_puts_it_and_ends_with_one_token(with_template, template, begins, end):
    tokenizer = with_template(template)
    assert format_prompt(tokenizer, "Hi").endswith(begins)
    assert format_exchange(tokenizer, "Hi", "{}") == (format_prompt(tokenizer, "Hi"), "{}" + end)
    assert end_of_answer(tokenizer) == end


def test_a_template_that_asks_within_a_thought_is_not_trained_on(with_template):
    with pytest.raises(BadInput, match="where it asks for one"):
        format_exchange(with_template(R1), "Hi", "{}")


@pytest.mark.parametrize("template", [None, "", "{{ raise_exception('no') }}", "{% for", "nothing"])
def test_a_model_that_cannot_be_asked_is_refused_before_it_is_loaded(with_template, template):
    with pytest.raises(BadInput, match="chat template"):
        require_chat_template(with_template(template), "mine")


def test_a_model_that_would_never_stop_is_refused(with_template):
    tokenizer = with_template(NO_END)
    tokenizer.eos_token = None
    with pytest.raises(BadInput, match="ends an answer"):
        require_chat_template(tokenizer, "mine")


def test_an_unknown_token_that_also_is_the_end_token_ends_an_answer(with_template):
    tokenizer = with_template(NO_END)
    tokenizer.unk_token = tokenizer.eos_token
    model = type("Model", (), {"generation_config": type("Config", (), {"eos_token_id": tokenizer.eos_token_id})})
    assert stop_token_ids(model, tokenizer) == [tokenizer.eos_token_id]
