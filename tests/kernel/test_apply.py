"""Applying and rolling back, also when the process is killed in between."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from osiris.config.settings import PROJECT_ROOT
from osiris.core.errors import Conflict, NotFound
from osiris.kernel.apply import apply_patch, finish_step, roll_back
from osiris.kernel.patch_log import PatchLog
from osiris.kernel.repo import PolicyRepo
from osiris.policy import shipped_files
from tests.builders import DECIDED_AT, MOMENT
from tests.kernel.worker import add_judged_patch, patched_files


@pytest.fixture
def repo(tmp_path):
    return PolicyRepo(tmp_path / "policy.git")


@pytest.fixture
def book(tmp_path):
    return PatchLog(tmp_path / "patches.jsonl")


def applied(book, repo, name, at=MOMENT):
    return apply_patch(book, repo, add_judged_patch(book, name, at), patched_files(name), repo.head(), at)


def before(repo, commit):
    return repo._git("rev-parse", f"{commit}^").strip()


def test_an_applied_patch_is_a_commit_with_its_reasons(book, repo):
    shipped, commit = repo.head().commit, applied(book, repo, "p1")
    assert (repo.head().commit, repo.head().patch_id, before(repo, commit)) == (commit, "p1", shipped)
    message = repo._git("log", "-1", "--format=%B")
    for line in (
        "Patch-Id: p1",
        "Drafted-By: ann",
        "Reward-Before: +0.1000",
        "Reward-After: +0.2000",
        "Hermes-Score: 7",
    ):
        assert line in message.splitlines()
    assert (book.get("p1")["state"], book.get("p1")["live"]) == ("applied", True)


def test_a_rollback_makes_live_what_was_live_before_and_takes_what_was_built_on_it(book, repo):
    first = applied(book, repo, "p1")
    applied(book, repo, "p2", DECIDED_AT)
    before = repo.version(first)
    applied(book, repo, "p3", DECIDED_AT.replace(minute=30))
    assert roll_back(book, repo, "p2", DECIDED_AT.replace(minute=40), "it lost", cost=-0.02) == ["p2", "p3"]
    assert (repo.head().files, repo.head().patch_id) == (before.files, "p1")
    assert "This reverts commit" in repo._git("log", "-1", "--format=%B")
    assert {name: patch["live"] for name, patch in book.patches().items()} == {"p1": True, "p2": False, "p3": False}
    assert (book.get("p2")["cost"], book.get("p3")["reason"]) == (-0.02, "built on p2")


def test_what_is_not_live_cannot_be_rolled_back(book, repo):
    with pytest.raises(NotFound):
        roll_back(book, repo, "p1", MOMENT, "")
    add_judged_patch(book, "p1", MOMENT)
    with pytest.raises(Conflict, match="proved"):
        roll_back(book, repo, "p1", MOMENT, "")


def test_a_branch_that_somebody_else_moved_is_left_alone(book, repo):
    applied(book, repo, "p1")
    live = repo.head()
    other = repo.commit(shipped_files(), live.commit, "by hand\n\nPatch-Id: none\n", MOMENT)
    book.record(
        "applying",
        add_judged_patch(book, "p2", DECIDED_AT)["id"],
        DECIDED_AT,
        commit=other[:-4] + "0000",
        parent=before(repo, live.commit),
    )
    with pytest.raises(Conflict, match="somebody else moved the live branch"):
        finish_step(book, repo, DECIDED_AT)
    assert repo.head() == live
    assert finish_step(book, repo, DECIDED_AT) is None  # given up, so that the turns after this one go on
    assert (book.get("p2")["state"], book.get("p2")["live"]) == ("proved", False)


def test_a_patch_is_applied_to_the_version_that_it_was_measured_against_or_not_at_all(book, repo):
    measured = repo.head()
    applied(book, repo, "p1")
    live = repo.head()
    with pytest.raises(Conflict):
        apply_patch(book, repo, add_judged_patch(book, "p2", DECIDED_AT), patched_files("p2"), measured, DECIDED_AT)
    assert (repo.head(), book.live_ids()) == (live, ["p1"])


def test_a_step_that_is_ended_later_is_dated_by_when_it_was_ended(book, repo):
    live = repo.head()
    commit = repo.commit(patched_files("p1"), live.commit, "A patch\n\nPatch-Id: p1\n", MOMENT)
    book.record("applying", add_judged_patch(book, "p1", MOMENT)["id"], MOMENT, commit=commit, parent=live.commit)
    assert finish_step(book, repo, DECIDED_AT) == "p1"
    assert book.get("p1")["applied_at"] == book.last_applied_at() == DECIDED_AT


def test_a_rollback_that_was_given_up_leaves_the_patch_live_and_can_be_had_again(book, repo):
    shipped = repo.head()
    applied(book, repo, "p1")
    first = applied(book, repo, "p2")
    revert = {"revert": "0" * 40, "onto": shipped.commit, "with": ["p2"]}
    book.record("rolling_back", "p1", DECIDED_AT, reason="it lost", **revert)
    with pytest.raises(Conflict):
        finish_step(book, repo, DECIDED_AT)
    assert repo.head().commit == first
    assert [(patch["state"], patch["live"]) for patch in book.patches().values()] == [("applied", True)] * 2
    assert roll_back(book, repo, "p1", DECIDED_AT, "it lost") == ["p1", "p2"]
    assert repo.head().files == shipped.files


def kill_at_work(folder, book, chance):
    """Kill a worker that applies and rolls back, a few entries of the log after its first one."""
    command = [sys.executable, "-m", "tests.kernel.worker", str(folder)]
    before, more = len(book.entries()), chance.randint(1, 6)
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, start_new_session=True) as worker:
        try:
            # By what it did and not by the clock: a loaded machine does nothing in a tenth of a second.
            while len(book.entries()) < before + more:
                assert worker.poll() is None
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
        finally:
            os.killpg(worker.pid, signal.SIGKILL)


def test_a_hundred_kills_leave_the_policy_as_before_or_as_after_and_the_next_run_ends_the_job(
    tmp_path, kills, book, repo
):
    shipped, chance, unfinished, tries = repo.head().files, random.Random(0), 0, 0
    while tries < kills or unfinished < kills / 5:
        assert tries < 10 * kills, f"{unfinished} of {tries} kills fell into a step"
        kill_at_work(tmp_path, book, chance)
        tries += 1
        live = repo.head()
        assert live.files == (patched_files(live.patch_id) if live.patch_id else shipped)
        unfinished += book.unfinished_step() is not None
        finish_step(book, repo, DECIDED_AT)
        live = repo.head()
        assert [name for name, patch in book.patches().items() if patch["live"]] == (
            [live.patch_id] if live.patch_id else []
        )
        assert book.unfinished_step() is None
    moves = sum(step in ("applied", "rolled_back") for step, _ in book.entries())
    print(json.dumps({"kills": tries, "in the middle of a step": unfinished, "steps": moves}))
