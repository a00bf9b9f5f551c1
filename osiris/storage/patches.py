"""The lists on Redis of patches: a queue, its dead letters, what was applied, and the traces of what was rolled back.

An item stays in the queue until what became of it is on record; who is killed before that finds it there again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from osiris.storage.events import Events

TRACES = "dgm:recent_traces"
QUEUE, DEAD = "dgm:patch_queue", "dgm:patch_queue:dead"
APPLIED, ROLLED_BACK = "dgm:applied_patches", "dgm:rolled_back_traces"
TOLD = "dgm:told"
APPLIED_EVENT, ROLLED_BACK_EVENT = "patch.applied", "patch.rolled_back"
MOMENT, PATCH_ID = re.compile(r"[0-9TZ:.+ -]{8,40}"), re.compile(r"[\w.-]{1,40}")
LARGEST_PNL = 1e6
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

    def items(self) -> list[str]:
        """The queue, the next first; bytes that are no UTF-8 are shown with signs in their place."""
        found = self._events.ask(lambda redis: redis.execute_command("LRANGE", QUEUE, -KEPT, -1, NEVER_DECODE=True))
        return [item.decode(errors="replace") for item in found[::-1]]

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
        """The newest items of a list, newest first; what is no JSON object is left out."""
        return [item for item in self._items(name, count) if item is not None]

    def traces(self, count: int) -> tuple[list[dict[str, Any]], int]:
        """The newest `count` traces of settled trades, newest first, and how many items among them are none."""
        found: list[dict[str, Any]] = []
        left_out = 0
        for item in self._items(TRACES, KEPT):
            if len(found) == count:
                break
            if item is not None and _is_trace(item):
                found.append({name: item.get(name) for name in ("id", "timestamp", "pnl", "patch_id")})
            else:
                left_out += 1
        return found, left_out

    def _items(self, name: str, count: int) -> Iterator[dict[str, Any] | None]:
        ask = ("LRANGE", name, 0, count - 1)
        for item in self._events.ask(lambda redis: redis.execute_command(*ask, NEVER_DECODE=True)):
            try:
                value = orjson.loads(item)
            except orjson.JSONDecodeError:
                value = None
            yield value if isinstance(value, dict) else None

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


def _is_trace(item: Mapping[str, Any]) -> bool:
    """Whether an item is a trace, with names and a moment that a prompt can show as they are."""
    pnl, patch = item.get("pnl"), item.get("patch_id")
    return (
        isinstance(pnl, int | float) and not isinstance(pnl, bool) and abs(pnl) < LARGEST_PNL
        and isinstance(item.get("timestamp"), str) and bool(MOMENT.fullmatch(item["timestamp"]))
        and (patch is None or (isinstance(patch, str) and bool(PATCH_ID.fullmatch(patch))))
    )  # fmt: skip


def _json(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, default=str)
