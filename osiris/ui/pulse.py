"""A task that acts again and again on the kernel's own event loop, so that a page changes without being touched."""

import asyncio
from collections.abc import Callable


def beat(act: Callable[[], float]) -> "asyncio.Task[None] | None":
    """Call `act` now and again: it returns the seconds until the next time. `None` where no event loop runs.

    It runs between the cells of a notebook, never beside one, so `act` may touch widgets freely.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None

    async def on() -> None:
        while True:
            await asyncio.sleep(act())

    return loop.create_task(on(), name="osiris-pulse")
