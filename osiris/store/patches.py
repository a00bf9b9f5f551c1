"""The lists on Redis of patches: a queue, its dead letters, what was applied, and the traces of what was rolled back.

An item stays in the queue until what became of it is on record; who is killed before that finds it there again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from osiris.store.events import Events

QUEUE, DEAD = "dgm:patch_queue", "dgm:patch_queue:dead"
APPLIED, ROLLED_BACK = "dgm:applied_patches", "dgm:rolled_back_traces"
TOLD = "dgm:told"
APPLIED_EVENT, ROLLED_BACK_EVENT = "patch.applied", "patch.rolled_back"
KEPT, LONGEST_LETTER = 1000, 10_000
BURY_UNREAD = """
redis.call('LSET', KEYS[1], ARGV[2], ARGV[1])
redis.call('LREM', KEYS[1], -1, ARGV[1])
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
return 1
"""
TELL_ONCE = """
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
for _, item in ipairs(cjson.decode(ARGV[4])) do redis.call('LPUSH', KEYS[2], item) end
redis.call('LTRIM', KEYS[2], 0, ARGV[5] - 1)
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
"""


class PatchLists:
    """The lists of one workspace's Redis."""

    def __init__(self, events: "Events") -> None:
        """Use the server of `events`."""
        self._events = events

    def push(self, item: str) -> None:
        """Put a patch at the end of the queue."""
        self._events.ask(lambda redis: redis.lpush(QUEUE, item))

    def at(self, place: int) -> str | None:
        """The item at `place` of the queue, 0 at its head; one that is no text becomes a dead letter."""
        while True:
            try:
                return self._events.ask(lambda redis: redis.lindex(QUEUE, -1 - place))
            except UnicodeDecodeError:
                reason = _json({"item": None, "reason": "bytes that are no UTF-8"})
                self._events.ask(
                    lambda redis, why=reason: redis.eval(BURY_UNREAD, 2, QUEUE, DEAD, why, -1 - place, KEPT)
                )

    def drop(self, item: str) -> None:
        """Take an item out of the queue, now that what became of it is on record."""
        self._events.ask(lambda redis: redis.lrem(QUEUE, -1, item))

    def bury(self, item: str, reason: str, at: datetime) -> None:
        """Move an item to the dead letters, with the reason."""
        letter = _json({"item": item[:LONGEST_LETTER], "reason": reason, "at": at})
        self._together(lambda pipe: pipe.lrem(QUEUE, -1, item).lpush(DEAD, letter).ltrim(DEAD, 0, KEPT - 1))

    def waiting(self) -> int:
        """How many items are in the queue."""
        return self._events.ask(lambda redis: redis.llen(QUEUE))

    def read(self, name: str, count: int = KEPT) -> list[dict[str, Any]]:
        """The newest items of a list, newest first."""
        return [orjson.loads(item) for item in self._events.ask(lambda redis: redis.lrange(name, 0, count - 1))]

    def tell_applied(self, patch: Mapping[str, Any]) -> None:
        """Put a patch that went live on `dgm:applied_patches` and announce it, once however often it is asked."""
        self._tell(f"applied {patch['id']} {patch['commit']}", APPLIED_EVENT, APPLIED, patch, [patch])

    def tell_rolled_back(self, patch: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> None:
        """Put the traces of a patch on `dgm:rolled_back_traces` and announce the rollback, once."""
        self._tell(f"rolled back {patch['id']} {patch['commit']}", ROLLED_BACK_EVENT, ROLLED_BACK, patch, traces)

    def _tell(self, key: str, event: str, name: str, patch: Mapping[str, Any], items: Sequence[Any]) -> None:
        packed = orjson.dumps([_json(item).decode() for item in items])
        self._events.ask(lambda redis: redis.eval(TELL_ONCE, 2, TOLD, name, key, event, _json(patch), packed, KEPT))

    def _together(self, change: Any) -> None:
        self._events.ask(lambda redis: change(redis.pipeline(transaction=True)).execute())


def _json(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, default=str)
