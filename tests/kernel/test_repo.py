"""The policy's own repository: whole or not at all, whoever's configuration is about."""

import difflib

import pytest

from osiris.core.errors import Conflict
from osiris.kernel.live import LivePolicies
from osiris.kernel.repo import SHIPPED_COMMIT_TIME, SHIPPED_MESSAGE, PatchDoesNotApply, PolicyRepo
from osiris.policy import ShippedPolicy, shipped_files

MESSAGE = "A patch\n\nPatch-Id: abc\n"


@pytest.fixture
def repo(tmp_path):
    return PolicyRepo(tmp_path / "data" / "policy.git")


def diff_of(old, new, name="sizing.py", folder=""):
    before = shipped_files()[name]
    assert old in before
    lines = difflib.unified_diff(
        before.splitlines(True), before.replace(old, new).splitlines(True), f"a/{folder}{name}", f"b/{folder}{name}"
    )
    return "".join(lines)


GOOD = diff_of("RISK = 0.01", "RISK = 0.005")


def test_a_new_repository_has_the_shipped_policy_and_the_same_commit_everywhere(repo, tmp_path):
    head = repo.head()
    assert (head.files, head.patch_id) == (shipped_files(), None)
    assert PolicyRepo(tmp_path / "other.git").head().commit == head.commit


@pytest.fixture
def older(repo):
    """A repository that an Osiris made which shipped another policy."""
    files = shipped_files() | {"sizing.py": shipped_files()["sizing.py"].replace("RISK = 0.01", "RISK = 0.02")}
    repo.set_live(repo.commit(files, None, SHIPPED_MESSAGE, SHIPPED_COMMIT_TIME), repo.head().commit)
    return repo


def test_an_upgrade_brings_its_policy_where_no_patch_is_live(older):
    was = older.head()
    policy = LivePolicies(older).current()
    assert isinstance(policy, ShippedPolicy)  # also before the kernel had a turn
    assert older.version(policy.commit).files == shipped_files()
    older.follow_upgrade()
    assert older.head().files == shipped_files() != was.files
    assert older._git("rev-parse", f"{older.head().commit}^").strip() == was.commit
    again = older.head()
    older.follow_upgrade()
    assert older.head() == again


def test_an_upgrade_leaves_a_live_patch_alone(older):
    live = older.head()
    patched = older.commit(live.files, live.commit, MESSAGE, SHIPPED_COMMIT_TIME)
    older.set_live(patched, live.commit)
    older.follow_upgrade()
    assert older.head().commit == patched


@pytest.mark.parametrize("folder", ["", "osiris/policy/"])
def test_a_diff_is_applied_to_the_whole_or_nothing_is(repo, folder):
    patched = repo.apply_diff(repo.head().commit, diff_of("RISK = 0.01", "RISK = 0.005", folder=folder))
    assert patched == shipped_files() | {
        "sizing.py": shipped_files()["sizing.py"].replace("RISK = 0.01", "RISK = 0.005")
    }
    assert repo.head().files == shipped_files()


@pytest.mark.parametrize(
    "diff",
    [
        "", "words", GOOD.replace("0.01", "0.02"), GOOD.replace("sizing.py", "../../sizing.py"),
        GOOD + GOOD.replace("sizing.py", "gate.py"),
        "diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+/etc/passwd\n",
        "diff --git a/x.pth b/x.pth\nnew file mode 100644\n--- /dev/null\n+++ b/x.pth\n@@ -0,0 +1 @@\n+import os\n",
        "diff --git a/gate.py b/gate.py\nold mode 100644\nnew mode 100755\n",
        "diff --git a/gate.py b/rate.py\nsimilarity index 100%\nrename from gate.py\nrename to rate.py\n",
    ],
)  # fmt: skip
def test_a_diff_that_leaves_anything_else_does_not_apply(repo, diff):
    with pytest.raises(PatchDoesNotApply):
        repo.apply_diff(repo.head().commit, diff)
    assert repo.head().files == shipped_files()


def test_going_live_is_a_compare_and_set(repo):
    shipped = repo.head()
    first = repo.commit(repo.apply_diff(shipped.commit, GOOD), shipped.commit, MESSAGE, SHIPPED_COMMIT_TIME)
    assert repo.head() == shipped
    repo.set_live(first, shipped.commit)
    assert (repo.head().commit, repo.head().patch_id) == (first, "abc")
    with pytest.raises(Conflict):
        repo.set_live(first, shipped.commit)


def test_a_lock_that_a_killed_process_left_is_no_obstacle(repo):
    shipped = repo.head()
    commit = repo.commit(repo.apply_diff(shipped.commit, GOOD), shipped.commit, MESSAGE, SHIPPED_COMMIT_TIME)
    (repo.folder / "refs/heads/live.lock").write_text("")
    repo.set_live(commit, shipped.commit)
    assert repo.head().commit == commit


def test_hooks_and_configuration_of_the_caller_have_no_say(repo, tmp_path, monkeypatch):
    (tmp_path / "hooks").mkdir()
    for name in ("reference-transaction", "post-commit"):
        (tmp_path / "hooks" / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        (tmp_path / "hooks" / name).chmod(0o755)
    (tmp_path / "config").write_text(f"[core]\nhooksPath = {tmp_path}/hooks\n[user]\nname = Mallory\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    shipped = repo.head()
    repo.set_live(repo.commit(shipped.files, shipped.commit, MESSAGE, SHIPPED_COMMIT_TIME), shipped.commit)
    assert not (tmp_path / "ran").exists()
