"""Files of the policy that somebody edited in place: never live, never mistaken for an upgrade, and said aloud."""

import os
import shutil
import subprocess
import sys

import pytest

from osiris import policy
from osiris.config.settings import PROJECT_ROOT
from osiris.core.errors import BadInput, WorkspaceError
from osiris.kernel.live import LivePolicies, LivePolicy
from osiris.kernel.patch import patch_from_diff
from osiris.kernel.repo import PolicyRepo, run_git
from osiris.policy import ShippedPolicy, edit_warning, edited_files, shipped_files
from osiris.serving.status import get_live_policy
from tests.builders import MOMENT, make_workspace
from tests.kernel.test_repo import SHIPPED_COMMIT_TIME, SHIPPED_MESSAGE, diff_of
from tests.sandbox.test_session import IDEA, needs_bubblewrap


@pytest.fixture
def repo(tmp_path):
    """A repository of an Osiris that shipped the half of the risk."""
    repo = PolicyRepo(tmp_path / "policy.git")
    files = shipped_files() | {"sizing.py": shipped_files()["sizing.py"].replace("RISK = 0.01", "RISK = 0.005")}
    repo.set_live(repo.commit(files, None, SHIPPED_MESSAGE, SHIPPED_COMMIT_TIME), repo.head().commit)
    return repo


@pytest.fixture
def edited(repo, monkeypatch):
    """What is shipped is another file than what stands there."""
    monkeypatch.setitem(policy.SHIPPED_SHA256, "sizing.py", "0" * 64)


def test_the_recorded_hashes_are_those_of_the_shipped_files():
    assert edited_files() == []
    assert edit_warning() == ""


def test_an_edit_is_named_with_what_to_do(edited):
    assert edited_files() == ["sizing.py"]
    assert "sizing.py; the policy is changed by patches: keep your change with `git diff > my.diff`" in edit_warning()


@needs_bubblewrap
def test_an_edit_is_not_run_and_what_was_live_still_is(repo, edited):
    policies = LivePolicies(repo)
    live = policies.current()
    assert isinstance(live, LivePolicy)
    assert live.size(IDEA) == 0.005
    policies.close()


def test_an_edit_is_no_upgrade(repo, edited):
    before = repo.head()
    repo.follow_upgrade()
    assert repo.head() == before


def test_without_an_edit_the_same_is_an_upgrade(repo):
    assert isinstance(LivePolicies(repo).current(), ShippedPolicy)
    repo.follow_upgrade()
    assert repo.head().files == shipped_files()


def test_no_repository_is_begun_with_an_edit(tmp_path, monkeypatch):
    monkeypatch.setitem(policy.SHIPPED_SHA256, "sizing.py", "0" * 64)
    with pytest.raises(WorkspaceError, match=r"other files: sizing\.py; the policy is changed by patches"):
        PolicyRepo(tmp_path / "new.git").head()
    assert not (tmp_path / "new.git").exists()


def test_the_diff_of_an_edit_is_a_patch_of_what_is_live(repo, edited):
    diff = diff_of("RISK = 0.01", "RISK = 0.02", folder="osiris/policy/").replace("RISK = 0.01", "RISK = 0.005")
    assert "RISK = 0.02" in patch_from_diff(diff, repo.head(), repo, "ann").after


def test_status_says_it(tmp_path, monkeypatch):
    ws = make_workspace(tmp_path, "", MOMENT)
    assert "policy_note" not in get_live_policy(ws)
    monkeypatch.setitem(policy.SHIPPED_SHA256, "gate.py", "0" * 64)
    assert "gate.py" in get_live_policy(ws)["policy_note"]
    ws.close()


def test_a_copy_of_the_live_policy_makes_diffs_that_apply(repo, tmp_path):
    copy = tmp_path / "mine"
    repo.copy_to(copy)
    (copy / "gate.py").write_text(repo.head().files["gate.py"].replace("MIN_CONFIDENCE = 0.0", "MIN_CONFIDENCE = 0.5"))
    diff = run_git(["-C", str(copy), "diff"]).stdout
    assert patch_from_diff(diff, repo.head(), repo, "ann").target == "gate.py"
    with pytest.raises(BadInput, match="new or empty folder"):
        repo.copy_to(copy)


RUN = "import sys; from osiris.cli import main; sys.argv = ['osiris', *sys.argv[1:]]; main()"


@needs_bubblewrap
def test_whoever_edits_a_checkout_is_told_and_drafts_with_what_was_live(tmp_path):
    (tmp_path / "ws").mkdir()
    checkout, ws = tmp_path / "checkout", make_workspace(tmp_path / "ws", "", MOMENT)
    ws.policy_repo.head()
    ws.close()
    shutil.copytree(PROJECT_ROOT / "osiris", checkout / "osiris", ignore=shutil.ignore_patterns("__pycache__"))
    sizing = checkout / "osiris" / "policy" / "sizing.py"
    sizing.write_text(sizing.read_text().replace("RISK = 0.01", "RISK = 0.02"))
    diff = tmp_path / "my.diff"
    diff.write_text(diff_of("RISK = 0.01", "RISK = 0.02", folder="osiris/policy/"))
    ran = subprocess.run(
        [sys.executable, "-c", RUN, "kernel", "submit", str(diff), "-w", str(ws.folder)],
        env=os.environ | {"PYTHONPATH": str(checkout)}, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert "edited in place and therefore not live" in ran.stderr
    assert "In the queue" in ran.stdout
    assert "RISK = 0.01" in PolicyRepo(ws.folder / "data" / "policy.git").head().files["sizing.py"]
