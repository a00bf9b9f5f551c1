"""Events on Redis: the user's server by url, else an embedded real one in the workspace (`embedded_redis.py`).

Delivery of `advice.outcome` is at least once with a stable `event_id`; one Lua script adds events to the stream and
publishes those whose id was not seen before, so a stream reader gets each once.

A reader that must miss nothing uses `deliver`: its group remembers what it has, an event is acknowledged only after
the reader's own work on it is done, and what a killed reader left is delivered again, so readers drop repeats by
`event_id`. A reader that only looks uses `tail`.
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
TRACES_KEY, MAX_TRACES = "dgm:recent_traces", 1000
OUTCOME_SCRIPT_KEYS = SEEN_EVENTS_KEY, OUTCOME_TOPIC, TRACES_KEY
SUBSCRIBE_TIMEOUT_SECONDS = 5
MAX_STREAM_EVENTS = 1_000_000
EVENT_BATCH_SIZE = 1000
POLL_MILLISECONDS = 500
CLAIM_IDLE_MILLISECONDS = 60_000
"""An event that a reader took and did not acknowledge for so long goes to another one of its group."""

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
        """Use the server at `url`, or an embedded one that keeps its files in `folder`; connects at first use."""
        self.folder, self.url = folder, url
        self._embedded = EmbeddedRedis(folder)

    def publish_generated(self, ideas: list[Mapping[str, object]], as_of: datetime) -> None:
        """Announce drafted ideas on the channel `advice.generated`, one message each."""

        def announce(redis: "Redis") -> None:
            pipe = redis.pipeline(transaction=False)
            for idea in ideas:
                pipe.publish(GENERATED_TOPIC, _json({**idea, "as_of": as_of}))
            pipe.execute()

        self.execute(announce)

    def publish_outcomes(self, payloads: Sequence[Mapping[str, object]]) -> int:
        """Deliver outcome events, and traces of sized trades, once per `event_id`; returns how many were new."""
        new = 0
        for first in range(0, len(payloads), EVENT_BATCH_SIZE):
            batch = payloads[first : first + EVENT_BATCH_SIZE]
            packed = orjson.dumps([[p["event_id"], _json(p).decode(), str(p["closed_at"]), _trace(p)] for p in batch])
            new += self.execute(
                lambda redis, p=packed: redis.eval(
                    PUBLISH_ONCE_SCRIPT, 3, *OUTCOME_SCRIPT_KEYS, MAX_STREAM_EVENTS, p, MAX_TRACES
                )
            )
        return new

    def subscribe(self, *channels: str) -> "PubSub":
        """Return a subscription the server has confirmed; `heard` reads it, and so do its own methods."""
        subscription = self._execute(lambda: self._redis.pubsub(ignore_subscribe_messages=True))
        self._execute(lambda: subscription.subscribe(*channels))
        for _ in channels:
            subscription.get_message(timeout=SUBSCRIBE_TIMEOUT_SECONDS)
        return subscription

    def read_outcomes(self, count: int | None = None) -> Iterator[Row]:
        """Yield the outcome events in the stream, oldest first."""
        for _, fields in self._execute(lambda: self._redis.xrange(OUTCOME_TOPIC, count=count)):
            yield json.loads(fields["payload"])

    def tail(self, from_start: bool = False) -> Iterator[Row | None]:
        """Yield outcome events as they come, `None` whenever none came for half a second; never ends by itself."""
        after = "0" if from_start else self._newest()
        while True:
            found = self._execute(
                lambda a=after: self._redis.xread({OUTCOME_TOPIC: a}, count=EVENT_BATCH_SIZE, block=POLL_MILLISECONDS)
            )
            entries = found[0][1] if found else []
            for after, fields in entries:  # noqa: B007
                yield json.loads(fields["payload"])
            if not entries:
                yield None

    def deliver(
        self, group: str, consumer: str, handle: Callable[[list[Row]], None], idle_milliseconds: int | None = None
    ) -> int:
        """Hand `handle` every outcome event that `group` has not acknowledged, oldest first; returns how many.

        Events are acknowledged after `handle` has returned. What another reader of the group took and left for `idle`
        milliseconds (default: a minute) is claimed first. Returns when there is none left.
        """
        self._execute(lambda: self._make_group(group))
        handled, left = 0, CLAIM_IDLE_MILLISECONDS if idle_milliseconds is None else idle_milliseconds
        while True:
            _, entries, *_ = self._execute(
                lambda: self._redis.xautoclaim(OUTCOME_TOPIC, group, consumer, left, count=EVENT_BATCH_SIZE)
            )
            if not entries:
                found = self._execute(
                    lambda: self._redis.xreadgroup(group, consumer, {OUTCOME_TOPIC: ">"}, count=EVENT_BATCH_SIZE)
                )
                entries = found[0][1] if found else []
            if not entries:
                return handled
            present = [fields for _, fields in entries if fields]
            if len(present) < len(entries):
                self._execute(lambda: self._forget_dropped(group))
            if present:
                handle([json.loads(fields["payload"]) for fields in present])
            if entry_ids := [entry for entry, _ in entries if entry]:
                self._execute(lambda ids=entry_ids: self._redis.xack(OUTCOME_TOPIC, group, *ids))
            handled += len(present)

    def ping(self) -> bool:
        """Whether the server answers; raises `SourceUnavailable` when it does not."""
        return bool(self._execute(self._redis.ping))

    def server_pid(self) -> int:
        """Process id of the server."""
        return int(self._execute(lambda: self._redis.info("server"))["process_id"])

    def close(self) -> None:
        """Leave the server; an embedded one stops with its last user."""
        client = self.__dict__.pop("_redis", None)
        if client is not None:
            client.close()
        if not self.url:
            self._embedded.release(client)

    def execute(self, question: "Callable[[Redis], Any]") -> Any:
        """What the server answers to `question`; raises `SourceUnavailable` when it does not."""
        return self._execute(lambda: question(self._redis))

    def _make_group(self, group: str) -> None:
        from redis.exceptions import ResponseError

        try:
            self._redis.xgroup_create(OUTCOME_TOPIC, group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _forget_dropped(self, group: str) -> None:
        """Acknowledge what the stream no longer has: Redis 6 would hand it out, nameless, for ever."""
        for entry in self._redis.xpending_range(OUTCOME_TOPIC, group, "-", "+", EVENT_BATCH_SIZE):
            if not self._redis.xrange(OUTCOME_TOPIC, entry["message_id"], entry["message_id"]):
                self._redis.xack(OUTCOME_TOPIC, group, entry["message_id"])

    def _newest(self) -> str:
        entries = self._execute(lambda: self._redis.xrevrange(OUTCOME_TOPIC, count=1))
        return entries[0][0] if entries else "0"

    @cached_property
    def _redis(self) -> "Redis":
        if self.url:
            from redis import Redis

            try:
                return Redis.from_url(self.url, decode_responses=True)
            except ValueError as error:
                expected, actual = "a url such as redis://localhost:6379/0", f"{self.url!r} ({error})"
                raise SettingsError(expected, actual, "correct redis.url") from error
        return self._embedded.open()

    def _execute(self, question: Any) -> Any:
        from redis.exceptions import RedisError

        try:
            return question()
        except RedisError as error:
            self.__dict__.pop("_redis", None)
            where = self.url or f"the embedded server in {self.folder}"
            raise SourceUnavailable(
                "a Redis server that answers", f"{error} from {where}", "start it again, or see to what it says"
            ) from error


def read_messages(subscription: "PubSub", timeout: float = 0.5) -> list[dict[str, Any]]:
    """The payloads a subscription has received, waiting `timeout` seconds for each further one."""
    messages = iter(lambda: subscription.get_message(timeout=timeout), None)
    return [json.loads(message["data"]) for message in messages]


def _trace(payload: Mapping[str, Any]) -> str:
    return "" if payload.get("size") is None else _json(to_trace(payload)).decode()


def _json(payload: Mapping[str, object]) -> bytes:
    """`payload` as JSON: moments in ISO 8601, what is absent or not a number is null."""
    return orjson.dumps(payload, default=str)
