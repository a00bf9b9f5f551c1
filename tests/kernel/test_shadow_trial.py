"""The trial of a patch on days after it: what the book has of it, and a turn that is killed anywhere."""

from datetime import timedelta

import pytest

from osiris.core.errors import Conflict
from osiris.evaluation.rewards import Reward
from osiris.kernel.apply import apply_patch
from osiris.kernel.compare import Measurement
from osiris.kernel.meta_loop import run_turn
from osiris.kernel.patch_log import PatchLog
from osiris.kernel.shadow_trial import decide_trial, next_due_trial, patches_on_trial, plan_trial
from osiris.kernel.trial import require_undecided
from tests.builders import DECIDED_AT, MOMENT, make_workspace
from tests.kernel.market import gate_patch
from tests.kernel.worker import add_judged_patch, patched_files
from tests.sandbox.test_session import needs_bubblewrap

RULES = """
[prices]
source = "local"
[kernel]
drafter = "none"
min_hermes = 0
symbolic_seconds = 0.3
"""
ZERO = Reward(0.0, 0.0, 0.0, 0.0, 0.0, 0)
MEASURED = Measurement(
    ZERO, ZERO, difference=0.1, gain=0.1, low=0.05, high=0.2, p_value=0.001, level=0.0125, least=0.02, look=1, weeks=52,
    blocks=26, block_weeks=2, first=MOMENT, last=MOMENT,
)  # fmt: skip
QUARTER = timedelta(days=91)


@pytest.fixture
def ws(tmp_path):
    ws = make_workspace(tmp_path, RULES, MOMENT)
    yield ws
    ws.close()


def put_on_trial(ws, patch):
    """As a turn does that has measured it."""
    facts = patch.model_dump(include={"target", "by", "diff"}) | {
        "base": ws.policy_repo.head().commit, "checks": [], "hermes": 7, "measured": MEASURED.as_dict(),
    }  # fmt: skip
    ws.patch_log.record("judged", patch.id, ws.now, **facts, **plan_trial(ws.kernel(), patch, MEASURED))


def test_it_lasts_its_days_or_as_long_as_its_level_needs_and_those_at_once_share_the_level(ws):
    for number, change in enumerate(("0.1", "0.2", "0.3")):
        put_on_trial(ws, gate_patch(ws.policy_repo.head(), ("MIN_CONFIDENCE = 0.0", f"MIN_CONFIDENCE = {change}")))
        assert len(patches_on_trial(ws.patch_log)) == number + 1
    first, second, third = patches_on_trial(ws.patch_log).values()
    assert [patch["trial_level"] for patch in (first, second, third)] == pytest.approx([0.0125, 0.025 / 6, 0.025 / 12])
    assert first["until"] == MOMENT + timedelta(weeks=2 * 7 + 1)
    assert second["until"] == MOMENT + timedelta(weeks=2 * 8 + 1)
    assert all(patch["state"] == "on trial" and not patch["live"] for patch in (first, second, third))


def test_it_is_not_judged_anew_meanwhile(ws):
    patch = gate_patch(ws.policy_repo.head())
    put_on_trial(ws, patch)
    with pytest.raises(Conflict, match="which is on trial"):
        require_undecided(ws.patch_log, patch)
    report = run_turn(ws.kernel())
    assert (report.patch, report.applied) == (None, None)
    assert any(f"patch {patch.id} is on trial until 2005-" in note for note in report.notes)


def test_none_is_decided_before_its_end(ws):
    put_on_trial(ws, gate_patch(ws.policy_repo.head()))
    until = next(iter(patches_on_trial(ws.patch_log).values()))["until"]
    ws.clock.set(until - timedelta(seconds=1))
    assert next_due_trial(ws.kernel()) is None
    ws.clock.set(until)
    assert next_due_trial(ws.kernel())["until"] == until


def test_what_it_was_built_on_may_be_gone(ws):
    patch = gate_patch(ws.policy_repo.head())
    put_on_trial(ws, patch)
    live = ws.policy_repo.head()
    apply_patch(
        ws.patch_log,
        ws.policy_repo,
        add_judged_patch(ws.patch_log, "other", DECIDED_AT),
        patched_files("other"),
        live,
        DECIDED_AT,
    )
    ws.clock.set(DECIDED_AT + 2 * QUARTER)
    report = run_turn(ws.kernel())
    assert (report.patch, report.verdict, report.applied) == (patch.id, "refused", None)
    assert "gate.py was changed meanwhile" in report.reason
    require_undecided(ws.patch_log, patch)  # it may be submitted again


@needs_bubblewrap
def test_one_that_finds_nothing_to_be_judged_by_is_extended_and_in_the_end_refused(ws):
    patch, verdicts = gate_patch(ws.policy_repo.head()), []
    put_on_trial(ws, patch)
    while len(verdicts) < 30 and (not verdicts or verdicts[-1] == "on trial"):
        ws.clock.set(patches_on_trial(ws.patch_log)[patch.id]["until"])
        verdicts.append(run_turn(ws.kernel()).verdict)
    assert verdicts[-1] == "refused"
    assert 5 < len(verdicts) < 20
    assert "too little to judge it by" in ws.patch_log.get(patch.id)["reason"]


@needs_bubblewrap
def test_a_turn_that_is_killed_after_the_verdict_leaves_it_to_the_next(ws):
    patch = gate_patch(ws.policy_repo.head())
    put_on_trial(ws, patch)
    ws.patch_log.record("decided", patch.id, MOMENT, verdict="proved", reason="on its trial: better")
    ws.clock.set(DECIDED_AT + 2 * QUARTER)
    assert list(patches_on_trial(PatchLog(ws.settings.data / "patches.jsonl"))) == [patch.id]
    assert next_due_trial(ws.kernel())["id"] == patch.id
    facts, _ = decide_trial(ws.kernel(), next_due_trial(ws.kernel()), lambda _: None)
    assert facts["verdict"] == "on trial"  # decided anew: there are no bars here to be judged by


def test_one_that_was_applied_and_rolled_back_is_not_on_trial(ws):
    patch = gate_patch(ws.policy_repo.head())
    put_on_trial(ws, patch)
    live = ws.policy_repo.head()
    ws.patch_log.record("decided", patch.id, DECIDED_AT, verdict="proved", reason="better")
    apply_patch(ws.patch_log, ws.policy_repo, ws.patch_log.get(patch.id), patched_files("p"), live, DECIDED_AT)
    assert patches_on_trial(ws.patch_log) == {}
    ws.patch_log.record("decided", patch.id, DECIDED_AT, verdict="not better", reason="")
    assert patches_on_trial(ws.patch_log) == {}
