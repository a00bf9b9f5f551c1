"""A task that acts again and again on the kernel's own event loop, so that a page changes without being touched."""

import asyncio
from collections.abc import Callable


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
