"""Events on Redis: the user's server by url, or else an embedded one in the workspace (`redis_server.py`).

`advice.outcome` is delivered at least once, with a stable `event_id`. One Lua script adds and publishes only the events
whose id it has not seen before. So the stream has each event once.

A reader that must not miss events uses `deliver`. Its group remembers which events it has received. An event is
acknowledged only after the reader has processed it. The events of a killed reader are delivered again, so readers drop
repeats by `event_id`. A reader that only watches uses `tail`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from osiris.core.errors import SettingsError, SourceUnavailable
from osiris.core.ideas import to_trace
from osiris.core.types import Row
from osiris.storage.redis_server import EmbeddedRedis

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import PubSub

OUTCOME_TOPIC = "advice.outcome"
GENERATED_TOPIC = "advice.generated"
SEEN_EVENTS_KEY = "advice.outcome:seen"
TRACES_KEY = "dgm:recent_traces"
MAX_TRACES = 1000
OUTCOME_SCRIPT_KEYS = (SEEN_EVENTS_KEY, OUTCOME_TOPIC, TRACES_KEY)
SUBSCRIBE_TIMEOUT_SECONDS = 5
MAX_STREAM_EVENTS = 1_000_000
EVENT_BATCH_SIZE = 1000
POLL_MILLISECONDS = 500
CLAIM_IDLE_MILLISECONDS = 60_000
"""An event that a reader took and has not acknowledged for so long goes to another reader of its group."""

# KEYS: the hash of seen ids, the stream (also the channel), the list of traces. ARGV: the largest length of the stream,
# the events as JSON `[[event_id, payload, closed_at, trace or ""], ...]`, the largest length of the list.
PUBLISH_ONCE_SCRIPT = """
local new = 0
for _, event in ipairs(cjson.decode(ARGV[2])) do
  if redis.call('HSETNX', KEYS[1], event[1], event[3]) == 1 then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'event_id', event[1], 'payload', event[2])
    redis.call('PUBLISH', KEYS[2], event[2])
    if event[4] ~= '' then
      redis.call('LPUSH', KEYS[3], event[4])
      redis.call('LTRIM', KEYS[3], 0, ARGV[3] - 1)
    end
    new = new + 1
  end
end
return new
"""


class Events:
    """Publishes and reads the events of one workspace."""

    def __init__(self, folder: Path, url: str = "") -> None:
        """Use the server at `url`, or an embedded one with its files in `folder`. Connects at the first use."""
        self.folder = folder
        self.url = url
        self._embedded = EmbeddedRedis(folder)

    def publish_generated(self, ideas: list[Mapping[str, object]], as_of: datetime) -> None:
        """Announce drafted ideas on the channel `advice.generated`, with one message for each idea."""

        def announce(redis: "Redis") -> None:
            pipe = redis.pipeline(transaction=False)
            for idea in ideas:
                pipe.publish(GENERATED_TOPIC, _json({**idea, "as_of": as_of}))
            pipe.execute()

        self.execute(announce)

    def publish_outcomes(self, payloads: Sequence[Mapping[str, object]]) -> int:
        """Deliver outcome events, and traces of sized trades, once per `event_id`; returns the number of new events."""
        new = 0
        for first in range(0, len(payloads), EVENT_BATCH_SIZE):
            batch = payloads[first : first + EVENT_BATCH_SIZE]
            packed = orjson.dumps([[p["event_id"], _json(p).decode(), str(p["closed_at"]), _trace(p)] for p in batch])
            new += self._publish_batch(packed)
        return new

    def _publish_batch(self, packed: bytes) -> int:
        """Run the script over one batch (`packed` is JSON); returns the number of new events."""
        arguments = (*OUTCOME_SCRIPT_KEYS, MAX_STREAM_EVENTS, packed, MAX_TRACES)
        new: int = self.execute(lambda redis: redis.eval(PUBLISH_ONCE_SCRIPT, len(OUTCOME_SCRIPT_KEYS), *arguments))
        return new

    def subscribe(self, *channels: str) -> "PubSub":
        """Return a subscription that the server has confirmed. Read it with `read_messages` or with its own methods."""
        subscription: PubSub = self._execute(lambda: self._redis.pubsub(ignore_subscribe_messages=True))
        self._execute(lambda: subscription.subscribe(*channels))
        for _ in channels:
            subscription.get_message(timeout=SUBSCRIBE_TIMEOUT_SECONDS)
        return subscription

    def read_outcomes(self, count: int | None = None) -> Iterator[Row]:
        """Yield the outcome events in the stream, oldest first."""
        for _, fields in self._execute(lambda: self._redis.xrange(OUTCOME_TOPIC, count=count)):
            yield json.loads(fields["payload"])

    def tail(self, from_start: bool = False) -> Iterator[Row | None]:
        """Yield outcome events as they come, and `None` after each half second without one. Never ends by itself."""
        after = "0" if from_start else self._newest()
        while True:
            entries = self._read_after(after)
            for after, fields in entries:  # noqa: B007  # the id of the last entry is where the next read begins
                yield json.loads(fields["payload"])
            if not entries:
                yield None

    def _read_after(self, after: str) -> list[Any]:
        """Return the entries of the stream after the id `after`; waits half a second for the first one."""
        streams = self._execute(
            lambda: self._redis.xread({OUTCOME_TOPIC: after}, count=EVENT_BATCH_SIZE, block=POLL_MILLISECONDS)
        )
        return streams[0][1] if streams else []

    def deliver(
        self, group: str, consumer: str, handle: Callable[[list[Row]], None], idle_milliseconds: int | None = None
    ) -> int:
        """Pass every outcome event that `group` has not acknowledged to `handle`, oldest first; returns their number.

        Events are acknowledged after `handle` has returned. Events that another reader of the group took, but did not
        acknowledge for `idle_milliseconds` (default: one minute), are claimed first. Returns when no event is left.
        """
        self._execute(lambda: self._make_group(group))
        handled = 0
        idle = CLAIM_IDLE_MILLISECONDS if idle_milliseconds is None else idle_milliseconds
        while True:
            _, entries, *_ = self._execute(
                lambda: self._redis.xautoclaim(OUTCOME_TOPIC, group, consumer, idle, count=EVENT_BATCH_SIZE)
            )
            if not entries:
                streams = self._execute(
                    lambda: self._redis.xreadgroup(group, consumer, {OUTCOME_TOPIC: ">"}, count=EVENT_BATCH_SIZE)
                )
                entries = streams[0][1] if streams else []
            if not entries:
                return handled
            present = [fields for _, fields in entries if fields]  # an entry that the stream has dropped has no fields
            if len(present) < len(entries):
                self._execute(lambda: self._forget_dropped(group))
            if present:
                handle([json.loads(fields["payload"]) for fields in present])
            self._acknowledge(group, [entry for entry, _ in entries if entry])
            handled += len(present)

    def _acknowledge(self, group: str, entry_ids: list[str]) -> None:
        if entry_ids:
            self._execute(lambda: self._redis.xack(OUTCOME_TOPIC, group, *entry_ids))

    def ping(self) -> bool:
        """Return true if the server answers; raises `SourceUnavailable` if it does not."""
        return bool(self._execute(self._redis.ping))

    def server_pid(self) -> int:
        """Return the process id of the server."""
        return int(self._execute(lambda: self._redis.info("server"))["process_id"])

    def close(self) -> None:
        """Disconnect from the server. An embedded server stops with its last user."""
        client = self.__dict__.pop("_redis", None)
        if client is not None:
            client.close()
        if not self.url:
            self._embedded.release(client)

    def execute(self, command: "Callable[[Redis], Any]") -> Any:
        """Return the server's answer to `command`; raises `SourceUnavailable` if the server does not answer."""
        return self._execute(lambda: command(self._redis))

    def _make_group(self, group: str) -> None:
        from redis.exceptions import ResponseError

        try:
            self._redis.xgroup_create(OUTCOME_TOPIC, group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _forget_dropped(self, group: str) -> None:
        """Acknowledge entries that the stream has dropped: Redis 6 would return them, without an id, for ever."""
        for entry in self._redis.xpending_range(OUTCOME_TOPIC, group, "-", "+", EVENT_BATCH_SIZE):
            if not self._redis.xrange(OUTCOME_TOPIC, entry["message_id"], entry["message_id"]):
                self._redis.xack(OUTCOME_TOPIC, group, entry["message_id"])

    def _newest(self) -> str:
        entries = self._execute(lambda: self._redis.xrevrange(OUTCOME_TOPIC, count=1))
        return entries[0][0] if entries else "0"

    @cached_property
    def _redis(self) -> "Redis":
        from redis import Redis

        if not self.url:
            embedded: Redis = self._embedded.open()
            return embedded
        try:
            return Redis.from_url(self.url, decode_responses=True)
        except ValueError as error:
            expected, actual = "a url such as redis://localhost:6379/0", f"{self.url!r} ({error})"
            raise SettingsError(expected, actual, "correct redis.url") from error

    def _execute(self, command: Callable[[], Any]) -> Any:
        from redis.exceptions import RedisError

        try:
            return command()
        except RedisError as error:
            self.__dict__.pop("_redis", None)  # the next command connects anew
            where = self.url or f"the embedded server in {self.folder}"
            raise SourceUnavailable(
                "a Redis server that answers", f"{error} from {where}", "start it again, or see to what it says"
            ) from error


def read_messages(subscription: "PubSub", timeout: float = 0.5) -> list[dict[str, Any]]:
    """Return the payloads that a subscription has received; waits `timeout` seconds for each further payload."""
    messages = iter(lambda: subscription.get_message(timeout=timeout), None)
    return [json.loads(message["data"]) for message in messages]


def _trace(payload: Mapping[str, Any]) -> str:
    """Return the trace of a sized trade as JSON, or the empty text for a trade without a size."""
    return "" if payload.get("size") is None else _json(to_trace(payload)).decode()


def _json(payload: Mapping[str, object]) -> bytes:
    """Return `payload` as JSON. Moments are in ISO 8601; absent values and NaN are null."""
    return orjson.dumps(payload, default=str)
