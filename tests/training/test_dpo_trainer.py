"""A prompt that is read once for both replies: the numbers and the gradients are those of TRL, of fewer tokens."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config
from trl import DPOTrainer
from trl.trainer.utils import add_fused_lm_head

from osiris.adapters.manifest import WEIGHTS_FILE
from osiris.training import methods
from osiris.training.dpo_trainer import NO_LABEL, TOKEN_FIELDS, SharedPromptDPOTrainer, read_prompts_once
from osiris.training.methods import train_adapter
from osiris.training.recipe import load_recipe
from osiris.training.run import TrainingOptions

SIZE = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1,
}  # fmt: skip
CONFIGS = {
    "llama": LlamaConfig(**SIZE),
    "qwen2": Qwen2Config(**SIZE),
    "mistral, whose window is shorter than the prompt": MistralConfig(**SIZE, sliding_window=6),
}
PAIRS = [(9, 4, 7), (3, 5, 2), (14, 1, 6)]
"""Tokens of a prompt, and of its chosen and its rejected reply."""


def make_model(config):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    add_fused_lm_head(model, outputs=TOKEN_FIELDS)
    return model


def make_batch(pairs=PAIRS):
    """What TRL's collator makes of pairs: chosen replies first, padding on the right."""
    draw = torch.Generator().manual_seed(1)
    prompts = [torch.randint(1, 50, (prompt,), generator=draw) for prompt, *_ in pairs]
    rows = [
        (prompt, torch.randint(1, 50, (pair[kind],), generator=draw))
        for kind in (1, 2)
        for prompt, pair in zip(prompts, pairs, strict=True)
    ]
    width = max(len(prompt) + len(reply) for prompt, reply in rows)
    ids, mask = torch.zeros(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), NO_LABEL)
    for number, (prompt, reply) in enumerate(rows):
        end = len(prompt) + len(reply)
        ids[number, :end], mask[number, :end] = torch.cat([prompt, reply]), 1
        labels[number, len(prompt) : end] = reply
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "use_cache": False, "fused_lm_head": True}


def gradients(model, output):
    model.zero_grad()
    # weights differ, so that no two tokens could change places unseen
    (output.log_probs * torch.linspace(0.5, 2, output.log_probs.numel()).view_as(output.log_probs)).sum().backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_numbers_and_gradients_are_those_of_reading_every_row_by_itself(config):
    model, batch = make_model(config), make_batch()
    apart, shared = model(**batch), read_prompts_once(model)(**batch)
    for name in TOKEN_FIELDS:
        torch.testing.assert_close(getattr(shared, name), getattr(apart, name), rtol=1e-4, atol=1e-5)
    wanted, found = gradients(model, apart), gradients(model, shared)
    assert wanted.keys() == found.keys()
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-5, msg=name)


def test_a_prompt_is_read_once_and_its_last_token_with_each_reply():
    model, read = make_model(CONFIGS["llama"]), []
    model.get_input_embeddings().register_forward_hook(lambda _module, given, _output: read.append(given[0].numel()))
    read_prompts_once(model)(**make_batch([(20, 5, 5)]))
    assert read == [19, 2 * 6]


def test_a_prompt_of_one_token_has_its_replies_too():
    model, batch = make_model(CONFIGS["llama"]), make_batch([(1, 3, 4), (2, 2, 1)])
    torch.testing.assert_close(
        read_prompts_once(model)(**batch).log_probs, model(**batch).log_probs, rtol=1e-4, atol=1e-5
    )


def test_an_adapter_comes_out_as_trl_alone_would_train_it(settings, pairs, tmp_path, monkeypatch):
    recipe = load_recipe("dpo", "dpo")
    short = replace(recipe, args=recipe.args | {"max_steps": 3, "per_device_train_batch_size": 4})
    uneven = [pair | {"prompt": pair["prompt"] + " and on" * (number % 3)} for number, pair in enumerate(pairs)]
    weights = {}
    for trainer in (SharedPromptDPOTrainer, DPOTrainer):
        monkeypatch.setattr(
            methods, "TRAINING_METHODS", {"dpo": replace(methods.TRAINING_METHODS["dpo"], make_trainer=trainer)}
        )
        result = train_adapter(
            settings, uneven, TrainingOptions(None, tmp_path / trainer.__name__, short, progress=False)
        )
        weights[trainer] = load_file(result.folder / WEIGHTS_FILE)
    ours, theirs = weights.values()
    for name, values in theirs.items():
        torch.testing.assert_close(ours[name], values, rtol=1e-2, atol=2e-5, msg=name)


@pytest.mark.parametrize(("checkpointing", "experts"), [(False, False), (True, False), (False, True)])
def test_with_checkpointing_or_a_mixture_of_experts_rows_are_read_as_trl_reads_them(checkpointing, experts):
    model = make_model(CONFIGS["llama"])
    trainer = SimpleNamespace(args=SimpleNamespace(gradient_checkpointing=checkpointing), aux_loss_enabled=experts)
    assert (SharedPromptDPOTrainer._wrap(trainer, model) is model) == (checkpointing or experts)
