"""Decoding bound to the schema of a reply: tokens that cannot go on as valid JSON of it are not drawn.

`llguidance` walks the grammar from where code leaves off, behind the ticker. A model that would have written a valid
reply anyway, with numbers of four decimals at most, writes it in the same tokens when it always takes the likeliest.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import llguidance
import llguidance.hf
import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from osiris.core.errors import BadInput
from osiris.core.ideas import Reply

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REPLY_OPENING = '{"rationale":"'
"""What stands before the model's first token in the schema of what it writes: a reply's, less the ticker."""
COMPACT_JSON = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
"""Replies have no spaces between keys and values, as the model is trained to write them."""
MASK_WORD_BITS = 32
"""Tokens in a number of the mask."""
NUMBER_STEP = 0.0001
"""The step of the numbers: without one a model may add digits for ever, and the reply is cut before its end."""


class ReplyConstraint(LogitsProcessor):
    """Forbids tokens that lead out of the schema; for one call of `generate` of so many rows, a reply each.

    `vocabulary` is the width of the model's logits; a row ends with one of the tokens `stops`.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", rows: int, vocabulary: int, stops: Sequence[int]) -> None:
        """Begin all rows; raises `BadInput` for a tokenizer that cannot be bound."""
        matcher = _start_matcher(tokenizer, vocabulary, tuple(stops))
        self._rows = [matcher.deep_copy() for _ in range(rows)]
        self._vocabulary = vocabulary
        self._end = _mask_of(stops, vocabulary)
        self._mask = np.tile(self._end, (rows, 1))
        self._drawn = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return `scores` (rows x vocabulary) with minus infinity where a token is forbidden."""
        if self._drawn:
            for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
                if not row.is_stopped():
                    row.consume_token(token)
        self._drawn = True
        for row, mask in zip(self._rows, self._mask, strict=True):
            if row.is_stopped():
                mask[:] = self._end
            else:
                row.unsafe_compute_mask_ptr(mask.ctypes.data, mask.nbytes)
        bits = np.unpackbits(self._mask.view(np.uint8), axis=1, count=self._vocabulary, bitorder="little")
        allowed = torch.from_numpy(bits).to(scores.device, torch.bool)
        return scores.masked_fill(~allowed, float("-inf"))


def _mask_of(tokens: Sequence[int], vocabulary: int) -> np.ndarray:
    """The mask that allows these tokens alone, a bit a token, as `llguidance` writes it."""
    bits = np.zeros(-(-vocabulary // MASK_WORD_BITS) * MASK_WORD_BITS, dtype=np.uint8)
    bits[list(tokens)] = 1
    return np.packbits(bits, bitorder="little").view(np.int32)


@lru_cache(maxsize=4)
def _start_matcher(
    tokenizer: "PreTrainedTokenizerBase", vocabulary: int, stops: tuple[int, ...]
) -> llguidance.LLMatcher:
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise BadInput(
            "a fast tokenizer, to bind replies to their schema",
            type(tokenizer).__name__,
            "set model.constrained = false",
        )
    try:
        vocabulary_trie = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(stops))
    except ValueError as error:
        raise BadInput("a tokenizer that fits its model", str(error), "set model.constrained = false") from error
    matcher = llguidance.LLMatcher(
        vocabulary_trie, llguidance.LLMatcher.grammar_from_json_schema(json.dumps(_completion_schema()), COMPACT_JSON)
    )
    # its own tokens: the tokenizer may put a space before the first one of a text
    if not matcher.consume_tokens(vocabulary_trie.tokenize_str(REPLY_OPENING)):
        raise BadInput("a tokenizer that can write a reply", matcher.get_error(), "set model.constrained = false")
    return matcher


def _completion_schema() -> dict[str, Any]:
    """The schema of what the model writes: a reply's less the ticker, with numbers that end."""
    schema = Reply.model_json_schema()
    del schema["properties"]["ticker"]
    schema["required"].remove("ticker")
    for value in schema["properties"].values():
        if value.get("type") == "number":
            value["multipleOf"] = NUMBER_STEP
    return schema
