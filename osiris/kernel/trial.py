"""The first verdict on a patch: which is next, whether it is proved, whether it was better on the days before it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from osiris.config.settings import Settings
from osiris.core.errors import Conflict, TooLittleData
from osiris.core.ideas import stable_hash
from osiris.kernel.draft import draft_patch
from osiris.kernel.judgement import Measurement
from osiris.kernel.live import LivePolicy
from osiris.kernel.measure import first_look, measure
from osiris.kernel.patch import Patch, read_patch
from osiris.kernel.patch_log import PatchBook
from osiris.kernel.prove import PROVED, REFUSED, Proof, prove
from osiris.kernel.repo import Version
from osiris.kernel.shadow import NOT_BETTER, trial_of
from osiris.kernel.state import Kernel, TurnReport
from osiris.sandbox.checkers import Refused
from osiris.sandbox.policies import Candidate
from osiris.sandbox.session import CandidateFailed

NOT_YET = "not yet"
MOST_NOTES = 5
OPEN = (None, REFUSED, NOT_YET, PROVED)
"""States in which a patch may be judged: what was refused was not measured, and what refused it may be over."""


def may_be_judged(patch: dict[str, Any]) -> bool:
    """Whether a patch has no verdict of its own: one that went with the patch under it was not the one that lost."""
    state = patch.get("state")
    return state in OPEN or (state == "rolled_back" and bool(patch.get("built_on")))


def next_patch(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> tuple[Patch | None, str]:
    """The first patch of the queue that can be judged now, with its item; an empty queue gets one that is drafted."""
    key, known, place = kernel.settings.kernel.key.get_secret_value(), kernel.book.patches(), 0
    waits = any(patch["state"] == NOT_YET for patch in known.values())
    mark = past_mark(kernel, kernel.repo.head().commit) if waits else None
    while (item := kernel.lists.at(place)) is not None:
        try:
            patch = read_patch(item, key)
        except Refused as error:
            kernel.lists.bury(item, str(error), kernel.as_of)
            report.dead_letters += 1
            if report.dead_letters <= MOST_NOTES:
                report.notes.append(f"a dead letter (osiris kernel queue): {error}")
            continue
        before = known.get(patch.id, {})
        state = before.get("state")
        if state == NOT_YET and before["past"] == mark:
            place += 1
        elif may_be_judged(before):
            return patch, item
        else:
            if len(report.notes) <= 4 * MOST_NOTES:
                report.notes.append(f"patch {patch.id} was {state} before")
            kernel.lists.drop(item)
    if place:
        report.notes.append(f"{place} in the queue: what they are measured on is as it was when it did not suffice")
        return None, ""
    return _own_patch(kernel, report, progress)


def refuse_if_final(book: PatchBook, patch: Patch) -> None:
    """Raise `Conflict` for a patch that was measured: it has its verdict, and asking again would be fishing."""
    known = book.patches().get(patch.id, {})
    state = known.get("state")
    if not may_be_judged(known):
        raise Conflict(
            "a patch without a verdict", f"{patch.id}, which is {state}", f"see: osiris kernel show {patch.id}"
        )


def past_mark(kernel: Kernel, commit: str) -> str:
    """Changes with what patches of `commit` are measured on: that, the bars, whether there are ideas at all."""
    rules, past = kernel.settings, kernel.past
    start = kernel.as_of - timedelta(days=rules.kernel.measure_days)
    bars = past.prices.bars_many(rules.advise.tickers, start, kernel.as_of, kernel.as_of)
    seen = {ticker: len(found) for ticker, found in sorted(bars.items())}
    return stable_hash("past", commit, seen, past.advice.count() > 0)


def _own_patch(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> tuple[Patch | None, str]:
    """A patch that is drafted now, by way of the queue, where a killed turn leaves it to the next."""
    drafted, pause = kernel.book.drafted(), timedelta(hours=kernel.settings.kernel.draft_hours)
    measured = [
        facts["at"]
        for step, facts in kernel.book.entries()
        if step == "judged" and facts["id"] in drafted and facts.get("measuring")
    ]
    if measured and kernel.as_of < measured[-1] + pause:
        report.notes.append(f"the next patch is drafted at {(measured[-1] + pause).isoformat()}")
        return None, ""
    progress("drafting a patch")
    patch = draft_patch(kernel.repo, kernel.book, kernel.past, kernel.lists, report.notes)
    if patch is None:
        return None, ""
    with kernel.step():
        kernel.book.note("drafted", patch.id, kernel.as_of)
    kernel.lists.push(patch.to_json())
    return patch, patch.to_json()


def judged(kernel: Kernel, patch: Patch, progress: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, str]]:
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
    facts["measuring"] = True
    try:
        measured = _measured(kernel, patch, live, proof)
    except CandidateFailed as error:
        return facts | {"verdict": REFUSED, "reason": f"measuring: {error}"}, proof.files
    except TooLittleData as error:
        return facts | {"verdict": NOT_YET, "reason": str(error), "past": past_mark(kernel, live.commit)}, proof.files
    verdict = PROVED if measured.better else NOT_BETTER
    found = facts | {"verdict": verdict, "reason": measured.words, "measured": measured.as_dict()}
    if verdict == PROVED and kernel.settings.kernel.trial_days:
        found |= trial_of(kernel, patch, measured)
    return found, proof.files


def _measured(kernel: Kernel, patch: Patch, live: Version, proof: Proof) -> Measurement:
    own = patch.id in kernel.book.drafted()
    looks = looks_before(kernel.book, kernel.settings, kernel.as_of, own=own) - {patch.id}
    with Candidate(proof.files) as candidate, LivePolicy(live, kernel.repo) as incumbent:
        return measure(candidate, incumbent, kernel.past, first_look(kernel.settings, kernel.as_of, 1 + len(looks)))


def looks_before(book: PatchBook, settings: Settings, as_of: datetime, *, own: bool) -> set[str]:
    """The patches that were measured on much the same days: half of the window is shared, or more.

    Those that nobody submitted (`own`) count by themselves, and so do people's.
    """
    since, drafted = as_of - timedelta(days=settings.kernel.measure_days / 2), book.drafted()
    return {
        facts["id"]
        for step, facts in book.entries()
        if step == "judged" and facts.get("measured") and facts["at"] >= since and (facts["id"] in drafted) == own
    }
