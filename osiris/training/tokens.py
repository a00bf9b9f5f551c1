"""A dataset in the chat format of drafting, so that a model is trained on the very tokens that it meets."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from osiris.core.errors import BadInput
from osiris.llm.chat import answered

Message = list[dict[str, str]]
Row = Mapping[str, Message | bool]  # a prompt, the replies to it and, for KTO, whether they were good
WRITTEN_BY_CODE = '"rationale":"'
"""What code writes of a reply ends here."""
REPLIES = ("completion", "chosen", "rejected")


def user(text: str) -> Message:
    """A prompt as the chat template wants it."""
    return [{"role": "user", "content": text}]


def assistant(text: str) -> Message:
    """A reply as the chat template wants it."""
    return [{"role": "assistant", "content": text}]


def text_of(message: Message) -> str:
    """What a message of one part says."""
    return message[0]["content"]


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text that is in the chat format already."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def in_chat(tokenizer: Any, rows: Sequence[Row], max_length: int | None) -> list[Row]:
    """The rows with whole texts in place of messages: what is asked, and each reply with the token that ends it.

    Tokenized by `as_given`, they are the tokens of drafting. Raises `BadInput` where a token would be merged across
    the places at which generation begins (behind the question, and behind the ticker that code writes), since it would
    be trained and never met, and for a row of more than `max_length` tokens.
    """
    return [_in_chat(tokenizer, row, max_length) for row in rows]


def as_given(tokenizer: Any) -> Any:
    """A copy of the tokenizer whose chat template adds nothing: the texts of `in_chat` are in the chat format."""
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return plain


def _in_chat(tokenizer: Any, row: Row, max_length: int | None) -> Row:
    found = dict(row)
    for name in (name for name in REPLIES if name in row):
        start, reply = answered(tokenizer, text_of(row["prompt"]), text_of(row[name]))
        whole = ids_of(tokenizer, start + reply)
        written = reply.find(WRITTEN_BY_CODE) + len(WRITTEN_BY_CODE) if WRITTEN_BY_CODE in reply else 0
        for place in (0, written, reply.rindex(text_of(row[name])) + len(text_of(row[name]))):
            begun = ids_of(tokenizer, start + reply[:place])
            if whole[: len(begun)] != begun:
                raise BadInput(
                    "a tokenizer that keeps prompt and reply apart",
                    f"one that merges {(start + reply[:place])[-12:]!r} and {reply[place:][:12]!r}",
                    "isolate the newline before a reply in the tokenizer or its chat template",
                )
        if max_length is not None and len(whole) > max_length:
            raise BadInput(f"rows of at most {max_length} tokens", f"one of {len(whole)}", "raise args.max_length")
        found |= {"prompt": user(start), name: assistant(reply)}
    return found
