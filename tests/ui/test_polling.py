"""Work beside the kernel's loop: nothing waits for it, and its errors are told."""

import asyncio
import threading

import pytest

from osiris.ui.polling import poll, run_in_thread

NOW = 0.01


def running(*parts):
    """Run `parts` one after another on a loop, with a moment for what they began to be done."""

    async def all_of_them():
        for part in parts:
            part()
            await asyncio.sleep(0.5)

    asyncio.run(all_of_them())


def test_without_a_loop_it_is_done_at_once():
    found = []
    run_in_thread(lambda: 3, found.append, found.append)
    assert found == [3]


def test_the_loop_goes_on_meanwhile_and_the_result_comes_back_to_it():
    gate, found = threading.Event(), []
    work = lambda: (gate.wait(30), threading.current_thread().name)  # noqa: E731
    running(
        lambda: run_in_thread(work, lambda result: found.append((result, threading.current_thread())), found.append),
        lambda: (found.append("meanwhile"), gate.set()),
    )
    meanwhile, ((waited, worker), thread) = found
    assert (meanwhile, waited, thread) == ("meanwhile", True, threading.main_thread())
    assert worker.startswith("osiris-background")


@pytest.mark.parametrize("place", ["work", "then"])
def test_an_error_is_told(place):
    told = []

    def broken(*_):
        raise ValueError("no picture")

    work, then = (broken, told.append) if place == "work" else (lambda: 1, broken)
    running(lambda: run_in_thread(work, then, told.append))
    assert [str(error) for error in told] == ["no picture"]


def test_a_beat_goes_on_until_it_fails_and_then_says_so():
    times, told = [], []

    def act():
        times.append(1)
        if len(times) == 3:
            raise ValueError("gone")
        return NOW

    running(lambda: poll(act, told.append))
    assert (len(times), [str(error) for error in told]) == (3, ["gone"])
