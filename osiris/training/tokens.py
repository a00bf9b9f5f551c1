"""A dataset in the chat format of drafting, so that training and drafting use exactly the same tokens."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

from osiris.core.errors import BadInput
from osiris.llm.chat import format_exchange

ChatMessages = list[dict[str, str]]
ChatRow = Mapping[str, ChatMessages | bool]
"""The columns of a trainer: `prompt`, the replies to it and, for KTO, `label`: whether the reply was good."""
PREFILL_END = '"rationale":"'
"""The end of the part of a reply that code writes, not the model: here the model's own text begins."""
REPLY_COLUMNS = ("completion", "chosen", "rejected")
"""The columns of a row that hold a reply."""


def to_user_message(text: str) -> ChatMessages:
    """A prompt as the chat template wants it."""
    return [{"role": "user", "content": text}]


def to_assistant_message(text: str) -> ChatMessages:
    """A reply as the chat template wants it."""
    return [{"role": "assistant", "content": text}]


def message_text(message: ChatMessages) -> str:
    """The text of a list that holds a single message."""
    return message[0]["content"]


def column_text(row: ChatRow, name: str) -> str:
    """The text of a column of messages, `prompt` or one of `REPLY_COLUMNS`."""
    return message_text(cast(ChatMessages, row[name]))  # `label` alone is a truth value


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text that is already in the chat format."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def apply_chat_format(tokenizer: Any, rows: Sequence[ChatRow], max_length: int | None) -> list[ChatRow]:
    """The rows with complete texts as messages: the question, and each reply with the token that ends it.

    Tokenized by `without_chat_template`, they give the tokens of drafting. Raises `BadInput` if a token spans a place
    at which generation begins: after the question, or after the part of the reply that code writes. Such a token would
    be trained on, but never occur in drafting. Raises `BadInput` also for a row of more than `max_length` tokens.
    """
    return [_apply_chat_format(tokenizer, row, max_length) for row in rows]


def row_lengths(tokenizer: Any, rows: Sequence[ChatRow]) -> list[int]:
    """The tokens of each row of `apply_chat_format`: those of the prompt and of its longest reply."""
    return [
        max(
            len(token_ids(tokenizer, column_text(row, "prompt") + column_text(row, name)))
            for name in REPLY_COLUMNS
            if name in row
        )
        for row in rows
    ]


def without_chat_template(tokenizer: Any) -> Any:
    """A copy of the tokenizer with a chat template that adds nothing, for texts of `apply_chat_format`."""
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return plain


def _apply_chat_format(tokenizer: Any, row: ChatRow, max_length: int | None) -> ChatRow:
    formatted = dict(row)
    for name in (name for name in REPLY_COLUMNS if name in row):
        reply_text = column_text(row, name)
        start, reply = format_exchange(tokenizer, column_text(row, "prompt"), reply_text)
        all_ids = token_ids(tokenizer, start + reply)
        prefill_length = reply.find(PREFILL_END) + len(PREFILL_END) if PREFILL_END in reply else 0
        for place in (0, prefill_length, reply.rindex(reply_text) + len(reply_text)):
            prefix_ids = token_ids(tokenizer, start + reply[:place])
            if all_ids[: len(prefix_ids)] != prefix_ids:
                raise BadInput(
                    "a tokenizer that keeps prompt and reply apart",
                    f"one that merges {(start + reply[:place])[-12:]!r} and {reply[place:][:12]!r}",
                    "isolate the newline before a reply in the tokenizer or its chat template",
                )
        if max_length is not None and len(all_ids) > max_length:
            raise BadInput(f"rows of at most {max_length} tokens", f"one of {len(all_ids)}", "raise args.max_length")
        formatted |= {"prompt": to_user_message(start), name: to_assistant_message(reply)}
    return formatted
