"""One turn of the kernel: finish what was begun, roll back what lost, then decide a trial or judge one more patch.

A patch that is better on the days before it goes on trial, and live if it is better on the days after it. One that has
its verdict leaves the queue. One that cannot be judged yet stays, and is looked at again when something has changed
that it is measured on. The book is written before anything is told on Redis, and what Redis has not heard is told by
the next turn.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from osiris.core.errors import Conflict, SourceUnavailable, WorkspaceError
from osiris.core.files import one_at_a_time
from osiris.core.ideas import trace_of
from osiris.evaluation.rewards import settled_trades
from osiris.kernel.apply import apply_patch, finish, roll_back, start_over
from osiris.kernel.observe import made, observe
from osiris.kernel.patch_log import Entry
from osiris.kernel.prove import PROVED
from osiris.kernel.shadow import decided, due, on_trial
from osiris.kernel.state import Kernel, TurnReport
from osiris.kernel.trial import NOT_YET, judged, next_patch
from osiris.policy import edit_note
from osiris.sandbox.session import PolicyFailed

APPLIED = "applied"


def turn(kernel: Kernel, progress: Callable[[str], None] = lambda _: None) -> TurnReport:
    """Run one turn; raises `Busy` while another one judges a patch, `NoSandbox` without bubblewrap.

    What is live is looked after first, whoever else judges.
    """
    report = TurnReport(kernel.repo.head().commit, notes=[note] if (note := edit_note()) else [])
    progress("observing the live patches")
    with kernel.step():
        _end_what_was_begun(kernel, report.notes)
        report.rolled_back += _set_right(kernel, report.notes)
        observe(kernel, report)
        kernel.repo.catch_up()
        tell(kernel, report.notes)
    with one_at_a_time(kernel.settings.data / "kernel.turn.lock", "turn of the kernel"):
        try:
            _judge_next(kernel, report, progress)
        except (SourceUnavailable, Conflict, PolicyFailed) as error:
            report.notes.append(f"no patch was judged to the end: {error}")
        with kernel.step():
            tell(kernel, report.notes)
    report.policy = kernel.repo.head().commit
    return report


def _end_what_was_begun(kernel: Kernel, notes: list[str]) -> None:
    try:
        finish(kernel.book, kernel.repo, kernel.as_of)
    except Conflict as error:
        notes.append(f"a step was given up: {error}")


def _set_right(kernel: Kernel, notes: list[str]) -> list[str]:
    """Where the live branch is not what the book made of it, make the shipped policy live: the rest nobody proved."""
    head, live = kernel.repo.head(), kernel.book.live()
    try:
        made = kernel.repo.version(kernel.book.get(live[-1])["commit"]).files if live else head.files
    except WorkspaceError as error:  # a repository from a backup may lack it
        made = {}
        notes.append(str(error))
    if (head.patch_id, head.files) == (live[-1] if live else None, made):
        return []
    notes.append(f"somebody moved the live branch to {head.commit[:12]}; the shipped policy is live now")
    return start_over(kernel.book, kernel.repo, kernel.as_of, "the live branch was moved by hand")


def roll_back_by_hand(kernel: Kernel, patch_id: str, reason: str) -> dict[str, Any]:
    """Roll a live patch back because a person says so; raises `NotFound`, `Conflict`."""
    with kernel.step():
        notes: list[str] = []
        _end_what_was_begun(kernel, notes)
        cost = made(kernel.past.advice, patch_id)
        gone = roll_back(kernel.book, kernel.repo, patch_id, kernel.as_of, reason, cost=cost)
        kernel.repo.catch_up()
        tell(kernel, notes)
        return {"rolled back": gone, "policy": kernel.repo.head().commit, "notes": notes}


def tell(kernel: Kernel, notes: list[str]) -> None:
    """Tell Redis of the steps that it has not heard of; one that is away hears of them at the next turn."""
    try:
        for patch in kernel.book.patches().values():
            if "applied_at" in patch and patch["commit"] not in patch["told"]:
                public = ("id", "target", "by", "commit", "applied_at", "hermes", "diff")
                kernel.lists.tell_applied({name: patch.get(name) for name in public})
                kernel.book.note("told", patch["id"], kernel.as_of, what=patch["commit"])
            if "rolled_back_at" in patch and f"-{patch['commit']}" not in patch["told"]:
                traces = [trace_of(trade) for trade in settled_trades(kernel.past.advice, patch["id"])]
                public = ("id", "target", "by", "commit", "applied_at", "rolled_back_at", "reason", "cost")
                kernel.lists.tell_rolled_back({name: patch.get(name) for name in public}, traces)
                kernel.book.note("told", patch["id"], kernel.as_of, what=f"-{patch['commit']}")
    except SourceUnavailable as error:
        notes.append(f"Redis has not heard of it yet: {error}")


def _judge_next(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> None:
    report.waiting = kernel.lists.waiting()
    last, pause = kernel.book.last_applied(), timedelta(hours=kernel.settings.kernel.min_hours_between)
    early = last is not None and kernel.as_of < last + pause
    if early:
        report.notes.append(f"the next patch may go live at {(last + pause).isoformat()}")
    elif (patch := due(kernel)) is not None:
        _decide(kernel, report, patch, progress)
        return
    for patch_id, patch in on_trial(kernel.book).items():
        report.notes.append(f"patch {patch_id} is on trial until {patch['until'].isoformat()}")
    if early and not kernel.settings.kernel.trial_days:
        return
    patch, item = next_patch(kernel, report, progress)
    report.waiting = kernel.lists.waiting()
    if patch is None:
        return
    facts, files = judged(kernel, patch, progress)
    step = "postponed" if facts["verdict"] == NOT_YET else "judged"
    _conclude(kernel, report, step, {"id": patch.id, **facts}, files)
    if facts["verdict"] != NOT_YET:
        kernel.lists.drop(item)
        report.waiting -= 1


def _decide(kernel: Kernel, report: TurnReport, patch: Entry, progress: Callable[[str], None]) -> None:
    """End a trial: apply the patch or refuse it. Who was rolled back or decided meanwhile is left alone."""
    facts, files = decided(kernel, patch, progress)
    known = {name: patch[name] for name in ("target", "by", "diff", "hermes")}
    entry = {"id": patch["id"], **known, **facts, "measured": facts.get("trial", patch["measured"])}
    if patch["id"] in on_trial(kernel.book):
        _conclude(kernel, report, "decided", entry, files)


def _conclude(kernel: Kernel, report: TurnReport, step: str, entry: Entry, files: dict[str, str]) -> None:
    """Write a verdict, and apply a patch that won."""
    report.patch, report.verdict, report.reason = entry["id"], entry["verdict"], entry["reason"]
    kept = ("id", *(("measured",) if step == "decided" else ()))  # the book has what was measured before the trial
    with kernel.step():
        kernel.book.note(step, entry["id"], kernel.as_of, **{k: v for k, v in entry.items() if k not in kept})
        if entry["verdict"] == PROVED:
            # What it was measured against; who made something else live since has the last word.
            base = kernel.repo.version(entry["base"])
            report.applied = apply_patch(kernel.book, kernel.repo, entry, files, base, kernel.as_of)
            report.verdict = APPLIED
