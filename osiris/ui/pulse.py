"""Work beside a notebook's cells: a beat on the kernel's own event loop, and slow work in a thread next to it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_THREAD = ThreadPoolExecutor(1, "osiris-beside")


def beside_the_loop(work: Callable[[], T], then: Callable[[T], object]) -> None:
    """Do `work` in a thread and give `then` its result on the event loop; where no loop runs, do both here.

    Works are done one after another. An error of `work` is raised where the loop reports errors, and `then` not called.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        then(work())
        return
    loop.run_in_executor(_THREAD, work).add_done_callback(lambda done: then(done.result()))


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

    def over(task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error:
            failed(error)

    task = loop.create_task(on(), name="osiris-pulse")
    task.add_done_callback(over)
    return task
