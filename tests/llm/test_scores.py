"""A judge's number is what it wrote, or none."""

import pytest

from osiris.llm.scores import Completion, parse_score


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7), ("0", 0), ("10", 10), (" 10", 10), ("\n10", 10), ("\n\n 7\n", 7), ("10.", 10), ("7!", 7),
        ("7, good", 7), ("10/10", 10), ("7 / 10", 7), ("7 out of 10.", 7), ("7\n\nBecause it is calm", 7),
        ("8 - calm", 8), ("9)", 9),
    ],
)  # fmt: skip
def test_a_whole_number_that_stands_by_itself_is_read(text, number):
    score = parse_score(Completion(text, truncated=False))
    assert (score.raw, score.normalized, score.note) == (number, number / 10, "")


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "75", "11", "100", "-3", "- 3", "7.5", "7,5", "1 0", "1\n0", "07", "1e1", "10th", "7x", "7%", "7-8",
        "7 to 8", "7 or 8", "7/100", "10/100", "7 out of 5", "Score: 7", "seven", "\u0667", "\uff17", "7/8",
        "3rd", "1_0", "$7",
    ],
)  # fmt: skip
def test_anything_else_is_no_number_and_the_note_shows_it_as_it_is(text):
    score = parse_score(Completion(text, truncated=False))
    assert (score.raw, score.normalized) == (None, None)
    assert score.note == f"the judge wrote {text!r}, which is no whole number 0-10"


@pytest.mark.parametrize("text", ["1", " 1", "7 ", "7/10"])
def test_a_number_behind_which_the_answer_was_cut_off_may_have_gone_on(text):
    score = parse_score(Completion(text, truncated=True))
    assert score.raw is None
    assert "cut off" in score.note


def test_a_number_that_had_ended_before_the_cut_is_read():
    assert parse_score(Completion("7 because the", truncated=True)).raw == 7
