"""Parse the answer of a judge: a number from 0 to 10, or none with the reason.

Only a number that stands by itself counts. For example, `75`, `7.5`, `11`, `1 0`, `-3` and `7-8` give no number.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

MAX_SCORE = 10
"""The largest number; a normalized score is a number divided by it."""
SCORE_PATTERN = re.compile(r"\s*(10|[0-9])(?:\s*(?:/|out of)\s*10)?(?![\w%]|\W*[0-9]|\s*(?:to|or|and|out of)\s*[0-9])")
"""A whole number, perhaps with "/ 10" or "out of 10".

It may not be followed by another number, nor directly by a letter, digit, underscore or percent sign.
"""
OTHER_NUMBER_PATTERN = re.compile(r"\s*[-+.,]?[0-9]")
"""The start of an answer that is a number of another kind, or more than one."""
NUMBER_TEXTS = frozenset(str(number) for number in range(MAX_SCORE + 1))
AMBIGUOUS_NUMBER = "1"
"""The number with which another one, 10, begins."""
MIN_FOLLOWED_PROBABILITY = 0.005
"""What is less likely is not asked about: a request costs more than it could change."""
MIN_NUMBER_PROBABILITY = 0.01
"""The default of `model.min_number_probability`."""


@dataclass(frozen=True)
class Completion:
    """The text that a model wrote, and whether it was cut off before its end.

    `first` has the logarithms of the probabilities of its likeliest first tokens, by text, where they are known.
    """

    text: str
    truncated: bool
    first: Mapping[str, float] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class NumberOdds:
    """The probability that a judge would say each of the numbers 0 to 10, shape (11,); they add up to at most 1."""

    probabilities: tuple[float, ...]

    @property
    def any_number(self) -> float:
        """The probability that it would say one of the numbers at all."""
        return sum(self.probabilities)

    @property
    def likeliest(self) -> int:
        """The likeliest number, the lower one of two that are equally likely."""
        return max(range(len(self.probabilities)), key=lambda number: (self.probabilities[number], -number))

    @property
    def expected(self) -> float | None:
        """The mean of the number, 0 to 10, given that it says one; `None` where it never would."""
        total = self.any_number
        return sum(number * share for number, share in enumerate(self.probabilities)) / total if total > 0 else None


@dataclass(frozen=True)
class Score:
    """`raw` 0-10 and `normalized` = raw / 10. Both are `None` if the judge gave no number; `note` then says why.

    `expected` is the mean number under the judge's own probabilities, and `number_probability` the probability that it
    would say a number at all. Both are `None` where the probabilities are not known. Two scores are equal if their
    numbers are, since probabilities differ in the last digit with the size of a batch.
    """

    raw: int | None
    normalized: float | None
    note: str = ""
    expected: float | None = field(default=None, compare=False)
    number_probability: float | None = field(default=None, compare=False)


def served_number_odds(completion: Completion, ask: Callable[[str], Mapping[str, float]]) -> NumberOdds:
    """The odds of the numbers, from the likeliest first tokens behind a prompt and behind what may go on.

    `ask` gives those tokens behind the prompt and a text: behind a space, and behind `1`, which may begin `10`. Tokens
    that a server does not list count as impossible, so the probability of a number is rather too low than too high.
    """
    numbers = [0.0] * (MAX_SCORE + 1)

    def add(before: str, share: float, odds: Mapping[str, float]) -> None:
        for text, log_probability in odds.items():
            likelihood, written = share * math.exp(log_probability), (before + text).lstrip(" \n")
            if not written and not before and likelihood >= MIN_FOLLOWED_PROBABILITY:
                add(text, likelihood, ask(text))
            elif written == AMBIGUOUS_NUMBER and likelihood >= MIN_FOLLOWED_PROBABILITY:
                digits = {next_text: math.exp(value) for next_text, value in ask(before + text).items()}
                numbers[1] += likelihood * max(0.0, 1 - sum(p for one, p in digits.items() if one[:1].isdigit()))
                numbers[10] += likelihood * digits.get("0", 0.0)
            elif written in NUMBER_TEXTS:
                numbers[int(written)] += likelihood

    add("", 1.0, completion.first or {})
    return NumberOdds(tuple(numbers))


def choose_score(completion: Completion, odds: NumberOdds, min_probability: float) -> Score:
    """The score of a judge that wrote `completion`, and would have said each number with these `odds`.

    A number that it wrote stands. Another one that it wrote (`75`, `-3`, `7.5`) is no score. For prose, the likeliest
    number is taken, unless all numbers together are less likely than `min_probability`.
    """
    score = parse_score(completion)
    if score.raw is None and not OTHER_NUMBER_PATTERN.match(completion.text):
        if odds.any_number >= min_probability:
            score = Score(odds.likeliest, odds.likeliest / MAX_SCORE)
        else:
            score = replace(score, note=f"{score.note}; a number would come with probability {odds.any_number:.2g}")
    expected = odds.expected if score.raw is not None else None
    return replace(score, expected=expected, number_probability=odds.any_number)


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
