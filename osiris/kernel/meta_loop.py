"""One turn of the kernel: finish what was begun, roll back what lost, then prove, measure and apply one patch.

A patch that has its verdict leaves the queue; one that cannot be judged yet goes to its end. The book is written before
anything is told on Redis, and what Redis has not heard is told by the next turn.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from osiris.errors import BadInput, SourceUnavailable, TooLittleData
from osiris.files import one_at_a_time
from osiris.kernel.apply import apply_patch, finish, roll_back
from osiris.kernel.book import PatchBook
from osiris.kernel.draft import draft_patch
from osiris.kernel.live import Candidate, policy_of
from osiris.kernel.measure import Measurement, Past, measure
from osiris.kernel.patch import Patch, Refused, read_patch
from osiris.kernel.prove import PROVED, REFUSED, Proof, prove
from osiris.kernel.repo import PolicyRepo, Version
from osiris.kernel.sandbox import CandidateFailed
from osiris.loop.rewards import live_trades, reward_of, settled_trades
from osiris.records import trace_of
from osiris.settings import Settings
from osiris.store.patches import PatchLists

APPLIED, NOT_BETTER, NOT_YET = "applied", "not better", "not yet"


class Kernel(NamedTuple):
    """What a turn works with."""

    repo: PolicyRepo
    book: PatchBook
    lists: PatchLists
    past: Past

    @property
    def settings(self) -> Settings:
        """The workspace's settings."""
        return self.past.settings

    @property
    def as_of(self) -> datetime:
        """The moment of the turn."""
        return self.past.as_of


@dataclass
class TurnReport:
    """What a turn did; `verdict` is that of `patch`, empty when there was none to judge."""

    policy: str
    patch: str | None = None
    verdict: str = ""
    reason: str = ""
    applied: str | None = None
    rolled_back: list[str] = field(default_factory=list)
    waiting: int = 0
    notes: list[str] = field(default_factory=list)


def turn(kernel: Kernel, progress: Callable[[str], None] = lambda _: None) -> TurnReport:
    """Run one turn; raises `Busy` while another one is under way, `NoSandbox` without bubblewrap."""
    with one_at_a_time(kernel.settings.data / "kernel.lock", "turn of the kernel"):
        report = TurnReport(kernel.repo.head().commit)
        finish(kernel.book, kernel.repo)
        progress("observing the live patches")
        observe(kernel, report)
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
        try:
            reward = reward_of(seen, kernel.settings.rewards)
        except (TooLittleData, BadInput) as error:
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


def looks_before(book: PatchBook, settings: Settings, as_of: datetime) -> int:
    """How many patches were measured on much the same days: half of the window is shared, or more."""
    since = as_of - timedelta(days=settings.kernel.measure_days / 2)
    return sum(
        step == "judged" and bool(facts.get("measured")) and facts["at"] >= since for step, facts in book.entries()
    )


def _judge_next(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> None:
    last, pause = kernel.book.last_applied(), timedelta(hours=kernel.settings.kernel.min_hours_between)
    if last is not None and kernel.as_of < last + pause:
        report.notes.append(f"the next patch may go live at {(last + pause).isoformat()}")
        return
    patch, item = _next_patch(kernel, report, progress)
    report.waiting = kernel.lists.waiting()
    if patch is None:
        return
    facts, files = _judged(kernel, patch, progress)
    report.patch, report.verdict, report.reason = patch.id, facts["verdict"], facts["reason"]
    if facts["verdict"] == NOT_YET:
        if item is not None:
            kernel.lists.put_back(item)
        return
    kernel.book.note("judged", patch.id, kernel.as_of, **facts)
    if facts["verdict"] == PROVED:
        progress("applying")
        report.applied = apply_patch(
            kernel.book, kernel.repo, {"id": patch.id, **facts}, files, kernel.repo.head(), kernel.as_of
        )
        report.verdict = APPLIED
    if item is not None:
        kernel.lists.drop(item)
        report.waiting = kernel.lists.waiting()


def _next_patch(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> tuple[Patch | None, str | None]:
    """The first patch of the queue that has no verdict yet, with its item; else one that is drafted now."""
    key, known = kernel.settings.kernel.key.get_secret_value(), kernel.book.patches()
    while (item := kernel.lists.first()) is not None:
        try:
            patch = read_patch(item, key)
        except Refused as error:
            kernel.lists.bury(item, str(error), kernel.as_of)
            report.notes.append(f"a dead letter: {error}")
            continue
        if patch.id not in known or known[patch.id]["state"] == PROVED:  # killed after its proof, before it was applied
            return patch, item
        report.notes.append(f"patch {patch.id} was {known[patch.id]['state']} before")
        kernel.lists.drop(item)
    progress("drafting a patch")
    return draft_patch(kernel.repo, kernel.book, kernel.past, kernel.lists, report.notes), None


def _judged(kernel: Kernel, patch: Patch, progress: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts of a patch with its verdict, and the policy's files as it leaves them."""
    live = kernel.repo.head()
    proof = prove(patch.diff, live, kernel.repo, kernel.past.judge, kernel.settings.kernel, progress)
    facts = patch.model_dump(include={"target", "by", "diff"}) | {
        "base": live.commit, "checks": proof.as_dict()["checks"], "hermes": proof.hermes,
    }  # fmt: skip
    if proof.verdict == REFUSED:
        return facts | {"verdict": REFUSED, "reason": proof.reason}, proof.files
    if (patch.before, patch.after) != (live.files[patch.target], proof.files[patch.target]):
        return facts | {"verdict": REFUSED, "reason": "stale: drafted against another version of the file"}, proof.files
    progress("measuring")
    try:
        measured = _measured(kernel, live, proof)
    except CandidateFailed as error:
        return facts | {"verdict": REFUSED, "reason": f"measuring: {error}"}, proof.files
    except TooLittleData as error:
        return facts | {"verdict": NOT_YET, "reason": str(error)}, proof.files
    verdict = PROVED if measured.better else NOT_BETTER
    reason = (
        f"reward {measured.difference:+.4f} [{measured.low:+.4f}, {measured.high:+.4f}], p = {measured.p_value:.4f}, "
        f"level {measured.level:.4f} (look {measured.look})"
    )
    return facts | {"verdict": verdict, "reason": reason, "measured": measured.as_dict()}, proof.files


def _measured(kernel: Kernel, live: Version, proof: Proof) -> Measurement:
    look = looks_before(kernel.book, kernel.settings, kernel.as_of) + 1
    with Candidate(proof.files) as candidate, policy_of(live) as incumbent:
        return measure(candidate, incumbent, kernel.past, look)
