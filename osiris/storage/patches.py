"""The lists of patches on Redis: the queue, its dead letters, applied patches, and traces of rolled-back patches.

An item stays in the queue until the decision about it is stored. A process that is killed before then finds the item in
the queue again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from osiris.storage.events import TRACES_KEY

if TYPE_CHECKING:
    from osiris.storage.events import Events

PATCH_QUEUE_KEY = "dgm:patch_queue"
DEAD_LETTERS_KEY = "dgm:patch_queue:dead"
APPLIED_PATCHES_KEY = "dgm:applied_patches"
ROLLED_BACK_TRACES_KEY = "dgm:rolled_back_traces"
ANNOUNCED_KEY = "dgm:told"
APPLIED_EVENT = "patch.applied"
ROLLED_BACK_EVENT = "patch.rolled_back"
TRACE_TIME_PATTERN = re.compile(r"[0-9TZ:.+ -]{8,40}")
PATCH_ID_PATTERN = re.compile(r"[\w.-]{1,40}")
MAX_TRACE_PNL = 1e6
"""A trace with a larger profit or loss (a fraction of equity) is malformed."""
MAX_LIST_ITEMS = 1000
MAX_DEAD_LETTER_CHARACTERS = 10_000
# A list item can only be removed by its value, and the value cannot be sent as text. So LSET first overwrites the item
# with the dead letter, which LREM can then name. KEYS: queue, dead letters. ARGV: dead letter, index, largest length.
DEAD_LETTER_SCRIPT = """
redis.call('LSET', KEYS[1], ARGV[2], ARGV[1])
redis.call('LREM', KEYS[1], -1, ARGV[1])
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
return 1
"""
# KEYS: the set of announcements made, the list. ARGV: the announcement's key, the channel, the message, the items as
# a JSON list, the largest length of the list.
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
        """Return the item at `place` of the queue (0 is its head). An item that is no text becomes a dead letter."""
        while True:
            try:
                item: str | None = self._events.execute(lambda redis: redis.lindex(PATCH_QUEUE_KEY, -1 - place))
                return item
            except UnicodeDecodeError:
                self._dead_letter_undecodable(place)

    def _dead_letter_undecodable(self, place: int) -> None:
        """Move the item at `place` of the queue to the dead letters, without its bytes, because they are no UTF-8."""
        dead_letter = _json({"item": None, "reason": "bytes that are no UTF-8"})
        arguments = (PATCH_QUEUE_KEY, DEAD_LETTERS_KEY, dead_letter, -1 - place, MAX_LIST_ITEMS)
        self._events.execute(lambda redis: redis.eval(DEAD_LETTER_SCRIPT, 2, *arguments))

    def list_queue(self) -> list[str]:
        """Return the queue, next item first. Bytes that are no UTF-8 are shown as replacement characters."""
        items = self._events.execute(
            lambda redis: redis.execute_command("LRANGE", PATCH_QUEUE_KEY, -MAX_LIST_ITEMS, -1, NEVER_DECODE=True)
        )
        return [item.decode(errors="replace") for item in items[::-1]]

    def remove(self, item: str) -> None:
        """Remove an item from the queue after the decision about it is stored."""
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
        """Return the number of items in the queue."""
        waiting: int = self._events.execute(lambda redis: redis.llen(PATCH_QUEUE_KEY))
        return waiting

    def read_list(self, name: str, count: int = MAX_LIST_ITEMS) -> list[dict[str, Any]]:
        """Return the newest items of a list, newest first, without items that are no JSON object."""
        return [item for item in self._read_items(name, count) if item is not None]

    def read_traces(self, count: int) -> tuple[list[dict[str, Any]], int]:
        """Return the newest `count` traces of settled trades, newest first, and the number of malformed items."""
        traces: list[dict[str, Any]] = []
        malformed = 0
        for item in self._read_items(TRACES_KEY, MAX_LIST_ITEMS):
            if len(traces) == count:
                break
            if item is not None and _is_trace(item):
                traces.append({name: item.get(name) for name in ("id", "timestamp", "pnl", "patch_id")})
            else:
                malformed += 1
        return traces, malformed

    def _read_items(self, name: str, count: int) -> Iterator[dict[str, Any] | None]:
        command = ("LRANGE", name, 0, count - 1)
        for item in self._events.execute(lambda redis: redis.execute_command(*command, NEVER_DECODE=True)):
            try:
                value = orjson.loads(item)
            except orjson.JSONDecodeError:
                value = None
            yield value if isinstance(value, dict) else None

    def announce_applied(self, patch: Mapping[str, Any]) -> None:
        """Put a patch that went live on `dgm:applied_patches` and announce it. Repeated calls change nothing."""
        self._announce(f"applied {patch['id']} {patch['commit']}", APPLIED_EVENT, APPLIED_PATCHES_KEY, patch, [patch])

    def announce_rolled_back(self, patch: Mapping[str, Any], traces: Sequence[Mapping[str, Any]]) -> None:
        """Put the traces of a patch on `dgm:rolled_back_traces` and announce it. Repeated calls change nothing."""
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
    """Whether an item is a trace whose patch id and time are safe to show in a prompt."""
    pnl = item.get("pnl")
    patch = item.get("patch_id")
    return (
        isinstance(pnl, int | float) and not isinstance(pnl, bool) and abs(pnl) < MAX_TRACE_PNL
        and isinstance(item.get("timestamp"), str) and bool(TRACE_TIME_PATTERN.fullmatch(item["timestamp"]))
        and (patch is None or (isinstance(patch, str) and bool(PATCH_ID_PATTERN.fullmatch(patch))))
    )  # fmt: skip


def _json(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, default=str)
