"""The chat format of a model: where an answer begins, and the token that ends it.

Drafting, judging and training all take it from here, so that a model is trained on the very tokens that it meets.
"""

from typing import TYPE_CHECKING

from osiris.core.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANSWER_PLACEHOLDER = "OSIRISANSWERS"
"""Stands for an answer while it is found out what a template puts around one."""
CHAT_TEMPLATE_REMEDY = "use an instruct model, or set chat_template in its tokenizer_config.json"


def format_prompt(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> str:
    """The text up to where the answer to `prompt` begins, special tokens included.

    It ends where the template puts answers: behind the empty think block of Qwen3, behind the head of the turn also
    where the template ignores `add_generation_prompt`. Only spaces before an answer are left to the model.
    Raises `BadInput` for a tokenizer without a usable chat template.
    """
    question = {"role": "user", "content": prompt}
    begun = _render_chat(tokenizer, [question], add_generation_prompt=True)
    before = _template_around(tokenizer, question)[0].rstrip(" ")
    return before if before.startswith(begun) and before[len(begun) :].strip() else begun


def format_exchange(tokenizer: "PreTrainedTokenizerBase", prompt: str, reply: str) -> tuple[str, str]:
    """The text that is asked, and `reply` with the token that ends it: what is trained, as it is generated.

    Raises `BadInput` where the template asks for an answer in another place than it puts one (inside a thought).
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

    Raises `BadInput` where there is neither: such a model would never stop.
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
    return tokenizer.convert_ids_to_tokens(end)


def require_chat_template(tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Raise `BadInput` for a tokenizer that cannot put a question and an answer, before anything long begins."""
    if not tokenizer.chat_template:
        raise BadInput("a model with a chat template", f"{name}, which has none", CHAT_TEMPLATE_REMEDY)
    end_of_answer(tokenizer)


def _template_around(tokenizer: "PreTrainedTokenizerBase", question: dict[str, str]) -> tuple[str, str]:
    """What the template puts before and after an answer to the question."""
    whole = _render_chat(
        tokenizer, [question, {"role": "assistant", "content": ANSWER_PLACEHOLDER}], add_generation_prompt=False
    )
    before, mark, after = whole.rpartition(ANSWER_PLACEHOLDER)
    if not mark:
        raise BadInput(
            "a chat template that shows an answer as it is",
            f"one that makes {whole[-48:]!r} of it",
            CHAT_TEMPLATE_REMEDY,
        )
    return before, after


def _render_chat(tokenizer: "PreTrainedTokenizerBase", chat: list[dict[str, str]], add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=add_generation_prompt)
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        raise BadInput(
            "a chat template that takes a question and an answer", " ".join(str(error).split()), CHAT_TEMPLATE_REMEDY
        ) from error
