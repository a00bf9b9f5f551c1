"""Generation in this process: continue texts with a model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from osiris.config.settings import Settings
from osiris.llm.chat import end_of_answer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase
    from transformers._typing import GenerativePreTrainedModel

Completer = Callable[[list[str]], list[str]]
"""Continues each text, which is a question in the model's chat format and perhaps the start of its reply."""


def complete_texts(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: list[str], settings: Settings
) -> list[str]:
    """What the model writes after each text, all in one batch; equal texts are read once."""
    from transformers import LogitsProcessorList

    unique_texts = list(dict.fromkeys(texts))
    inputs = tokenizer(
        unique_texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
    ).to(model.device)
    places = [unique_texts.index(text) for text in texts]
    sampling: dict[str, Any] = {"do_sample": False}
    if settings.model.temperature > 0:
        sampling = {
            "do_sample": True,
            "temperature": settings.model.temperature,
            "top_p": settings.model.top_p,
            "top_k": 0,  # transformers would draw from the 50 likeliest tokens, a server draws from all
        }
    stops = stop_token_ids(model, tokenizer)
    constraints = LogitsProcessorList()
    if settings.model.constrained:
        from osiris.llm.grammar import ReplyConstraint

        constraints.append(ReplyConstraint(tokenizer, len(texts), model.config.vocab_size, stops))
    # The cache holds all tokens but the last of each text: `generate` needs one token to go on from.
    written = as_generator(model).generate(
        input_ids=inputs["input_ids"][places],
        attention_mask=inputs["attention_mask"][places],
        past_key_values=prefill_cache(model, inputs["input_ids"][:, :-1], inputs["attention_mask"][:, :-1], places),
        max_new_tokens=settings.model.max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=stops,
        logits_processor=constraints,
        **sampling,
    )[:, inputs["input_ids"].shape[1] :]
    return tokenizer.batch_decode(written, skip_special_tokens=True)


def as_generator(model: "PreTrainedModel") -> "GenerativePreTrainedModel":
    """The model itself: every causal language model has `generate`, but `PreTrainedModel` does not declare it."""
    return cast("GenerativePreTrainedModel", model)


def prefill_cache(model: "PreTrainedModel", ids: "Tensor", mask: "Tensor", places: list[int]) -> "Cache":
    """The key-value cache of left-padded texts: each text is read once, however often it is continued.

    `ids` and `mask` have shape (texts, tokens). The cache has a row for each of `places`, which are rows of `ids`.
    """
    import torch

    cache = model(
        input_ids=ids, attention_mask=mask, position_ids=position_ids(mask), use_cache=True, logits_to_keep=1
    ).past_key_values
    cache.batch_select_indices(torch.tensor(places, device=ids.device))
    return cache


def position_ids(mask: "Tensor") -> "Tensor":
    """The position of each token, shape (texts, tokens); padding on the left is not counted."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def stop_token_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Ids that end an answer: those in the model's own configuration, and the one that ends it in the chat template.

    An end token that is also the unknown token (GPT-2, Pythia, OLMo) ends an answer nevertheless.
    """
    configured = as_generator(model).generation_config.eos_token_id
    configured = configured if isinstance(configured, list) else [configured]
    turn = tokenizer.convert_tokens_to_ids(end_of_answer(tokenizer))
    return sorted({stop for stop in [*configured, tokenizer.eos_token_id, turn] if stop is not None})
