"""The number in what a judge wrote: 0 to 10, or none with the reason.

Only a number that stands by itself counts. Of `75` no 7 is read, nor of `7.5`, `11`, `1 0`, `-3` or `7-8`.
"""

import re
from dataclasses import dataclass

MAX_SCORE = 10
"""The largest number; scores are numbers divided by it."""
SCORE_PATTERN = re.compile(r"\s*(10|[0-9])(?:\s*(?:/|out of)\s*10)?(?![\w%]|\W*[0-9]|\s*(?:to|or|and|out of)\s*[0-9])")
"""A whole number, perhaps "of 10", before anything but another number or a word grown together with it."""


@dataclass(frozen=True)
class Completion:
    """What a model wrote, and whether it was cut off before its end."""

    text: str
    truncated: bool


@dataclass(frozen=True)
class Score:
    """`raw` 0-10 and `normalized` = raw / 10; both `None` when the judge wrote no number, as `note` then says."""

    raw: int | None
    normalized: float | None
    note: str = ""


def parse_score(completion: Completion) -> Score:
    """The number with which an answer begins; one that was cut off may have gone on, behind its last character."""
    found = SCORE_PATTERN.match(completion.text)
    if found is None:
        return Score(None, None, f"the judge wrote {completion.text!r}, which is no whole number 0-10")
    if completion.truncated and not completion.text[found.end() :].strip():
        return Score(None, None, f"the judge wrote {completion.text!r} and more, and was cut off")
    raw = int(found[1])
    return Score(raw, raw / MAX_SCORE)
