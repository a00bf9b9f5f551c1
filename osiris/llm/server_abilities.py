"""What a server can do beyond OpenAI's protocol: bind a reply to its form, and tell how likely each token was.

Servers name these things differently, and some take a parameter that they do not know without a word. So a server is
asked once, by a request whose answer shows it: bound to one made-up word, it has to write that word.

- vLLM since 0.12 takes `structured_outputs` with a regular expression, and took `guided_regex` before.
- SGLang takes `regex`.
- llama.cpp takes `grammar`, in its own notation.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from osiris.core.errors import BadInput
from osiris.core.ideas import REPLY_KEYS, Side

log = logging.getLogger(__name__)

Constraint = Literal["structured_outputs", "guided_regex", "regex", "grammar"]
"""How a server is told the form of a reply, by the name of the parameter."""
CONSTRAINTS: tuple[Constraint, ...] = get_args(Constraint)
PROBE_WORD = "q7z"
"""No model writes this by itself."""
PROBE_TOKENS = 8
TOP_LOGPROBS = (20, 5)
"""How many of the likeliest tokens a server is asked for: vLLM's usual limit, and that of OpenAI."""


@dataclass(frozen=True)
class Form:
    """The form of a text, as a regular expression and as a grammar of llama.cpp."""

    regex: str
    grammar: str

    def options(self, constraint: Constraint) -> dict[str, Any]:
        """The parameters that bind a server's answer to this form; they are no part of OpenAI's protocol."""
        if constraint == "structured_outputs":
            return {"structured_outputs": {"regex": self.regex}}
        return {constraint: self.grammar if constraint == "grammar" else self.regex}


PROBE_FORM = Form(PROBE_WORD, f'root ::= "{PROBE_WORD}"')
_SIDES = "|".join(Side)
_CHARACTER = r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])'
_LEVEL = r"(?:20|1?[1-9](?:\.[0-9]{1,4})?|10(?:\.[0-9]{1,4})?|0\.[0-9]{0,3}[1-9])"
"""A distance in ATR, above 0 and at most 20, with at most four decimals as in constrained decoding here."""
_SHARE = r"(?:1(?:\.0)?|0(?:\.[0-9]{1,4})?)"
REPLY_FORM = Form(
    regex=(
        rf'{_CHARACTER}+","{REPLY_KEYS[2]}":"(?:{_SIDES})","{REPLY_KEYS[3]}":{_LEVEL},'
        rf'"{REPLY_KEYS[4]}":{_LEVEL},"{REPLY_KEYS[5]}":{_SHARE}\}}'
    ),
    grammar=rf"""root ::= char+ "\",\"{REPLY_KEYS[2]}\":\"" side rest
rest ::= "\",\"{REPLY_KEYS[3]}\":" level ",\"{REPLY_KEYS[4]}\":" level ",\"{REPLY_KEYS[5]}\":" share "}}"
char ::= [^"\\\x00-\x1F] | "\\" ["\\/bfnrt]
side ::= {" | ".join(f'"{side}"' for side in Side)}
level ::= "20" | "1"? [1-9] decimals? | "10" decimals? | "0." small
small ::= [1-9] | [0-9] [1-9] | [0-9] [0-9] [1-9] | [0-9] [0-9] [0-9] [1-9]
share ::= "1" ".0"? | "0" decimals?
decimals ::= "." [0-9] | "." [0-9] [0-9] | "." [0-9] [0-9] [0-9] | "." [0-9] [0-9] [0-9] [0-9]
""",
)
"""The part of a reply that the model writes, from the first character of its reason on."""


def find_constraint(complete: Callable[[dict[str, Any]], str]) -> Constraint | None:
    """How the server that `complete` asks is bound to a form; `None` if it cannot be.

    `complete` takes parameters of the completions endpoint, and returns the text of the answer.
    """
    for name in CONSTRAINTS:
        try:
            written = complete({"max_tokens": PROBE_TOKENS, "temperature": 0, "extra_body": PROBE_FORM.options(name)})
        except BadInput:  # a parameter that it does not take
            continue
        if written.strip() == PROBE_WORD:
            log.info("the server binds replies to their form by %s", name)
            return name
    log.info("the server cannot be told the form of a reply: replies that are not valid are drawn again")
    return None


def first_token_odds(choice: Any) -> dict[str, float] | None:
    """The logarithm of the probability of the likeliest first tokens of an answer, by text; `None` if it tells none.

    Two forms are read: OpenAI's for completions, which vLLM has too (`top_logprobs`), and that for chats, which
    llama.cpp gives for completions as well (`content`).
    """
    try:
        found = {text: float(value) for text, value in _first_tokens(getattr(choice, "logprobs", None))}
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        return None
    # a logarithm above zero, or none at all, is no probability
    return found if found and all(value <= 0 for value in found.values()) else None


def _first_tokens(told: Any) -> Iterable[tuple[str, float]]:
    if lists := getattr(told, "top_logprobs", None):
        return lists[0].items()
    entries = getattr(told, "content", None) or [{}]
    return [(one["token"], one["logprob"]) for one in entries[0].get("top_logprobs", ())]
