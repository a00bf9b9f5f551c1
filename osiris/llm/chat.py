"""The chat format of a model: where an answer begins, and the token that ends it.

Drafting, judging and training all take it from here, so that a model is trained on the very tokens that it meets.
"""

from typing import TYPE_CHECKING

from osiris.core.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARK = "OSIRISANSWERS"
"""Stands for an answer while it is found out what a template puts around one."""
REMEDY = "use an instruct model, or set chat_template in its tokenizer_config.json"


def asked(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> str:
    """The text up to where the answer to `prompt` begins, special tokens included.

    It ends where the template puts answers: behind the empty think block of Qwen3, behind the head of the turn also
    where the template ignores `add_generation_prompt`. Only spaces before an answer are left to the model.
    Raises `BadInput` for a tokenizer without a usable chat template.
    """
    question = {"role": "user", "content": prompt}
    begun = _rendered(tokenizer, [question], add_generation_prompt=True)
    before = _around(tokenizer, question)[0].rstrip(" ")
    return before if before.startswith(begun) and before[len(begun) :].strip() else begun


def answered(tokenizer: "PreTrainedTokenizerBase", prompt: str, reply: str) -> tuple[str, str]:
    """The text that is asked, and `reply` with the token that ends it: what is trained, as it is generated.

    Raises `BadInput` where the template asks for an answer in another place than it puts one (inside a thought).
    """
    start = asked(tokenizer, prompt)
    before = _around(tokenizer, {"role": "user", "content": prompt})[0]
    if not before.startswith(start.rstrip()):
        raise BadInput(
            "a chat template that puts an answer where it asks for one",
            f"one that asks after {start[-24:]!r} and answers after {before[-24:]!r}",
            REMEDY,
        )
    return start, reply + end_of_answer(tokenizer)


def end_of_answer(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The token that ends an answer: the first special one that the template puts behind it, else the tokenizer's.

    Raises `BadInput` where there is neither: such a model would never stop.
    """
    after = _around(tokenizer, {"role": "user", "content": "Hello"})[1]
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    ids = tokenizer(after, add_special_tokens=False)["input_ids"]
    end = next((token for token in ids if token in special), tokenizer.eos_token_id)
    if end is None:
        raise BadInput(
            "a token that ends an answer", f"a template that puts {after!r} after it, and no eos_token", REMEDY
        )
    return tokenizer.convert_ids_to_tokens(end)


def require_chat(tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Raise `BadInput` for a tokenizer that cannot put a question and an answer, before anything long begins."""
    if not tokenizer.chat_template:
        raise BadInput("a model with a chat template", f"{name}, which has none", REMEDY)
    end_of_answer(tokenizer)


def _around(tokenizer: "PreTrainedTokenizerBase", question: dict[str, str]) -> tuple[str, str]:
    """What the template puts before and after an answer to the question."""
    whole = _rendered(tokenizer, [question, {"role": "assistant", "content": MARK}], add_generation_prompt=False)
    before, mark, after = whole.rpartition(MARK)
    if not mark:
        raise BadInput("a chat template that shows an answer as it is", f"one that makes {whole[-48:]!r} of it", REMEDY)
    return before, after


def _rendered(tokenizer: "PreTrainedTokenizerBase", chat: list[dict[str, str]], add_generation_prompt: bool) -> str:
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=add_generation_prompt)
    except (TemplateError, ValueError, TypeError, KeyError) as error:
        raise BadInput(
            "a chat template that takes a question and an answer", " ".join(str(error).split()), REMEDY
        ) from error
