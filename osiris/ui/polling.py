"""Work beside a notebook's cells: a beat on the kernel's own event loop, and slow work in a thread next to it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_TASKS: "set[asyncio.Task[None]]" = set()  # a loop keeps but weak references
_THREAD = ThreadPoolExecutor(1, "osiris-beside")


def beside_the_loop(
    work: Callable[[], T], then: Callable[[T], object], failed: Callable[[BaseException], object]
) -> None:
    """Do `work` in a thread and give `then` its result on the event loop; where no loop runs, do both here.

    Works are done one after another. An error of either is given to `failed`; where no loop runs, it is raised.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        then(work())
        return

    async def on() -> None:
        then(await loop.run_in_executor(_THREAD, work))

    _watched(loop.create_task(on()), failed)


def beat(act: Callable[[], float], failed: Callable[[BaseException], None]) -> "asyncio.Task[None] | None":
    """Call `act` now and again: it returns the seconds until the next time. `None` where no event loop runs.

    It runs between the cells of a notebook, never beside one, so `act` may touch widgets freely. An error ends it, and
    `failed` is told.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None

    async def on() -> None:
        while True:
            await asyncio.sleep(act())

    return _watched(loop.create_task(on(), name="osiris-pulse"), failed)


def _watched(task: "asyncio.Task[None]", failed: Callable[[BaseException], object]) -> "asyncio.Task[None]":
    """The task, kept until it is over; `failed` is told of its error."""

    def over(task: "asyncio.Task[None]") -> None:
        _TASKS.discard(task)
        error = None if task.cancelled() else task.exception()
        if error:
            failed(error)

    _TASKS.add(task)
    task.add_done_callback(over)
    return task
