"""A tiny random Phi-3 in a folder, loaded by path as any other model would be."""

import pytest

from osiris.config.settings import ModelSettings, Settings

TINY_CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def byte_tokenizer(merges=()):
    """One token a byte, plus `merges`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(merge) for merge in merges)]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")
    fast.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>"]})
    fast.chat_template = TINY_CHAT_TEMPLATE
    return fast


def save_model(folder, tokenizer, seed=0):
    """Save a random Phi-3 of 0.1 M parameters, whose layers are wide enough for nf4 blocks."""
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM

    torch.manual_seed(seed)
    config = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        original_max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
        initializer_range=0.08,
    )
    Phi3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_base():
    """A function (folder, merges) that saves a tiny model there."""
    return lambda folder, merges=(): save_model(folder, byte_tokenizer(merges))


@pytest.fixture(scope="session")
def tokenizer():
    return byte_tokenizer()


@pytest.fixture(scope="session")
def base(make_base, tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def settings(base, tmp_path):
    return Settings(workspace=tmp_path, model=ModelSettings(base=str(base)))


@pytest.fixture(scope="session")
def pairs():
    side = {True: "long", False: "short"}
    return [
        {
            "prompt": f"Ticker: T{number}\nmomentum {'up' if number % 2 else 'down'} 1.0",
            "good_reply": f'{{"ticker":"T{number}","side":"{side[number % 2 == 1]}"}}',
            "bad_reply": f'{{"ticker":"T{number}","side":"{side[number % 2 == 0]}"}}',
        }
        for number in range(16)
    ]


@pytest.fixture(scope="session")
def examples(pairs):
    return [{"prompt": pair["prompt"], "reply": pair["good_reply"]} for pair in pairs]
