"""Parse the answer of a judge: a number from 0 to 10, or none with the reason.

Only a number that stands by itself counts. For example, `75`, `7.5`, `11`, `1 0`, `-3` and `7-8` give no number.
"""

import re
from dataclasses import dataclass

MAX_SCORE = 10
"""The largest number; a normalized score is a number divided by it."""
SCORE_PATTERN = re.compile(r"\s*(10|[0-9])(?:\s*(?:/|out of)\s*10)?(?![\w%]|\W*[0-9]|\s*(?:to|or|and|out of)\s*[0-9])")
"""A whole number, perhaps with "/ 10" or "out of 10".

It may not be followed by another number, nor directly by a letter, digit, underscore or percent sign.
"""


@dataclass(frozen=True)
class Completion:
    """The text that a model wrote, and whether it was cut off before its end."""

    text: str
    truncated: bool


@dataclass(frozen=True)
class Score:
    """`raw` 0-10 and `normalized` = raw / 10. Both are `None` if the judge wrote no number; `note` then says why."""

    raw: int | None
    normalized: float | None
    note: str = ""


def parse_score(completion: Completion) -> Score:
    """The number with which an answer begins.

    If the answer was cut off directly behind the number, there is none: a `1` may be the start of `10`.
    """
    match = SCORE_PATTERN.match(completion.text)
    if match is None:
        return Score(None, None, f"the judge wrote {completion.text!r}, which is no whole number 0-10")
    if completion.truncated and not completion.text[match.end() :].strip():
        return Score(None, None, f"the judge wrote {completion.text!r} and more, and was cut off")
    raw = int(match[1])
    return Score(raw, raw / MAX_SCORE)
