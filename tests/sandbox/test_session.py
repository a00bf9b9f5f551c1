"""What the sandbox keeps out, attacked one by one. Each claim of `sandbox/session.py` has an attack here."""

import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from osiris.kernel.live import LivePolicies, LivePolicy
from osiris.kernel.repo import PolicyRepo
from osiris.policy import ShippedPolicy, shipped_files
from osiris.policy.contracts import PolicyInput
from osiris.sandbox.bubblewrap import MIB, SandboxUnavailable, kill_sandboxed, start_sandboxed
from osiris.sandbox.policies import CandidatePolicy, SandboxedPolicy
from osiris.sandbox.session import CandidateFailed, PolicyFailed, Sandbox
from tests.builders import MOMENT
from tests.sandbox.hostile import HOSTILE_BODIES, SECRET, hostile_policy

IDEA = PolicyInput(1, 3.0, 1.5, 0.6, 0.7, {})
CLOSE = [100 + 0.1 * bar for bar in range(80)]
needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="no bubblewrap; Debian: apt-get install bubblewrap"
)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A secret in a file, in the environment, and a socket that listens."""
    monkeypatch.setenv("OSIRIS_TEST_SECRET", SECRET)
    (tmp_path / "canary").write_text("CANARY")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0)
        yield {"canary": tmp_path / "canary", "folder": tmp_path, "port": listening.getsockname()[1]}
        with pytest.raises(BlockingIOError):
            listening.accept()


@needs_bubblewrap
@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_policy_gets_nothing(name, places, monkeypatch):
    monkeypatch.setattr("osiris.sandbox.session.POLICY_ANSWER_SECONDS", 2.0)
    with Sandbox(shipped_files() | {"sizing.py": hostile_policy(name, **places)}) as session:
        session.ask("passes", [*IDEA])  # a box that is slow to start would prove nothing
        try:
            answer = session.ask("size", [*IDEA])  # as it is: what may be answered is checked after this
        except PolicyFailed:
            answer = 0.0
    assert answer == 0.0
    assert [path.name for path in places["folder"].iterdir()] == ["canary"]
    assert places["canary"].read_text() == "CANARY"


@needs_bubblewrap
def test_a_number_with_comparisons_of_its_own_arrives_as_a_number_and_is_refused():
    body = "    class Best(float):\n        def __le__(self, other): return True\n    return Best(1.0)\n"
    files = shipped_files() | {"sizing.py": f"def size(*idea):\n{body}"}
    with SandboxedPolicy(files, "forged", None) as policy, pytest.raises(PolicyFailed, match=r"got 1\.0"):
        policy.size(IDEA)


def test_there_are_sixty_of_them_and_each_is_a_program():
    assert len(HOSTILE_BODIES) >= 60
    for name in HOSTILE_BODIES:
        compile(hostile_policy(name, canary="/x", folder="/x", port=1), name, "exec")


@needs_bubblewrap
def test_an_honest_policy_answers_in_the_box_as_it_does_in_this_process():
    with SandboxedPolicy(shipped_files(), "shipped", None) as boxed:
        assert boxed.features(CLOSE, CLOSE, CLOSE, 2.0) == ShippedPolicy().features(CLOSE, CLOSE, CLOSE, 2.0)
        assert boxed.passes(IDEA) is ShippedPolicy().passes(IDEA)
        assert boxed.size(IDEA) == ShippedPolicy().size(IDEA)


@needs_bubblewrap
def test_nothing_of_a_session_survives_it():
    with Sandbox(shipped_files()) as session:
        session.ask("size", [*IDEA])
        inside = psutil.Process(session._process.pid).children(recursive=True)
        assert inside
    assert soon(lambda: gone(inside))


HOLD = """import time
KEPT = []
def size(*idea):
    KEPT.append(bytearray(b"x" * {mib} * 2**20))
    time.sleep(idea[3])
    return 0.01
"""


@needs_bubblewrap
def test_who_holds_too_much_is_stopped_by_whoever_waits_even_where_no_limit_is_set_inside(monkeypatch):
    monkeypatch.setattr("osiris.sandbox.session.MAX_MEMORY_BYTES", 2048 * MIB)
    monkeypatch.setattr("osiris.sandbox.session.MAX_RESIDENT_BYTES", 100 * MIB)
    with Sandbox(shipped_files() | {"sizing.py": HOLD.format(mib=150)}) as session:
        with pytest.raises(PolicyFailed, match=r"MiB held in its sandbox, at most 100"):
            session.ask("size", [*IDEA._replace(confidence=4.0)])
        assert session._process is None
    with Sandbox(shipped_files() | {"sizing.py": HOLD.format(mib=10)}) as session:
        assert session.ask("size", [*IDEA._replace(confidence=0.3)]) == 0.01


FORKS = """import os, threading
thread = threading.Thread(target=int)
thread.start()
thread.join()
try:
    os.fork()
except PermissionError:
    os.write(1, b"one thread, no process")
"""


@needs_bubblewrap
def test_a_box_with_threads_makes_no_second_process(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "forks.py").write_text(FORKS)
    process = start_sandboxed([str(tmp_path / "forks.py")], {}, stdin=subprocess.DEVNULL, allow_threads=True)
    assert process.stdout.read() == b"one thread, no process"
    kill_sandboxed(process)


BUSY = """import time
def size(*idea):
    if idea[3] == 1:
        {what}
    return 0.01
"""
ENDLESS = {"sleeps": "time.sleep(1000)", "works": "while True: pass"}
ALONE = """import sys, threading, psutil
from osiris.sandbox.session import Sandbox
from osiris.policy import shipped_files
box = Sandbox(shipped_files() | {"sizing.py": sys.argv[1]})
box.ask("size", [1, 3.0, 1.5, 0.6, 0.7, {}])
threading.Thread(target=box.ask, args=("size", [1, 3.0, 1.5, 1, 0.7, {}])).start()
print(*(one.pid for one in psutil.Process().children(recursive=True)), flush=True)
"""


def gone(processes):
    """Whether none of them runs any more."""
    running = [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    return not running


def soon(holds):
    """Wait until something holds, half a minute at most; whether it does."""
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


@needs_bubblewrap
@pytest.mark.parametrize("what", ENDLESS)
def test_who_never_answers_does_not_survive_the_session(what, monkeypatch):
    monkeypatch.setattr("osiris.sandbox.session.POLICY_ANSWER_SECONDS", 0.5)
    with Sandbox(shipped_files() | {"sizing.py": BUSY.format(what=ENDLESS[what])}) as session:
        session.ask("size", [*IDEA])
        inside = psutil.Process(session._process.pid).children(recursive=True)
        with pytest.raises(PolicyFailed, match="no answer within"):
            session.ask("size", [*IDEA._replace(confidence=1)])
        assert inside
        assert soon(lambda: gone(inside))


@needs_bubblewrap
@pytest.mark.parametrize("what", ENDLESS)
def test_who_never_answers_does_not_survive_an_osiris_that_is_killed(what):
    policy = BUSY.format(what=ENDLESS[what])
    with subprocess.Popen([sys.executable, "-c", ALONE, policy], stdout=subprocess.PIPE, text=True) as osiris:
        inside = [psutil.Process(int(pid)) for pid in osiris.stdout.readline().split()]
        osiris.kill()
    assert len(inside) >= 2
    assert soon(lambda: gone(inside))


@needs_bubblewrap
@pytest.mark.parametrize("size", ["'0.01'", "None", "float('nan')", "0.5", "[0.01]", "True", "{'tag': 1}"])
def test_an_answer_of_the_wrong_kind_is_refused(size):
    text = f"def size(*idea):\n    return {size}\n"
    with SandboxedPolicy(shipped_files() | {"sizing.py": text}, "odd", None) as policy, pytest.raises(PolicyFailed):
        policy.size(IDEA)


@needs_bubblewrap
def test_what_a_policy_raises_is_said_in_its_words():
    text = "def size(*idea):\n    raise ValueError('no such market')\n"
    policy = SandboxedPolicy(shipped_files() | {"sizing.py": text}, "odd", None)
    with policy, pytest.raises(PolicyFailed, match="ValueError: no such market"):
        policy.size(IDEA)


@needs_bubblewrap
def test_a_candidate_that_fails_is_told_from_a_live_policy_that_does():
    files = shipped_files() | {"sizing.py": "def size(*idea):\n    return 1 / 0\n"}
    with CandidatePolicy(files) as candidate, pytest.raises(CandidateFailed, match="ZeroDivisionError"):
        candidate.size(IDEA)
    with SandboxedPolicy(files, "live", "p1") as live, pytest.raises(PolicyFailed) as failed:
        live.size(IDEA)
    assert not isinstance(failed.value, CandidateFailed)


@needs_bubblewrap
def test_a_set_of_texts_has_one_order_in_all_sessions():
    """Else what was measured, tried and live would be different policies."""
    body = "def size(*idea):\n    return list({'momentum', 'rsi', 'atr', 'volume', 'gap'}).index('rsi') / 1000\n"
    answers = set()
    for _ in range(5):
        with CandidatePolicy(shipped_files() | {"sizing.py": body}) as candidate:
            answers.add(candidate.size(IDEA))
    assert len(answers) == 1


@needs_bubblewrap
def test_a_candidate_that_took_too_long_once_is_not_waited_for_again(monkeypatch):
    monkeypatch.setattr("osiris.sandbox.session.POLICY_ANSWER_SECONDS", 3)
    with CandidatePolicy(shipped_files() | {"sizing.py": BUSY.format(what="while True: pass")}) as candidate:
        assert candidate.size(IDEA) == 0.01
        started = time.monotonic()
        for confidence in (1, 1, 1, 1, 0.6):
            with pytest.raises(CandidateFailed, match="no answer within"):
                candidate.size(IDEA._replace(confidence=confidence))
        assert time.monotonic() - started < 12, "one wait of three seconds, not five"


SPIN = "import time\ndef size(*idea):\n    end = time.process_time() + 0.2\n    while time.process_time() < end: pass\n"


@needs_bubblewrap
def test_a_policy_that_is_judged_has_one_allowance_of_time_and_a_live_one_gets_another(monkeypatch):
    monkeypatch.setattr("osiris.sandbox.session.MAX_CPU_SECONDS", 1)
    files = shipped_files() | {"sizing.py": f"{SPIN}    return 0.01\n"}
    with SandboxedPolicy(files, "live", "p1") as live:
        assert [live.size(IDEA) for _ in range(10)] == [0.01] * 10
    with (
        CandidatePolicy(files) as candidate,
        pytest.raises(CandidateFailed, match="killed for memory or processor time"),
    ):
        [candidate.size(IDEA) for _ in range(10)]


@needs_bubblewrap
def test_a_slow_start_is_not_held_against_a_policy(monkeypatch):
    monkeypatch.setattr("osiris.sandbox.session.POLICY_ANSWER_SECONDS", 2)
    files = shipped_files() | {"sizing.py": "import time\ntime.sleep(3)\ndef size(*idea):\n    return 0.01\n"}
    with SandboxedPolicy(files, "live", "p1") as live:
        assert [live.size(IDEA), live.size(IDEA)] == [0.01, 0.01]
    late = "import time\ndef size(*idea):\n    time.sleep(4 * idea[3])\n    return 0.01\n"
    with SandboxedPolicy(shipped_files() | {"sizing.py": late}, "live", "p1") as live:
        live.size(IDEA._replace(confidence=0.0))
        with pytest.raises(PolicyFailed, match="within 2 s"):
            live.size(IDEA._replace(confidence=1.0))


@pytest.fixture
def patched(tmp_path):
    """A repository in which a patch is live that answers with half the size, and nothing for a confidence of 1."""
    repo = PolicyRepo(tmp_path / "policy.git")
    live = repo.head()
    files = live.files | {"sizing.py": "def size(*idea):\n    return 0.005 / (idea[3] < 1)\n"}
    repo.set_live(repo.commit(files, live.commit, "A patch\n\nPatch-Id: p1\n", MOMENT), live.commit)
    return repo


@needs_bubblewrap
def test_a_session_that_is_killed_from_outside_is_not_held_against_a_live_policy(patched):
    with LivePolicy(patched.head(), patched) as policy:
        policy.size(IDEA)
        inside = psutil.Process(policy._sandbox._process.pid).children(recursive=True)
        policy._sandbox._process.kill()
        assert soon(lambda: gone(inside))
        assert policy.size(IDEA) == 0.005
    assert patched.last_failure() is None


@needs_bubblewrap
def test_a_live_policy_that_fails_is_noted_and_one_that_was_replaced_is_not(patched):
    live = patched.head()
    with LivePolicy(live, patched) as policy:
        with pytest.raises(PolicyFailed, match="ZeroDivisionError"):
            policy.size(IDEA._replace(confidence=1))
        assert patched.last_failure()["commit"] == live.commit
        patched.set_live(patched.commit_shipped(live.commit), live.commit)
        patched.record_failure(patched.head().commit, "that of another")
        with pytest.raises(PolicyFailed):
            policy.size(IDEA._replace(confidence=1))
        assert patched.last_failure()["error"] == "that of another"


@needs_bubblewrap
def test_who_asks_for_the_live_policy_at_once_gets_the_same(patched):
    policies = LivePolicies(patched)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: policies.current(), range(8)))
        sizes = set(pool.map(lambda policy: policy.size(IDEA), found))
    policies.close()
    assert len({id(policy) for policy in found}) == 1
    assert sizes == {0.005}


@needs_bubblewrap
def test_without_libseccomp_nothing_is_run_and_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyseccomp", None)  # as where its library is missing: it cannot be imported
    with (
        Sandbox(shipped_files()) as session,
        pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap libseccomp2"),
    ):
        session.ask("size", [*IDEA])


def test_without_bubblewrap_nothing_is_run_and_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        Sandbox(shipped_files())
