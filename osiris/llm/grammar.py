"""Constrained decoding: tokens that would make a reply invalid against its schema are never drawn.

Code writes the reply up to its ticker; `llguidance` follows the grammar from there. Consider a model that always takes
the likeliest token and would write a valid reply anyway. It writes the same tokens here, if its numbers have at most
four decimals.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import llguidance
import llguidance.hf
import numpy as np
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from osiris.core.errors import BadInput
from osiris.core.ideas import Reply

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions
    from transformers import PreTrainedTokenizerBase

REPLY_OPENING = '{"rationale":"'
"""The text before the model's first token, in the schema of its part of a reply (the reply without the ticker)."""
COMPACT_JSON: "JsonCompileOptions" = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
"""Replies have no spaces between keys and values, because the model is trained to write them so."""
MASK_WORD_BITS = 32
"""Tokens in one word of the mask: `llguidance` writes a bit for each token, 32 to an integer."""
NUMBER_STEP = 0.0001
"""The step of the numbers. Without one a model may add digits forever, and the reply is cut off before its end."""


class ReplyConstraint(LogitsProcessor):
    """Forbids tokens that lead out of the schema, for one call of `generate` with `rows` replies.

    `vocabulary` is the width of the model's logits. A reply ends with one of the tokens `stops`.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", rows: int, vocabulary: int, stops: Sequence[int]) -> None:
        """Begin all rows; raises `BadInput` for a tokenizer that constrained decoding cannot use."""
        matcher = _start_matcher(tokenizer, vocabulary, tuple(stops))
        self._rows = [matcher.deep_copy() for _ in range(rows)]
        self._vocabulary = vocabulary
        self._end = _mask_of(stops, vocabulary)
        self._mask = np.tile(self._end, (rows, 1))
        self._drawn = False

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return `scores`, shape (rows, vocabulary), with minus infinity where a token is forbidden."""
        # At the first call the last token is the prompt's: only later ones were drawn and advance the grammar.
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
        return cast(torch.FloatTensor, scores.masked_fill(~allowed, float("-inf")))


def _mask_of(tokens: Sequence[int], vocabulary: int) -> np.ndarray:
    """The mask that allows only these tokens, one bit per token in the order of `llguidance`, shape (words,)."""
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
    # These tokens are llguidance's own: the tokenizer may put a space before the first token of a text.
    if not matcher.consume_tokens(vocabulary_trie.tokenize_str(REPLY_OPENING)):
        raise BadInput("a tokenizer that can write a reply", matcher.get_error(), "set model.constrained = false")
    return matcher


def _completion_schema() -> dict[str, Any]:
    """The schema of the model's part of a reply: without the ticker, and with numbers that end."""
    schema = Reply.model_json_schema()
    del schema["properties"]["ticker"]
    schema["required"].remove("ticker")
    for value in schema["properties"].values():
        if value.get("type") == "number":
            value["multipleOf"] = NUMBER_STEP
    return schema
