"""The chat format of a model: where an answer begins, and the token that ends it.

Drafting, judging and training all take it from here, so a model is trained on exactly the tokens that it sees later.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from osiris.core.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANSWER_PLACEHOLDER = "OSIRISANSWERS"
"""Takes the place of an answer, to find out what a template puts around one."""
CHAT_TEMPLATE_REMEDY = "use an instruct model, or set chat_template in its tokenizer_config.json"


def format_prompt(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> str:
    """The text up to where the answer to `prompt` begins, special tokens included.

    It ends where the template puts answers. With Qwen3 that is behind the empty think block. With a template that
    ignores `add_generation_prompt` it is still behind the head of the turn. The model only has to write the spaces
    before an answer. Raises `BadInput` for a tokenizer without a usable chat template.
    """
    question = {"role": "user", "content": prompt}
    begun = _render_chat(tokenizer, [question], add_generation_prompt=True)
    before = _template_around(tokenizer, question)[0].rstrip(" ")
    return before if before.startswith(begun) and before[len(begun) :].strip() else begun


def token_counter(tokenizer: "PreTrainedTokenizerBase") -> Callable[[str], int]:
    """Return the function that counts the tokens of a prompt in the chat format."""
    return lambda prompt: len(tokenizer(format_prompt(tokenizer, prompt), add_special_tokens=False)["input_ids"])


def format_exchange(tokenizer: "PreTrainedTokenizerBase", prompt: str, reply: str) -> tuple[str, str]:
    """The text of the prompt, and `reply` with the token that ends it: training sees the same text as generation.

    Raises `BadInput` if the template asks for an answer in another place than where it puts one (inside a thought).
    """
    start = format_prompt(tokenizer, prompt)
    before = _template_around(tokenizer, {"role": "user", "content": prompt})[0]
    if not before.startswith(start.rstrip()):
        raise BadInput(
            "a chat template that puts an answer where it asks for one",
            f"one that asks after {start[-24:]!r} and answers after {before[-24:]!r}",
            CHAT_TEMPLATE_REMEDY,
        )
    return start, reply + end_of_answer(tokenizer)


def end_of_answer(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The token that ends an answer: the first special one that the template puts behind it, else the tokenizer's.

    Raises `BadInput` if there is neither: such a model would never stop.
    """
    after = _template_around(tokenizer, {"role": "user", "content": "Hello"})[1]
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ids = tokenizer(after, add_special_tokens=False)["input_ids"]
    end = next((token for token in ids if token in special), tokenizer.eos_token_id)
    if end is None:
        raise BadInput(
            "a token that ends an answer",
            f"a template that puts {after!r} after it, and no eos_token",
            CHAT_TEMPLATE_REMEDY,
        )
    return cast(str, tokenizer.convert_ids_to_tokens(end))  # one id gives one token, several give a list


def require_chat_template(tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Raise `BadInput` for a tokenizer that cannot format a question and an answer, before any long work begins."""
    if not tokenizer.chat_template:
        raise BadInput("a model with a chat template", f"{name}, which has none", CHAT_TEMPLATE_REMEDY)
    end_of_answer(tokenizer)


def _template_around(tokenizer: "PreTrainedTokenizerBase", question: dict[str, str]) -> tuple[str, str]:
    """What the template puts before and after an answer to the question."""
    exchange = _render_chat(
        tokenizer, [question, {"role": "assistant", "content": ANSWER_PLACEHOLDER}], add_generation_prompt=False
    )
    before, mark, after = exchange.rpartition(ANSWER_PLACEHOLDER)
    if not mark:
        raise BadInput(
            "a chat template that shows an answer as it is",
            f"one that makes {exchange[-48:]!r} of it",
            CHAT_TEMPLATE_REMEDY,
        )
    return before, after


def _render_chat(tokenizer: "PreTrainedTokenizerBase", chat: list[dict[str, str]], add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=add_generation_prompt)
        return cast(str, text)  # `tokenize=False` and a single chat give one text
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        raise BadInput(
            "a chat template that takes a question and an answer", " ".join(str(error).split()), CHAT_TEMPLATE_REMEDY
        ) from error
