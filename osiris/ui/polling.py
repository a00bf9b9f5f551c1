"""Background work in a notebook: polling on the event loop that runs its cells, and slow work in a thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_RUNNING_TASKS: "set[asyncio.Task[None]]" = set()  # an event loop keeps weak references only
_EXECUTOR = ThreadPoolExecutor(1, "osiris-background")


def run_in_thread(
    work: Callable[[], T], on_result: Callable[[T], object], on_error: Callable[[BaseException], object]
) -> None:
    """Do `work` in a thread, and call `on_result` with its result on the event loop.

    There is one thread, so several pieces of work are done one after another. An error of `work` or of `on_result` goes
    to `on_error`. If no event loop runs, both are called here, and an error is raised.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        on_result(work())
        return

    async def run() -> None:
        on_result(await loop.run_in_executor(_EXECUTOR, work))

    _watch(loop.create_task(run()), on_error)


def poll(action: Callable[[], float], on_error: Callable[[BaseException], None]) -> "asyncio.Task[None] | None":
    """Call `action` again and again; it returns the seconds until its next call.

    It runs on the event loop of the notebook, between cells and never during one, so `action` may change widgets. An
    error ends the polling and goes to `on_error`. Returns `None` if no event loop runs: nothing is polled then.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None

    async def run() -> None:
        while True:
            await asyncio.sleep(action())

    return _watch(loop.create_task(run(), name="osiris-polling"), on_error)


def _watch(task: "asyncio.Task[None]", on_error: Callable[[BaseException], object]) -> "asyncio.Task[None]":
    """Keep a reference to the task until it is done, and pass its error to `on_error`."""

    def finish(task: "asyncio.Task[None]") -> None:
        _RUNNING_TASKS.discard(task)
        error = None if task.cancelled() else task.exception()
        if error:
            on_error(error)

    _RUNNING_TASKS.add(task)
    task.add_done_callback(finish)
    return task
