"""The recipes of the house on small random models of six makes: every linear layer learns, and what came drafts."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPTNeoXConfig,
    LlamaConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from osiris.adapters.manifest import CONFIG_FILE, WEIGHTS_FILE
from osiris.config.settings import ModelSettings, Settings
from osiris.core.errors import BadInput
from osiris.llm.generate import DraftRequest, draft_replies
from osiris.llm.loader import load_drafter
from osiris.llm.local_models import LocalModels
from osiris.training.methods import train_adapter
from osiris.training.recipe import load_recipe
from osiris.training.run import TrainingOptions
from osiris.training.target_modules import linear_layers

SIZE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": 512, "initializer_range": 0.08,
}  # fmt: skip
HEADS = {"num_key_value_heads": 2, "head_dim": 32}
MAKES = {
    "phi3": (Phi3Config, {"num_key_value_heads": 2, "original_max_position_embeddings": 512}, 4),
    "llama": (LlamaConfig, HEADS, 7),
    "qwen2": (Qwen2Config, {"num_key_value_heads": 1}, 7),
    "qwen3": (Qwen3Config, HEADS, 7),
    "neox": (GPTNeoXConfig, {}, 4),
    "gemma": (GemmaConfig, HEADS, 7),
}
"""Linear layers of a block, by make."""


@pytest.fixture(scope="module")
def model_of(tokenizer, tmp_path_factory):
    """A function that saves a model of a make, once; settings under which it drafts as it is."""
    made = {}

    def save(make):
        if make not in made:
            kind, more, _ = MAKES[make]
            torch.manual_seed(0)
            ends = {
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": None,
            }
            folder = tmp_path_factory.mktemp(make)
            # as in published models, there is room for more tokens than the tokenizer has; Qwen2's own adds one
            config = kind(vocab_size=len(tokenizer) + 4, **SIZE, **more, **ends)
            AutoModelForCausalLM.from_config(config).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[make] = Settings(model=ModelSettings(base=str(folder), quantize="none", max_new_tokens=16, retries=0))
        return made[make]

    return save


def one_step(name, *methods):
    recipe = load_recipe(name, *methods)
    return replace(recipe, args=recipe.args | {"max_steps": 1})


@pytest.mark.parametrize("make", MAKES)
def test_every_linear_layer_of_a_block_learns_and_the_adapter_drafts(model_of, pairs, tmp_path, make):
    settings = model_of(make)
    result = train_adapter(
        settings, pairs, TrainingOptions(None, tmp_path / "20050225", one_step("dpo", "dpo"), progress=False)
    )
    assert len(load_file(result.folder / WEIGHTS_FILE)) == result.tensors == 2 * 2 * MAKES[make][2]
    names = json.loads((result.folder / CONFIG_FILE).read_text())["target_modules"]
    assert names == sorted(names)
    desk, asked = LocalModels(settings), [DraftRequest(pairs[0]["prompt"], "AAPL")]
    alone = draft_replies(desk.serve(None), asked, 1, settings, 0)[0][0].text
    adapted = draft_replies(desk.serve(result.folder), asked, 1, settings, 0)[0][0].text
    assert adapted.startswith('{"ticker":"AAPL"')
    assert draft_replies(desk.serve(None), asked, 1, settings, 0)[0][0].text == alone, (
        "an adapter beside it changes no base"
    )


@pytest.mark.parametrize("make", ["llama", "neox"])
def test_a_target_that_no_layer_has_is_named_with_the_layers_there_are(model_of, pairs, tmp_path, make):
    recipe = one_step("dpo", "dpo")
    wrong = replace(recipe, lora=recipe.lora | {"target_modules": ["qkv_proj", "o_proj"]})
    with pytest.raises(BadInput, match=r"qkv_proj.*no linear layer") as refused:
        train_adapter(model_of(make), pairs, TrainingOptions(None, tmp_path / "out", wrong, progress=False))
    assert ("down_proj" if make == "llama" else "dense_h_to_4h") in str(refused.value)


def test_a_parent_of_the_same_layers_by_name_is_continued_and_one_of_fewer_is_not(model_of, pairs, tmp_path):
    settings, recipe = model_of("phi3"), one_step("dpo", "dpo")

    def named(*layers):
        return replace(recipe, lora=recipe.lora | {"target_modules": list(layers)})

    whole = train_adapter(
        settings,
        pairs,
        TrainingOptions(None, tmp_path / "whole", named("qkv_proj", "o_proj", "gate_up_proj", "down_proj")),
    )
    train_adapter(settings, pairs, TrainingOptions(whole.folder, tmp_path / "next", recipe, progress=False))
    part = train_adapter(settings, pairs, TrainingOptions(None, tmp_path / "part", named("o_proj"), progress=False))
    with pytest.raises(BadInput, match="recipe's target_modules"):
        train_adapter(settings, pairs, TrainingOptions(part.folder, tmp_path / "none", recipe, progress=False))
    dropped = replace(recipe, lora=recipe.lora | {"lora_dropout": 0.5})
    with pytest.raises(BadInput, match="recipe's lora_dropout"):
        train_adapter(settings, pairs, TrainingOptions(whole.folder, tmp_path / "none", dropped, progress=False))


def test_the_layer_that_gives_the_logits_is_no_target(model_of):
    layers = linear_layers(load_drafter(model_of("neox")).model)
    assert len(layers) == 8
    assert not any("embed_out" in name for name in layers)
