"""One turn of the kernel: finish an interrupted step, roll back what lost, then end a trial or evaluate one patch.

A patch that is better on the days before it goes on trial. It goes live if it is better on the days after it too. A
patch with a verdict leaves the queue. A patch that cannot be evaluated yet stays in the queue, until the data change
that it is measured on.

The patch log is written before anything is published on Redis. What could not be published is published by the next
turn.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from osiris.core.errors import Conflict, SourceUnavailable, WorkspaceError
from osiris.core.files import exclusive_lock
from osiris.core.ideas import to_trace
from osiris.core.run_log import collect_warnings
from osiris.evaluation.rewards import read_settled_trades
from osiris.kernel.apply import apply_patch, finish_step, restore_shipped_policy, roll_back
from osiris.kernel.observe import observe_patches, patch_profit
from osiris.kernel.patch_log import PatchEntry
from osiris.kernel.prove import PROVED
from osiris.kernel.shadow_trial import decide_trial, next_due_trial, patches_on_trial
from osiris.kernel.state import Kernel, TurnReport
from osiris.kernel.trial import NOT_YET, evaluate_patch, find_next_patch
from osiris.policy import edit_warning
from osiris.sandbox.session import PolicyFailed

log = logging.getLogger(__name__)

APPLIED_VERDICT = "applied"


def run_turn(kernel: Kernel, progress: Callable[[str], None] = lambda _: None) -> TurnReport:
    """Run one turn; raises `Busy` while another turn evaluates a patch, `SandboxUnavailable` without bubblewrap.

    The live patches are observed first, even while another turn evaluates a patch.
    """
    with collect_warnings() as notes:
        report = TurnReport(kernel.repo.head().commit, notes=notes)
        _run_turn(kernel, report, progress)
    log.info("patch %s: %s", report.patch, report.verdict)
    return report


def _run_turn(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> None:
    if note := edit_warning():
        log.warning(note)
    progress("observing the live patches")
    # `kernel.lock` protects the patch log and the live branch, and is held briefly. The lock of the turn, below, is
    # held while a patch is evaluated, which takes minutes. Code that needs both takes the turn's lock first.
    with kernel.lock():
        _finish_interrupted_step(kernel)
        report.rolled_back += _restore_live_branch(kernel)
        observe_patches(kernel, report)
        kernel.repo.follow_upgrade()
        publish_steps(kernel)
    with exclusive_lock(kernel.settings.data / "kernel.turn.lock", "turn of the kernel"):
        try:
            _evaluate_next_patch(kernel, report, progress)
        except (SourceUnavailable, Conflict, PolicyFailed) as error:
            log.warning("no patch was judged to the end: %s", error)
        with kernel.lock():
            publish_steps(kernel)
    report.policy = kernel.repo.head().commit


def _finish_interrupted_step(kernel: Kernel) -> None:
    try:
        finish_step(kernel.patch_log, kernel.repo, kernel.as_of)
    except Conflict as error:
        log.warning("a step was given up: %s", error)


def _restore_live_branch(kernel: Kernel) -> list[str]:
    """Make the shipped policy live if the live branch is not what the patch log says: nobody proved anything else."""
    head, live = kernel.repo.head(), kernel.patch_log.live_ids()
    try:
        expected_files = kernel.repo.version(kernel.patch_log.get(live[-1])["commit"]).files if live else head.files
    except WorkspaceError as error:  # a repository from a backup may lack the commit
        expected_files = {}
        log.warning(str(error))
    if (head.patch_id, head.files) == (live[-1] if live else None, expected_files):
        return []
    log.warning("somebody moved the live branch to %s; the shipped policy is live now", head.commit[:12])
    return restore_shipped_policy(kernel.patch_log, kernel.repo, kernel.as_of, "the live branch was moved by hand")


def roll_back_manually(kernel: Kernel, patch_id: str, reason: str) -> dict[str, Any]:
    """Roll back a live patch at a person's request; raises `NotFound`, `Conflict`."""
    with kernel.lock(), collect_warnings() as notes:
        _finish_interrupted_step(kernel)
        cost = patch_profit(kernel.context.advice, patch_id)
        rolled_back = roll_back(kernel.patch_log, kernel.repo, patch_id, kernel.as_of, reason, cost=cost)
        kernel.repo.follow_upgrade()
        publish_steps(kernel)
        return {"rolled back": rolled_back, "policy": kernel.repo.head().commit, "notes": notes}


def publish_steps(kernel: Kernel) -> None:
    """Publish on Redis the steps that it has not received; if Redis is unavailable, the next turn does it."""
    try:
        for patch in kernel.patch_log.patches().values():
            # `told` in the patch log holds the commit of each step that was published, with a minus for a rollback.
            if "applied_at" in patch and patch["commit"] not in patch["told"]:
                applied_keys = ("id", "target", "by", "commit", "applied_at", "hermes", "diff")
                kernel.lists.announce_applied({name: patch.get(name) for name in applied_keys})
                kernel.patch_log.record("told", patch["id"], kernel.as_of, what=patch["commit"])
            if "rolled_back_at" in patch and f"-{patch['commit']}" not in patch["told"]:
                traces = [to_trace(trade) for trade in read_settled_trades(kernel.context.advice, patch["id"])]
                rolled_back_keys = ("id", "target", "by", "commit", "applied_at", "rolled_back_at", "reason", "cost")
                kernel.lists.announce_rolled_back({name: patch.get(name) for name in rolled_back_keys}, traces)
                kernel.patch_log.record("told", patch["id"], kernel.as_of, what=f"-{patch['commit']}")
    except SourceUnavailable as error:
        log.warning("Redis has not heard of it yet: %s", error)


def _evaluate_next_patch(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> None:
    report.waiting = kernel.lists.queue_length()
    last_applied = kernel.patch_log.last_applied_at()
    pause = timedelta(hours=kernel.settings.kernel.min_hours_between)
    next_allowed = last_applied + pause if last_applied else kernel.as_of
    is_early = kernel.as_of < next_allowed
    if is_early:
        report.notes.append(f"the next patch may go live at {next_allowed.isoformat()}")
    elif (due := next_due_trial(kernel)) is not None:
        _end_trial(kernel, report, due, progress)
        return
    for patch_id, on_trial in patches_on_trial(kernel.patch_log).items():
        report.notes.append(f"patch {patch_id} is on trial until {on_trial['until'].isoformat()}")
    if is_early and not kernel.settings.kernel.trial_days:
        return
    patch, item = find_next_patch(kernel, report, progress)
    report.waiting = kernel.lists.queue_length()
    if patch is None:
        return
    facts, files = evaluate_patch(kernel, patch, progress)
    step = "postponed" if facts["verdict"] == NOT_YET else "judged"
    _record_verdict(kernel, report, step, {"id": patch.id, **facts}, files)
    if facts["verdict"] != NOT_YET:
        kernel.lists.remove(item)
        report.waiting -= 1


def _end_trial(kernel: Kernel, report: TurnReport, patch: PatchEntry, progress: Callable[[str], None]) -> None:
    """End a trial: apply the patch or refuse it. A patch that left its trial meanwhile gets no second verdict."""
    facts, files = decide_trial(kernel, patch, progress)
    known = {name: patch[name] for name in ("target", "by", "diff", "hermes")}
    entry = {"id": patch["id"], **known, **facts, "measured": facts.get("trial", patch["measured"])}
    if patch["id"] in patches_on_trial(kernel.patch_log):
        _record_verdict(kernel, report, "decided", entry, files)


def _record_verdict(kernel: Kernel, report: TurnReport, step: str, entry: PatchEntry, files: dict[str, str]) -> None:
    """Record a verdict, and apply a proved patch."""
    report.patch, report.verdict, report.reason = entry["id"], entry["verdict"], entry["reason"]
    left_out = ("id", *(("measured",) if step == "decided" else ()))  # the log keeps what was measured before the trial
    with kernel.lock():
        kernel.patch_log.record(
            step, entry["id"], kernel.as_of, **{k: v for k, v in entry.items() if k not in left_out}
        )
        if entry["verdict"] == PROVED:
            # The policy that it was measured against. If another one is live by now, applying raises `Conflict`.
            base = kernel.repo.version(entry["base"])
            report.applied = apply_patch(kernel.patch_log, kernel.repo, entry, files, base, kernel.as_of)
            report.verdict = APPLIED_VERDICT
