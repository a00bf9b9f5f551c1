"""Events on a real Redis server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from osiris.core.errors import SettingsError, SourceUnavailable
from osiris.storage.events import EVENT_BATCH_SIZE, GENERATED_TOPIC, OUTCOME_TOPIC, Events, read_messages


@pytest.fixture
def events(tmp_path):
    events = Events(tmp_path / "redis")
    yield events
    events.close()


def outcome(number):
    return {"event_id": f"e{number}", "id": f"i{number}", "outcome": "win", "closed_at": "2005-03-01T21:00:00+00:00"}


def wait_for_end(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(30)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    wait_for_end(pid)


def test_a_subscriber_hears_an_outcome_once_however_often_it_is_sent(events):
    subscription = events.subscribe(OUTCOME_TOPIC)
    assert events.publish_outcomes([outcome(1), outcome(2)]) == 2
    assert events.publish_outcomes([outcome(2), outcome(3)]) == 1
    assert [event["id"] for event in read_messages(subscription)] == ["i1", "i2", "i3"]
    subscription.close()


def test_the_stream_keeps_outcomes_for_those_who_come_later(events):
    events.publish_outcomes([outcome(1)])
    assert list(events.read_outcomes()) == [outcome(1)]


def test_generated_ideas_are_announced(events):
    subscription = events.subscribe(GENERATED_TOPIC)
    events.publish_generated([{"id": "a"}], None)
    assert read_messages(subscription) == [{"id": "a", "as_of": None}]
    subscription.close()


@pytest.mark.parametrize("age", [0, 1.3], ids=["new", "old enough to sync its file in the background"])
def test_a_killed_server_loses_nothing_and_starts_again(events, age):
    pid = events.server_pid()
    time.sleep(age)
    events.publish_outcomes([outcome(1)])
    kill(pid)
    with pytest.raises(SourceUnavailable, match="start it again"):
        events.ping()
    assert list(events.read_outcomes()) == [outcome(1)]
    assert events.publish_outcomes([outcome(1)]) == 0


def test_more_outcomes_than_go_in_one_batch_are_all_published_once(events):
    many = [outcome(number) for number in range(EVENT_BATCH_SIZE + 2)]
    assert events.publish_outcomes(many[:2]) == 2
    assert events.publish_outcomes(many) == EVENT_BATCH_SIZE
    assert list(events.read_outcomes()) == many
    assert events.publish_outcomes([]) == 0


def test_two_processes_share_the_embedded_server(events, tmp_path):
    events.publish_outcomes([outcome(1)])
    code = (
        "import sys; from pathlib import Path; from osiris.storage.events import Events\n"
        "events = Events(Path(sys.argv[1])); print(len(list(events.read_outcomes()))); events.close()"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "redis")], capture_output=True, text=True, timeout=60, check=True
    )
    assert other.stdout.strip() == "1"
    assert events.ping()


def test_the_last_to_leave_stops_the_server(tmp_path):
    events = Events(tmp_path / "redis")
    events.ping()
    pid = events.server_pid()
    events.close()
    wait_for_end(pid)
    assert not psutil.pid_exists(pid)


def test_a_server_that_is_away_is_named():
    with pytest.raises(SourceUnavailable, match=r"redis://127\.0\.0\.1:1"):
        Events(None, "redis://127.0.0.1:1").ping()


class TestDelivery:
    def test_a_group_gets_each_event_once_oldest_first_and_goes_on_where_it_was(self, events):
        taken = []
        events.publish_outcomes([outcome(1), outcome(2)])
        assert events.deliver("books", "a", taken.extend) == 2
        events.publish_outcomes([outcome(3)])
        assert events.deliver("books", "b", taken.extend) == 1
        assert [event["id"] for event in taken] == ["i1", "i2", "i3"]
        assert events.deliver("others", "a", lambda _: None) == 3

    def test_what_a_reader_failed_on_is_delivered_again(self, events):
        def fail(_):
            raise RuntimeError("the reader's own trouble")

        events.publish_outcomes([outcome(1)])
        with pytest.raises(RuntimeError):
            events.deliver("books", "a", fail)
        taken = []
        assert events.deliver("books", "b", taken.extend) == 0, "it was not left for long enough"
        assert events.deliver("books", "b", taken.extend, idle_milliseconds=0) == 1
        assert [event["id"] for event in taken] == ["i1"]

    def test_there_may_be_nothing(self, events):
        assert events.deliver("books", "a", lambda _: None) == 0


class TestTail:
    def test_it_begins_with_what_comes_next(self, events):
        events.publish_outcomes([outcome(1)])
        tail = events.tail()
        assert next(tail) is None
        events.publish_outcomes([outcome(2)])
        assert next(tail)["id"] == "i2"

    def test_or_with_the_oldest(self, events):
        events.publish_outcomes([outcome(1), outcome(2)])
        tail = events.tail(from_start=True)
        assert [next(tail)["id"] for _ in range(2)] == ["i1", "i2"]
        assert next(tail) is None


def test_the_socket_lies_in_the_workspace_and_outlives_no_kill(events, tmp_path):
    assert events.ping()
    assert (tmp_path / "redis" / "redis.socket").is_socket()
    kill(events.server_pid())
    with pytest.raises(SourceUnavailable):
        events.ping()
    assert events.ping()


def test_a_folder_too_deep_for_a_socket_has_it_elsewhere(tmp_path):
    events = Events(tmp_path / ("d" * 60) / ("e" * 60))
    assert events.ping()
    events.close()


def test_what_is_not_a_number_is_null_in_an_event(events):
    events.publish_outcomes([outcome(1) | {"r_multiple": float("nan")}])
    assert next(events.read_outcomes())["r_multiple"] is None


def test_an_event_that_the_stream_has_dropped_does_not_stop_a_group(events):
    def fail(_):
        raise RuntimeError

    events.publish_outcomes([outcome(1), outcome(2)])
    with pytest.raises(RuntimeError):
        events.deliver("books", "a", fail)
    events._redis.xtrim(OUTCOME_TOPIC, maxlen=1, approximate=False)
    taken = []
    assert events.deliver("books", "b", taken.extend, idle_milliseconds=0) == 1
    assert [event["id"] for event in taken] == ["i2"]


def test_a_server_that_takes_nothing_more_is_away(events):
    events.ping()
    events._redis.config_set("maxmemory", "1")
    with pytest.raises(SourceUnavailable, match="memory"):
        events.publish_outcomes([outcome(1)])


def test_a_url_that_is_none_is_a_setting_to_correct():
    with pytest.raises(SettingsError, match=r"redis\.url"):
        Events(None, "localhost:6379").ping()


@pytest.mark.parametrize("note", ["", "{", '{"pidfile": "nowhere"}', "a stranger"])
def test_the_note_of_a_dead_server_does_not_stop_a_new_one(tmp_path, note):
    if note == "a stranger":
        (tmp_path / "pid").write_text(str(os.getpid()))
        note = json.dumps({"pidfile": str(tmp_path / "pid")})
    folder = tmp_path / "redis"
    folder.mkdir()
    (folder / "redis.db.settings").write_text(note)
    events = Events(folder)
    assert events.ping()
    events.close()
