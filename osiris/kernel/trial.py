"""The first verdict on a patch: which is next, whether it can be proved, and whether it was better on earlier days."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from osiris.config.settings import Settings
from osiris.core.errors import Conflict, TooLittleData
from osiris.core.ideas import stable_hash
from osiris.kernel.compare import Measurement
from osiris.kernel.draft import draft_patch
from osiris.kernel.live import LivePolicy
from osiris.kernel.measure import first_look, measure_candidate
from osiris.kernel.patch import Patch, parse_patch
from osiris.kernel.patch_log import PatchLog
from osiris.kernel.prove import PROVED, REFUSED, Proof, prove_diff
from osiris.kernel.repo import PolicyVersion
from osiris.kernel.shadow_trial import NOT_BETTER, plan_trial
from osiris.kernel.state import Kernel, TurnReport
from osiris.sandbox.checkers import PatchRefused
from osiris.sandbox.policies import CandidatePolicy
from osiris.sandbox.session import CandidateFailed

NOT_YET = "not yet"
MAX_TURN_NOTES = 5
UNDECIDED_STATES = (None, REFUSED, NOT_YET, PROVED)
"""States in which a patch may be evaluated. A refused patch was not measured, and the reason for it may be gone."""


def may_be_evaluated(patch: dict[str, Any]) -> bool:
    """Whether a patch has no verdict of its own. A patch that was removed with an earlier one did not itself lose."""
    state = patch.get("state")
    return state in UNDECIDED_STATES or (state == "rolled_back" and bool(patch.get("built_on")))


def find_next_patch(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> tuple[Patch | None, str]:
    """The first patch of the queue that can be evaluated now, with its item; for an empty queue one is drafted."""
    key = kernel.settings.kernel.key.get_secret_value()
    known = kernel.patch_log.patches()
    position = 0  # of the next item: items before it wait for other data, and stay
    is_waiting = any(patch["state"] == NOT_YET for patch in known.values())
    fingerprint = data_fingerprint(kernel, kernel.repo.head().commit) if is_waiting else None
    while (item := kernel.lists.peek(position)) is not None:
        try:
            patch = parse_patch(item, key)
        except PatchRefused as error:
            kernel.lists.dead_letter(item, str(error), kernel.as_of)
            report.dead_letters += 1
            if report.dead_letters <= MAX_TURN_NOTES:
                report.notes.append(f"a dead letter (osiris kernel queue): {error}")
            continue
        before = known.get(patch.id, {})
        state = before.get("state")
        if state == NOT_YET and before["past"] == fingerprint:
            position += 1
        elif may_be_evaluated(before):
            return patch, item
        else:
            if len(report.notes) <= 4 * MAX_TURN_NOTES:
                report.notes.append(f"patch {patch.id} was {state} before")
            kernel.lists.remove(item)
    if position:
        report.notes.append(f"{position} in the queue: what they are measured on is as it was when it did not suffice")
        return None, ""
    return _draft_next_patch(kernel, report, progress)


def require_undecided(patch_log: PatchLog, patch: Patch) -> None:
    """Raise `Conflict` for a measured patch: it has its verdict, and measuring again would be fishing for another."""
    known = patch_log.patches().get(patch.id, {})
    state = known.get("state")
    if not may_be_evaluated(known):
        raise Conflict(
            "a patch without a verdict", f"{patch.id}, which is {state}", f"see: osiris kernel show {patch.id}"
        )


def data_fingerprint(kernel: Kernel, commit: str) -> str:
    """A hash of what patches of `commit` are measured on: the commit, the counts of bars, whether there are ideas."""
    settings, context = kernel.settings, kernel.context
    start = kernel.as_of - timedelta(days=settings.kernel.measure_days)
    bars = context.prices.get_many_bars(settings.advise.tickers, start, kernel.as_of, kernel.as_of)
    bar_counts = {ticker: len(found) for ticker, found in sorted(bars.items())}
    return stable_hash("past", commit, bar_counts, context.advice.count() > 0)


def _draft_next_patch(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> tuple[Patch | None, str]:
    """Draft a patch and put it in the queue, where the next turn finds it if this one is killed."""
    drafted, interval = kernel.patch_log.drafted_ids(), timedelta(hours=kernel.settings.kernel.draft_hours)
    measured = [
        facts["at"]
        for step, facts in kernel.patch_log.entries()
        if step == "judged" and facts["id"] in drafted and facts.get("measuring")
    ]
    if measured and kernel.as_of < measured[-1] + interval:
        report.notes.append(f"the next patch is drafted at {(measured[-1] + interval).isoformat()}")
        return None, ""
    progress("drafting a patch")
    patch = draft_patch(kernel.repo, kernel.patch_log, kernel.context, kernel.lists)
    if patch is None:
        return None, ""
    with kernel.lock():
        kernel.patch_log.record("drafted", patch.id, kernel.as_of)
    kernel.lists.push(patch.to_json())
    return patch, patch.to_json()


def evaluate_patch(
    kernel: Kernel, patch: Patch, progress: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts of a patch with its verdict, and the policy's files with the patch applied."""
    live = kernel.repo.head()
    proof = prove_diff(patch.diff, live, kernel.repo, kernel.context.judge, kernel.settings.kernel, progress)
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
        measured = _measure_patch(kernel, patch, live, proof)
    except CandidateFailed as error:
        return facts | {"verdict": REFUSED, "reason": f"measuring: {error}"}, proof.files
    except TooLittleData as error:
        return facts | {
            "verdict": NOT_YET,
            "reason": str(error),
            "past": data_fingerprint(kernel, live.commit),
        }, proof.files
    verdict = PROVED if measured.is_better else NOT_BETTER
    result = facts | {"verdict": verdict, "reason": measured.summary, "measured": measured.as_dict()}
    if verdict == PROVED and kernel.settings.kernel.trial_days:
        result |= plan_trial(kernel, patch, measured)
    return result, proof.files


def _measure_patch(kernel: Kernel, patch: Patch, live: PolicyVersion, proof: Proof) -> Measurement:
    is_drafted = patch.id in kernel.patch_log.drafted_ids()
    looks = overlapping_looks(kernel.patch_log, kernel.settings, kernel.as_of, is_drafted=is_drafted) - {patch.id}
    with CandidatePolicy(proof.files) as candidate, LivePolicy(live, kernel.repo) as incumbent:
        return measure_candidate(
            candidate, incumbent, kernel.context, first_look(kernel.settings, kernel.as_of, 1 + len(looks))
        )


def overlapping_looks(patch_log: PatchLog, settings: Settings, as_of: datetime, *, is_drafted: bool) -> set[str]:
    """The ids of patches whose measured days overlap with today's by half of the window or more.

    Drafted patches (`is_drafted`) and submitted ones are counted separately, so that drafts leave people their level.
    """
    since, drafted = as_of - timedelta(days=settings.kernel.measure_days / 2), patch_log.drafted_ids()
    return {
        facts["id"]
        for step, facts in patch_log.entries()
        if step == "judged"
        and facts.get("measured")
        and facts["at"] >= since
        and (facts["id"] in drafted) == is_drafted
    }
