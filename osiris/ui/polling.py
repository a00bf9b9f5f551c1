"""Work beside a notebook's cells: a beat on the kernel's own event loop, and slow work in a thread next to it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_RUNNING_TASKS: "set[asyncio.Task[None]]" = set()  # a loop keeps but weak references
_EXECUTOR = ThreadPoolExecutor(1, "osiris-beside")


def run_in_thread(
    work: Callable[[], T], on_result: Callable[[T], object], on_error: Callable[[BaseException], object]
) -> None:
    """Do `work` in a thread and give `then` its result on the event loop; where no loop runs, do both here.

    Works are done one after another. An error of either is given to `failed`; where no loop runs, it is raised.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        on_result(work())
        return

    async def on() -> None:
        on_result(await loop.run_in_executor(_EXECUTOR, work))

    _watch(loop.create_task(on()), on_error)


def poll(action: Callable[[], float], on_error: Callable[[BaseException], None]) -> "asyncio.Task[None] | None":
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
            await asyncio.sleep(action())

    return _watch(loop.create_task(on(), name="osiris-pulse"), on_error)


def _watch(task: "asyncio.Task[None]", failed: Callable[[BaseException], object]) -> "asyncio.Task[None]":
    """The task, kept until it is over; `failed` is told of its error."""

    def over(task: "asyncio.Task[None]") -> None:
        _RUNNING_TASKS.discard(task)
        error = None if task.cancelled() else task.exception()
        if error:
            failed(error)

    _RUNNING_TASKS.add(task)
    task.add_done_callback(over)
    return task
