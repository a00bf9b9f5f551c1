"""How many rows of a batch are read at once: as many as the free memory holds, the rest one after the other.

An example: a recipe wants steps of 32 pairs. A model of 135 million parameters needs 3 MB for a token while it trains.
So 64 replies of 450 tokens need 80 GB. With 20 GB free, 4 pairs are read at once, and their gradients are added up 8
times. The step stays one of 32 pairs.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from osiris.llm.precision import describe_machine
from osiris.training.recipe import Recipe

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.6
"""The share of the free memory that a step may take; what else runs needs the rest."""
HIDDEN_COPIES = 14
INNER_COPIES = 6
"""Numbers that a layer keeps for the backward pass, as multiples of its hidden and inner width."""
LOGIT_COPIES = 4
"""Copies of the logits of a token: themselves, their softmax, and the gradients of both."""
BYTES_PER_NUMBER = 4
DEFAULT_BATCH = 8
"""That of transformers, where a recipe names none."""
REPLIES_PER_ROW = {"dpo": 2, "kto": 1, "sft": 1}


def fit_batches(recipe: Recipe, model: Any, lengths: Sequence[int], free_bytes: int | None = None) -> Recipe:
    """The recipe with batches that fit the free memory, and the same number of rows in each step.

    `lengths` are the tokens of the rows, prompt and longest reply. Rows are padded to the longest one.
    """
    free = describe_machine().free_bytes if free_bytes is None else free_bytes
    wanted = int(recipe.args.get("per_device_train_batch_size", DEFAULT_BATCH))
    row_bytes = max(lengths) * REPLIES_PER_ROW[recipe.method] * bytes_per_token(model)
    fitting = max(1, int(MEMORY_SHARE * free / row_bytes))
    if fitting == 1 and row_bytes > free:
        log.warning("a training row needs about %.1f GB, and %.1f GB are free", row_bytes / 1e9, free / 1e9)
    if fitting >= wanted:
        return recipe
    read = next(size for size in range(fitting, 0, -1) if wanted % size == 0)
    times = int(recipe.args.get("gradient_accumulation_steps", 1)) * (wanted // read)
    log.info("each step of %s rows is read in %s parts, since memory holds %s rows", wanted, wanted // read, fitting)
    evaluated = min(int(recipe.args.get("per_device_eval_batch_size", DEFAULT_BATCH)), fitting)
    changes = {
        "per_device_train_batch_size": read,
        "gradient_accumulation_steps": times,
        "per_device_eval_batch_size": evaluated,
    }
    return replace(recipe, args=recipe.args | changes)


def rows_per_step(recipe: Recipe) -> int:
    """The rows whose gradients make one step."""
    read = int(recipe.args.get("per_device_train_batch_size", DEFAULT_BATCH))
    return read * int(recipe.args.get("gradient_accumulation_steps", 1))


def bytes_per_token(model: Any) -> int:
    """The memory that a token takes in a training step, in bytes, from the widths of the model's layers.

    Measured on SmolLM2-135M in float32: 2.8 MB; this estimate is 2.9 MB.
    """
    config = model.config.get_text_config()
    hidden, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    numbers = layers * (HIDDEN_COPIES * hidden + INNER_COPIES * inner) + LOGIT_COPIES * config.vocab_size
    return int(BYTES_PER_NUMBER * numbers)
