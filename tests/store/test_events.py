"""Events on a real Redis server."""

import os
import signal
import subprocess
import sys
import time

import pytest

from osiris.errors import SourceUnavailable
from osiris.store.events import BATCH, GENERATED, OUTCOME, Events, heard


@pytest.fixture
def events(tmp_path):
    events = Events(tmp_path / "redis")
    yield events
    events.close()


def outcome(number):
    return {"event_id": f"e{number}", "id": f"i{number}", "outcome": "win", "closed_at": "2005-03-01T21:00:00+00:00"}


def test_a_subscriber_hears_an_outcome_once_however_often_it_is_sent(events):
    subscription = events.subscribe(OUTCOME)
    assert events.publish_outcomes([outcome(1), outcome(2)]) == 2
    assert events.publish_outcomes([outcome(2), outcome(3)]) == 1
    assert [event["id"] for event in heard(subscription)] == ["i1", "i2", "i3"]
    subscription.close()


def test_the_stream_keeps_outcomes_for_those_who_come_later(events):
    events.publish_outcomes([outcome(1)])
    assert list(events.outcomes()) == [outcome(1)]


def test_generated_ideas_are_announced(events):
    subscription = events.subscribe(GENERATED)
    events.publish_generated([{"id": "a"}], None)
    assert heard(subscription) == [{"id": "a", "as_of": None}]
    subscription.close()


@pytest.mark.parametrize("age", [0, 1.3], ids=["new", "old enough to sync its file in the background"])
def test_a_killed_server_loses_nothing_and_starts_again(events, age):
    pid = events.server_pid()
    time.sleep(age)
    events.publish_outcomes([outcome(1)])
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)
    with pytest.raises(SourceUnavailable, match="start it again"):
        events.ping()
    assert list(events.outcomes()) == [outcome(1)]
    assert events.publish_outcomes([outcome(1)]) == 0


def test_more_outcomes_than_go_in_one_batch_are_all_published_once(events):
    many = [outcome(number) for number in range(BATCH + 2)]
    assert events.publish_outcomes(many[:2]) == 2
    assert events.publish_outcomes(many) == BATCH
    assert list(events.outcomes()) == many
    assert events.publish_outcomes([]) == 0


def test_two_processes_share_the_embedded_server(events, tmp_path):
    events.publish_outcomes([outcome(1)])
    code = (
        "import sys; from pathlib import Path; from osiris.store.events import Events\n"
        "events = Events(Path(sys.argv[1])); print(len(list(events.outcomes()))); events.close()"
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
    time.sleep(0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_is_away_is_named():
    with pytest.raises(SourceUnavailable, match=r"redis://127\.0\.0\.1:1"):
        Events(None, "redis://127.0.0.1:1").ping()
