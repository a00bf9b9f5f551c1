"""Which patch is next, and what a turn does where a patch cannot be judged, or a number is missing."""

import shutil
from datetime import timedelta

import pytest

from osiris.core.errors import Busy, Conflict
from osiris.core.files import exclusive_lock
from osiris.kernel.apply import apply_patch
from osiris.kernel.history import list_patches
from osiris.kernel.meta_loop import roll_back_manually, run_turn
from osiris.kernel.patch_log import PatchLog
from osiris.kernel.trial import overlapping_looks, require_undecided
from osiris.policy import ShippedPolicy, shipped_files
from osiris.storage.patches import PatchLists
from tests.builders import (
    DECIDED_AT,
    MOMENT,
    decision,
    decision_changes,
    ideas,
    make_settings,
    make_workspace,
    outcome_table,
    with_changes,
)
from tests.kernel.market import gate_patch, queue_patch
from tests.kernel.test_repo import diff_of
from tests.kernel.worker import add_judged_patch, patched_files
from tests.sandbox.test_session import needs_bubblewrap

RULES = '[prices]\nsource = "local"\n[rewards]\nmin_trades = 20\n[kernel]\nmin_hermes = 0\nsymbolic_seconds = 0.3\n'
BEFORE_THE_CLOSE = MOMENT - timedelta(hours=2)


@pytest.fixture
def workspace_of(tmp_path):
    """Makes a workspace with these kernel settings and no bars, between two closes."""
    opened = []

    def make(extra='drafter = "none"\n', head=""):
        opened.append(make_workspace(tmp_path, f"{head}{RULES}{extra}", BEFORE_THE_CLOSE))
        return opened[-1]

    yield make
    for ws in opened:
        ws.close()


@needs_bubblewrap
class TestAPatchThatCannotBeJudgedYet:
    def test_waits_in_its_place_until_the_past_is_another_and_others_are_judged_meanwhile(self, workspace_of):
        ws = workspace_of()
        patch = queue_patch(ws, gate_patch(ws.policy_repo.head()).diff)
        first = run_turn(ws.kernel())
        assert (first.patch, first.verdict, first.waiting) == (patch.id, "not yet", 1)
        bad = queue_patch(ws, diff_of("RISK = 0.01", "RISK = 1.01"))
        second = run_turn(ws.kernel())
        assert (second.patch, second.verdict, second.waiting) == (bad.id, "refused", 1)
        third = run_turn(ws.kernel())
        assert (third.patch, third.waiting) == (None, 1)
        assert any("1 in the queue: what they are measured on is as it was" in note for note in third.notes)
        ws.advice.add(ideas(1))
        fourth = run_turn(ws.kernel())
        assert (fourth.patch, fourth.verdict) == (patch.id, "not yet")
        assert [(row["patch"], row["state"]) for row in list_patches(ws.patch_log)] == [
            (bad.id, "refused"), (patch.id, "not yet"),
        ]  # fmt: skip

    def test_may_be_asked_for_again_when_it_was_refused_but_not_when_it_was_measured(self, workspace_of):
        ws = workspace_of()
        bad = queue_patch(ws, diff_of("RISK = 0.01", "RISK = 1.01"))
        assert run_turn(ws.kernel()).verdict == "refused"
        require_undecided(ws.patch_log, bad)
        queue_patch(ws, bad.diff)
        assert run_turn(ws.kernel()).patch == bad.id
        add_judged_patch(ws.patch_log, bad.id, ws.now)
        ws.patch_log.record(
            "judged", bad.id, ws.now, verdict="not better", target="sizing.py", by="ann", reason="", diff=""
        )
        with pytest.raises(Conflict, match="a patch without a verdict"):
            require_undecided(ws.patch_log, bad)
        queue_patch(ws, bad.diff)
        report = run_turn(ws.kernel())
        assert (report.patch, report.waiting) == (None, 0)

    def test_nothing_is_drafted_while_it_waits(self, workspace_of):
        ws = workspace_of(extra="")
        first = run_turn(ws.kernel())
        assert first.verdict == "not yet"
        assert ws.patch_log.drafted_ids() == {first.patch}
        assert run_turn(ws.kernel()).patch is None
        assert ws.patch_log.drafted_ids() == {first.patch}


def test_own_drafts_and_peoples_patches_are_counted_apart(tmp_path):
    book, settings = PatchLog(tmp_path / "patches.jsonl"), make_settings(tmp_path)
    for number, name in enumerate(("own1", "ann1", "own2", "old")):
        if name.startswith("own"):
            book.record("drafted", name, MOMENT)
        at = MOMENT - timedelta(days=200) if name == "old" else MOMENT + timedelta(hours=number)
        add_judged_patch(book, name, at)
    book.record("judged", "refused", MOMENT, verdict="refused", target="gate.py", by="ann", reason="", diff="")
    own, people = (overlapping_looks(book, settings, DECIDED_AT, is_drafted=own) for own in (True, False))
    assert (own, people) == ({"own1", "own2"}, {"ann1"})


@needs_bubblewrap
def test_the_kernels_own_drafts_are_measured_at_most_once_in_their_time(workspace_of):
    ws = workspace_of(extra="")
    ws.patch_log.record("drafted", "own", ws.now)
    add_judged_patch(ws.patch_log, "own", ws.now - timedelta(hours=1))
    report = run_turn(ws.kernel())
    assert (report.patch, PatchLists(ws.events).queue_length()) == (None, 0)
    assert report.notes == [f"the next patch is drafted at {(ws.now + timedelta(hours=167)).isoformat()}"]


def live_patch(ws, name="p1"):
    """A patch that went live without being judged."""
    live = ws.policy_repo.head()
    apply_patch(
        ws.patch_log, ws.policy_repo, add_judged_patch(ws.patch_log, name, ws.now), patched_files(name), live, ws.now
    )


def lost_trades(ws, count, **lacking):
    """Accepted ideas of `p1` that lost little, the last of them with columns that lack a number."""
    rows = ideas(count - 1, patch_id="p1", size=0.001) + ideas(1, patch_id="p1", size=0.001, ticker="IBM", **lacking)
    ws.advice.add(rows)
    for row in rows:
        ws.advice.decide(decision(row, key=row["id"]), with_changes(decision_changes()))
    ending = {
        "exit_reason": "stop",
        "close_price": 97.0,
        "closed_at": DECIDED_AT,
        "ambiguous": False,
        "open_reason": None,
    }
    lost = {"outcome": "loss", "shadow": False, "event_id": None, "r_multiple": -1.0}
    ws.advice.settle(outcome_table(*({"id": row["id"], **lost, **ending} for row in rows)))
    ws.clock.set(DECIDED_AT)


def test_a_trade_that_lacks_a_number_does_not_keep_a_losing_patch_live(workspace_of):
    ws = workspace_of()
    live_patch(ws)
    lost_trades(ws, 21, novelty=None)
    report = run_turn(ws.kernel())
    assert report.rolled_back == ["p1"]
    assert "patch p1: 1 of 21 trades lack a number and have no say" in report.notes
    assert isinstance(ws.policy, ShippedPolicy)


def test_fewer_trades_than_the_rule_asks_for_are_no_verdict(workspace_of):
    ws = workspace_of()
    live_patch(ws)
    lost_trades(ws, 20, decision_latency_ms=None)
    report = run_turn(ws.kernel())
    assert report.rolled_back == []
    assert any("patch p1 has no live reward yet: expected 20 settled trades; got 19" in note for note in report.notes)


def test_a_rollback_does_not_wait_for_a_model(workspace_of):
    ws = workspace_of(head='[model]\nbase = "nowhere/none"\njudge = "nowhere/none"\n')
    live_patch(ws)
    ws.policy_repo.record_failure(ws.policy_repo.head().commit, "ZeroDivisionError")
    assert run_turn(ws.kernel()).rolled_back == ["p1"]


class TestABranchThatSomebodyMovedByHand:
    def test_to_a_commit_of_a_patch_that_was_rolled_back_is_not_what_is_run(self, workspace_of):
        ws = workspace_of()
        live_patch(ws)
        patched = ws.policy_repo.head()
        roll_back_manually(ws.kernel(), "p1", "it lost")
        ws.policy_repo.set_live(patched.commit, ws.policy_repo.head().commit)
        report = run_turn(ws.kernel())
        assert "somebody moved the live branch" in report.notes[0]
        assert isinstance(ws.policy, ShippedPolicy)
        assert not any("moved" in note for note in run_turn(ws.kernel()).notes)

    @pytest.mark.parametrize("message", ["A patch\n\nPatch-Id: p1\n", "by hand\n"])
    def test_away_from_a_live_patch_takes_all_patches_off(self, workspace_of, message):
        ws = workspace_of()
        live_patch(ws)
        live_patch(ws, "p2")
        live = ws.policy_repo.head()
        ws.policy_repo.set_live(ws.policy_repo.commit(patched_files("p3"), live.commit, message, ws.now), live.commit)
        report = run_turn(ws.kernel())
        assert report.rolled_back == ["p1", "p2"]
        assert ws.patch_log.live_ids() == []
        assert ws.policy_repo.head().files == shipped_files()

    def test_with_a_repository_that_lacks_what_was_live_is_set_right(self, workspace_of, tmp_path):
        ws = workspace_of()
        ws.policy_repo.head()
        shutil.copytree(ws.policy_repo.folder, tmp_path / "backup.git")
        live_patch(ws)
        shutil.rmtree(ws.policy_repo.folder)
        (tmp_path / "backup.git").rename(ws.policy_repo.folder)
        assert run_turn(ws.kernel()).rolled_back == ["p1"]
        assert isinstance(ws.policy, ShippedPolicy)


def test_what_is_live_is_looked_after_while_another_turn_judges(workspace_of):
    ws = workspace_of()
    live_patch(ws)
    live_patch(ws, "p2")
    with exclusive_lock(ws.settings.data / "kernel.turn.lock", "turn"):
        ws.policy_repo.record_failure(ws.policy_repo.head().commit, "ZeroDivisionError")
        with pytest.raises(Busy, match="the only turn of the kernel"):
            run_turn(ws.kernel())
        assert ws.patch_log.live_ids() == ["p1"]
        assert roll_back_manually(ws.kernel(), "p1", "by hand")["rolled back"] == ["p1"]


@needs_bubblewrap
def test_a_judge_that_cannot_be_had_leaves_the_patch_in_the_queue(workspace_of):
    ws = workspace_of(head='[model]\ntemperature = 0\n[llm]\nbackend = "openai"\nurl = "http://127.0.0.1:9/v1"\n')
    queue_patch(ws, gate_patch(ws.policy_repo.head()).diff)
    report = run_turn(ws.kernel())
    assert (report.patch, report.waiting) == (None, 1)
    assert "no patch was judged to the end" in report.notes[-1]
