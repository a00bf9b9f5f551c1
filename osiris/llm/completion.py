"""Generation in this process: texts in, what the model writes after each of them out."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from osiris.config.settings import Settings
from osiris.llm.chat import end_of_answer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

Completer = Callable[[list[str]], list[str]]
"""What a model writes after each text: a question in its chat format and the start of its reply."""


def complete_texts(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", texts: list[str], settings: Settings
) -> list[str]:
    """What the model writes after each text, all in one batch; equal ones are read once."""
    unique_texts = list(dict.fromkeys(texts))
    inputs = tokenizer(
        unique_texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
    ).to(model.device)
    places = [unique_texts.index(text) for text in texts]
    sampling = {"do_sample": False}
    if settings.model.temperature > 0:
        sampling = {
            "do_sample": True,
            "temperature": settings.model.temperature,
            "top_p": settings.model.top_p,
            "top_k": 0,  # transformers would draw from the 50 likeliest, a server from all
        }
    stops = stop_token_ids(model, tokenizer)
    constraints = []
    if settings.model.constrained:
        from osiris.llm.grammar import ReplyConstraint

        constraints = [ReplyConstraint(tokenizer, len(texts), model.config.vocab_size, stops)]
    written = model.generate(
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


def prefill_cache(model: "PreTrainedModel", ids: "Tensor", mask: "Tensor", places: list[int]) -> "Cache":
    """The cache of left-padded texts, each read once however often it is gone on from.

    `ids` and `mask` are texts x tokens; the cache has a row for each of `places`, which are rows of `ids`.
    """
    import torch

    cache = model(
        input_ids=ids, attention_mask=mask, position_ids=position_ids(mask), use_cache=True, logits_to_keep=1
    ).past_key_values
    cache.batch_select_indices(torch.tensor(places, device=ids.device))
    return cache


def position_ids(mask: "Tensor") -> "Tensor":
    """The position of each token, padding not counted."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def stop_token_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Ids that end an answer: what the model's own configuration says, and what its chat template ends one with.

    An end token that also is the unknown one (GPT-2, Pythia, OLMo) ends an answer all the same.
    """
    configured = model.generation_config.eos_token_id
    configured = configured if isinstance(configured, list) else [configured]
    turn = tokenizer.convert_tokens_to_ids(end_of_answer(tokenizer))
    return sorted({stop for stop in [*configured, tokenizer.eos_token_id, turn] if stop is not None})
