"""A dataset in the chat format of drafting, so that a model is trained on the very tokens that it meets."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from osiris.core.errors import BadInput
from osiris.llm.chat import format_exchange

ChatMessages = list[dict[str, str]]
ChatRow = Mapping[str, ChatMessages | bool]  # a prompt, the replies to it and, for KTO, whether they were good
PREFILL_END = '"rationale":"'
"""What code writes of a reply ends here."""
REPLY_COLUMNS = ("completion", "chosen", "rejected")


def to_user_message(text: str) -> ChatMessages:
    """A prompt as the chat template wants it."""
    return [{"role": "user", "content": text}]


def to_assistant_message(text: str) -> ChatMessages:
    """A reply as the chat template wants it."""
    return [{"role": "assistant", "content": text}]


def message_text(message: ChatMessages) -> str:
    """What a message of one part says."""
    return message[0]["content"]


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text that is in the chat format already."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def apply_chat_format(tokenizer: Any, rows: Sequence[ChatRow], max_length: int | None) -> list[ChatRow]:
    """The rows with whole texts in place of messages: what is asked, and each reply with the token that ends it.

    Tokenized by `as_given`, they are the tokens of drafting. Raises `BadInput` where a token would be merged across
    the places at which generation begins (behind the question, and behind the ticker that code writes), since it would
    be trained and never met, and for a row of more than `max_length` tokens.
    """
    return [_apply_chat_format(tokenizer, row, max_length) for row in rows]


def without_chat_template(tokenizer: Any) -> Any:
    """A copy of the tokenizer whose chat template adds nothing: the texts of `in_chat` are in the chat format."""
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return plain


def _apply_chat_format(tokenizer: Any, row: ChatRow, max_length: int | None) -> ChatRow:
    found = dict(row)
    for name in (name for name in REPLY_COLUMNS if name in row):
        start, reply = format_exchange(tokenizer, message_text(row["prompt"]), message_text(row[name]))
        all_ids = token_ids(tokenizer, start + reply)
        prefill_length = reply.find(PREFILL_END) + len(PREFILL_END) if PREFILL_END in reply else 0
        for place in (0, prefill_length, reply.rindex(message_text(row[name])) + len(message_text(row[name]))):
            prefix_ids = token_ids(tokenizer, start + reply[:place])
            if all_ids[: len(prefix_ids)] != prefix_ids:
                raise BadInput(
                    "a tokenizer that keeps prompt and reply apart",
                    f"one that merges {(start + reply[:place])[-12:]!r} and {reply[place:][:12]!r}",
                    "isolate the newline before a reply in the tokenizer or its chat template",
                )
        if max_length is not None and len(all_ids) > max_length:
            raise BadInput(f"rows of at most {max_length} tokens", f"one of {len(all_ids)}", "raise args.max_length")
        found |= {"prompt": to_user_message(start), name: to_assistant_message(reply)}
    return found
