"""One turn of the kernel: finish what was begun, roll back what lost, then prove, measure and apply one patch.

A patch that has its verdict leaves the queue. One that cannot be judged yet stays, and is looked at again when a
session has closed: before that nothing has changed that it is measured on. The book is written before anything is
told on Redis, and what Redis has not heard is told by the next turn.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from osiris.errors import Conflict, SourceUnavailable, TooLittleData
from osiris.files import one_at_a_time
from osiris.kernel.apply import apply_patch, finish, roll_back
from osiris.kernel.prove import PROVED
from osiris.kernel.state import Kernel, TurnReport
from osiris.kernel.trial import NOT_YET, judged, next_patch
from osiris.loop.rewards import COLUMNS, live_trades, reward_of, settled_trades
from osiris.records import trace_of

APPLIED = "applied"


def turn(kernel: Kernel, progress: Callable[[str], None] = lambda _: None) -> TurnReport:
    """Run one turn; raises `Busy` while another one is under way, `NoSandbox` without bubblewrap."""
    with one_at_a_time(kernel.settings.data / "kernel.lock", "turn of the kernel"):
        report = TurnReport(kernel.repo.head().commit)
        try:
            finish(kernel.book, kernel.repo)
        except Conflict as error:
            report.notes.append(f"a step was given up: {error}")
        progress("observing the live patches")
        observe(kernel, report)
        kernel.repo.catch_up()
        tell(kernel, report.notes)
        try:
            _judge_next(kernel, report, progress)
        except SourceUnavailable as error:
            report.notes.append(f"no patch was judged to the end: {error}")
        tell(kernel, report.notes)
        report.policy = kernel.repo.head().commit
        return report


def observe(kernel: Kernel, report: TurnReport) -> None:
    """Roll back a live patch that failed to answer, or whose reward over the observation window is negative."""
    head, failed = kernel.repo.head(), kernel.repo.failure()
    if failed and failed["commit"] == head.commit and head.patch_id:
        why = f"it failed: {failed['error']}"
        report.rolled_back += roll_back(kernel.book, kernel.repo, head.patch_id, kernel.as_of, why)
        return
    since = kernel.as_of - timedelta(days=kernel.settings.kernel.observe_days)
    live = [patch for patch in kernel.book.patches().values() if patch["live"]]
    for patch in sorted(live, key=lambda one: one["applied_at"], reverse=True):
        trades = live_trades(kernel.past.advice, patch["id"])
        seen = trades[(trades["at"] > since) & (trades["at"] <= kernel.as_of)]
        whole = seen.dropna(subset=COLUMNS)
        if lacking := len(seen) - len(whole):
            report.notes.append(f"patch {patch['id']}: {lacking} of {len(seen)} trades lack a number and have no say")
        try:
            reward = reward_of(whole, kernel.settings.rewards)
        except TooLittleData as error:
            report.notes.append(f"patch {patch['id']} has no live reward yet: {error}")
            continue
        if reward.total < 0:
            why = f"live reward {reward.total:+.4f} over {reward.trades} trades"
            report.rolled_back += roll_back(
                kernel.book,
                kernel.repo,
                patch["id"],
                kernel.as_of,
                why,
                live_reward=reward.as_dict(),
                cost=float(trades["pnl"].sum()),
            )
            return  # what was applied later went with it, and what came before is observed as it is then


def roll_back_by_hand(kernel: Kernel, patch_id: str, reason: str) -> dict[str, Any]:
    """Roll a live patch back because a person says so; raises `NotFound`, `Conflict`, and `Busy` during a turn."""
    with one_at_a_time(kernel.settings.data / "kernel.lock", "turn of the kernel"):
        finish(kernel.book, kernel.repo)
        trades, notes = live_trades(kernel.past.advice, patch_id), []
        cost = float(trades["pnl"].sum()) if len(trades) else None
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
    if last is not None and kernel.as_of < last + pause:
        report.notes.append(f"the next patch may go live at {(last + pause).isoformat()}")
        return
    patch, item = next_patch(kernel, report, progress)
    report.waiting = kernel.lists.waiting()
    if patch is None:
        return
    facts, files = judged(kernel, patch, progress)
    report.patch, report.verdict, report.reason = patch.id, facts["verdict"], facts["reason"]
    if facts["verdict"] == NOT_YET:
        kernel.book.note("postponed", patch.id, kernel.as_of, reason=facts["reason"])
        return
    kernel.book.note("judged", patch.id, kernel.as_of, **facts)
    if facts["verdict"] == PROVED:
        progress("applying")
        report.applied = apply_patch(
            kernel.book, kernel.repo, {"id": patch.id, **facts}, files, kernel.repo.head(), kernel.as_of
        )
        report.verdict = APPLIED
    kernel.lists.drop(item)
    report.waiting -= 1
