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

TRACES_KEY = "dgm:recent_traces"
PATCH_QUEUE_KEY, DEAD_LETTERS_KEY = "dgm:patch_queue", "dgm:patch_queue:dead"
APPLIED_PATCHES_KEY, ROLLED_BACK_TRACES_KEY = "dgm:applied_patches", "dgm:rolled_back_traces"
ANNOUNCED_KEY = "dgm:told"
APPLIED_EVENT, ROLLED_BACK_EVENT = "patch.applied", "patch.rolled_back"
TRACE_TIME_PATTERN, PATCH_ID_PATTERN = re.compile(r"[0-9TZ:.+ -]{8,40}"), re.compile(r"[\w.-]{1,40}")
MAX_TRACE_PNL = 1e6
MAX_LIST_ITEMS, MAX_DEAD_LETTER_CHARACTERS = 1000, 10_000
DEAD_LETTER_SCRIPT = """
redis.call('LSET', KEYS[1], ARGV[2], ARGV[1])
redis.call('LREM', KEYS[1], -1, ARGV[1])
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
return 1
"""
ANNOUNCE_ONCE_SCRIPT = """
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
        self._events.execute(lambda redis: redis.lpush(PATCH_QUEUE_KEY, item))

    def peek(self, place: int) -> str | None:
        """The item at `place` of the queue, 0 at its head; one that is no text becomes a dead letter."""
        while True:
            try:
                return self._events.execute(lambda redis: redis.lindex(PATCH_QUEUE_KEY, -1 - place))
            except UnicodeDecodeError:
                reason = _json({"item": None, "reason": "bytes that are no UTF-8"})
                self._events.execute(
                    lambda redis, why=reason: redis.eval(
                        DEAD_LETTER_SCRIPT, 2, PATCH_QUEUE_KEY, DEAD_LETTERS_KEY, why, -1 - place, MAX_LIST_ITEMS
                    )
                )

    def list_queue(self) -> list[str]:
        """The queue, the next first; bytes that are no UTF-8 are shown with signs in their place."""
        found = self._events.execute(
            lambda redis: redis.execute_command("LRANGE", PATCH_QUEUE_KEY, -MAX_LIST_ITEMS, -1, NEVER_DECODE=True)
        )
        return [item.decode(errors="replace") for item in found[::-1]]

    def remove(self, item: str) -> None:
        """Take an item out of the queue, now that what became of it is on record."""
        self._events.execute(lambda redis: redis.lrem(PATCH_QUEUE_KEY, -1, item))

    def dead_letter(self, item: str, reason: str, at: datetime) -> None:
        """Move an item to the dead letters, with the reason."""
        dead_letter = _json({"item": item[:MAX_DEAD_LETTER_CHARACTERS], "reason": reason, "at": at})
        self._execute_transaction(
            lambda pipe: (
                pipe.lrem(PATCH_QUEUE_KEY, -1, item)
                .lpush(DEAD_LETTERS_KEY, dead_letter)
                .ltrim(DEAD_LETTERS_KEY, 0, MAX_LIST_ITEMS - 1)
            )
        )

    def queue_length(self) -> int:
        """How many items are in the queue."""
        return self._events.execute(lambda redis: redis.llen(PATCH_QUEUE_KEY))

    def read_list(self, name: str, count: int = MAX_LIST_ITEMS) -> list[dict[str, Any]]:
        """The newest items of a list, newest first; what is no JSON object is left out."""
        return [item for item in self._read_items(name, count) if item is not None]

    def read_traces(self, count: int) -> tuple[list[dict[str, Any]], int]:
        """The newest `count` traces of settled trades, newest first, and how many items among them are none."""
        found: list[dict[str, Any]] = []
        left_out = 0
        for item in self._read_items(TRACES_KEY, MAX_LIST_ITEMS):
            if len(found) == count:
                break
            if item is not None and _is_trace(item):
                found.append({name: item.get(name) for name in ("id", "timestamp", "pnl", "patch_id")})
            else:
                left_out += 1
        return found, left_out

    def _read_items(self, name: str, count: int) -> Iterator[dict[str, Any] | None]:
        ask = ("LRANGE", name, 0, count - 1)
        for item in self._events.execute(lambda redis: redis.execute_command(*ask, NEVER_DECODE=True)):
            try:
                value = orjson.loads(item)
            except orjson.JSONDecodeError:
                value = None
            yield value if isinstance(value, dict) else None

    def announce_applied(self, patch: Mapping[str, Any]) -> None:
        """Put a patch that went live on `dgm:applied_patches` and announce it, once however often it is asked."""
        self._announce(f"applied {patch['id']} {patch['commit']}", APPLIED_EVENT, APPLIED_PATCHES_KEY, patch, [patch])

    def announce_rolled_back(self, patch: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> None:
        """Put the traces of a patch on `dgm:rolled_back_traces` and announce the rollback, once."""
        self._announce(
            f"rolled back {patch['id']} {patch['commit']}", ROLLED_BACK_EVENT, ROLLED_BACK_TRACES_KEY, patch, traces
        )

    def _announce(self, key: str, event: str, name: str, patch: Mapping[str, Any], items: Sequence[Any]) -> None:
        packed = orjson.dumps([_json(item).decode() for item in items])
        self._events.execute(
            lambda redis: redis.eval(
                ANNOUNCE_ONCE_SCRIPT, 2, ANNOUNCED_KEY, name, key, event, _json(patch), packed, MAX_LIST_ITEMS
            )
        )

    def _execute_transaction(self, change: Any) -> None:
        self._events.execute(lambda redis: change(redis.pipeline(transaction=True)).execute())


def _is_trace(item: Mapping[str, Any]) -> bool:
    """Whether an item is a trace, with names and a moment that a prompt can show as they are."""
    pnl, patch = item.get("pnl"), item.get("patch_id")
    return (
        isinstance(pnl, int | float) and not isinstance(pnl, bool) and abs(pnl) < MAX_TRACE_PNL
        and isinstance(item.get("timestamp"), str) and bool(TRACE_TIME_PATTERN.fullmatch(item["timestamp"]))
        and (patch is None or (isinstance(patch, str) and bool(PATCH_ID_PATTERN.fullmatch(patch))))
    )  # fmt: skip


def _json(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, default=str)
