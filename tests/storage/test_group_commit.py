"""Group commit: what is asked at once is done at once, each asker gets its own answer, nobody is forgotten."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from osiris.storage.group_commit import GroupCommit


class Slow:
    """Work that waits at its first call until it is let go, so that others queue up behind it."""

    def __init__(self, answer=lambda ask: ask * 10):
        self.answer, self.groups, self.go = answer, [], threading.Event()

    def __call__(self, asks):
        self.groups.append(list(asks))
        if len(self.groups) == 1:
            self.go.wait(10)
        return [self.answer(ask) for ask in asks]


def ask_while_the_first_is_under_way(work, asks):
    """The answers (or errors) to `asks`, all but the first of them asked while that one is being worked on."""
    grouped = GroupCommit(work)

    def ask(one):
        try:
            return grouped(one)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(len(asks)) as pool:
        first = pool.submit(ask, asks[0])
        while not work.groups:
            pass
        others = [pool.submit(ask, one) for one in asks[1:]]
        while len(grouped._waiting) < len(others):
            pass
        work.go.set()
        return [future.result(10) for future in (first, *others)]


def test_what_waits_is_done_in_one_go_and_each_gets_its_own_answer():
    work = Slow()
    assert ask_while_the_first_is_under_way(work, [1, 2, 3, 4]) == [10, 20, 30, 40]
    assert [sorted(group) for group in work.groups] == [[1], [2, 3, 4]]


def test_an_answer_that_is_an_error_is_raised_to_who_asked_alone():
    work = Slow(lambda ask: ValueError(ask) if ask == 3 else ask)
    answers = ask_while_the_first_is_under_way(work, [1, 2, 3])
    assert answers[:2] == [1, 2]
    assert answers[2].args == (3,)


def test_work_that_fails_for_a_group_is_done_anew_for_those_who_are_not_to_blame():
    def answer(ask):
        if ask == 0 and len(work.groups[-1]) > 1:
            raise ValueError("the whole group")
        return ask

    work = Slow(answer)
    answers = ask_while_the_first_is_under_way(work, [1, 0, 2, 3])
    assert len([a for a in answers if isinstance(a, ValueError)]) <= 2
    assert answers[0] == 1
    assert {a for a in answers if not isinstance(a, ValueError)} <= {0, 1, 2, 3}
    assert len(work.groups) >= 3


def test_asked_one_after_the_other_it_is_a_plain_function():
    grouped = GroupCommit(lambda asks: [ask + 1 for ask in asks])
    assert [grouped(n) for n in range(3)] == [1, 2, 3]
    with pytest.raises(TypeError):
        grouped(None)
    assert grouped(1) == 2
