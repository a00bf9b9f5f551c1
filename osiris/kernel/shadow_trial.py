"""The shadow trial: after it was better on earlier days, a patch must be better on days that its author could not see.

A trial begins when the patch has been measured. At its end, both policies are asked about the ideas of the days since
then, which are settled on paper. The patch goes live if it is better there beyond chance. There is only one look, at
the end, so the whole trial uses up its significance level once.

Trials that share days share `kernel.trial_alpha`. Half of it is for submitted patches and half for patches that the
kernel drafted. Within each half, the k-th trial that runs has the share 1 / (k (k + 1)). A trial lasts
`kernel.trial_days`, or longer if its test needs more weeks for its level.

Another patch may go live during a trial. The patch is then applied to the new live policy, proved again and compared
with that. If the file that it changes was changed meanwhile, the patch is refused, since it was built on another file.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from osiris.core.errors import TooLittleData
from osiris.core.types import Row
from osiris.evaluation.stats import DAYS_PER_WEEK, alpha_for_look, min_blocks
from osiris.kernel.compare import Measurement
from osiris.kernel.live import LivePolicy
from osiris.kernel.measure import Look, measure_candidate
from osiris.kernel.patch import Patch
from osiris.kernel.patch_log import PatchEntry, PatchLog
from osiris.kernel.prove import PROVED, REFUSED, prove_diff
from osiris.kernel.repo import PolicyVersion
from osiris.kernel.state import Kernel
from osiris.sandbox.policies import CandidatePolicy
from osiris.sandbox.session import CandidateFailed

ON_TRIAL, NOT_BETTER = "on trial", "not better"
MAX_TRIAL_LENGTHS = 4
"""A trial with too few ideas for a verdict is extended, to at most this many times its length."""


class TrialDecision(NamedTuple):
    """The result of a trial: facts for the patch log, and the policy's files if the patch is to go live."""

    facts: Row
    files: dict[str, str]


def plan_trial(kernel: Kernel, patch: Patch, measured: Measurement) -> Row:
    """The facts that put a patch on trial, starting now."""
    rules = kernel.settings.kernel
    drafted = kernel.patch_log.drafted_ids()
    is_drafted = patch.id in drafted
    number = 1 + sum(
        (other in drafted) == is_drafted for other in patches_on_trial(kernel.patch_log) if other != patch.id
    )
    alpha = alpha_for_look(number, rules.trial_alpha / 2)
    weeks = measured.block_weeks * min_blocks(alpha) + 1  # one more, since the first and last are partial
    until = kernel.as_of + max(timedelta(days=rules.trial_days), timedelta(weeks=weeks))
    reason = f"on trial until {until:%Y-%m-%d}; before: {measured.summary}"
    trial = {"began": kernel.as_of, "until": until, "trial_look": number, "trial_level": alpha}
    return trial | {"verdict": ON_TRIAL, "reason": reason, "before": patch.before, "after": patch.after}


def patches_on_trial(patch_log: PatchLog) -> dict[str, PatchEntry]:
    """The patches on trial, by id, in the order of their first verdicts.

    If a turn was killed between winning a trial and applying the patch, the patch is still on trial: another policy may
    be live by now than the one that it won against.
    """
    return {
        patch_id: patch
        for patch_id, patch in patch_log.patches().items()
        if "until" in patch and patch["state"] in (ON_TRIAL, PROVED)
    }


def next_due_trial(kernel: Kernel) -> PatchEntry | None:
    """The patch whose trial ended first, of those that have ended; `None` if none has."""
    ended = [patch for patch in patches_on_trial(kernel.patch_log).values() if patch["until"] <= kernel.as_of]
    return min(ended, key=lambda patch: patch["until"], default=None)


def decide_trial(kernel: Kernel, patch: PatchEntry, progress: Callable[[str], None]) -> TrialDecision:
    """The verdict of a trial that has ended, or its extension, which has the `verdict` `ON_TRIAL`."""
    live = kernel.repo.head()
    if patch["before"] != live.files[patch["target"]]:
        reason = f"after its trial: {patch['target']} was changed meanwhile, and what the patch was built on is gone"
        return TrialDecision({"verdict": REFUSED, "reason": reason}, {})
    files = live.files | {patch["target"]: patch["after"]}
    if patch["base"] != live.commit:
        proof = prove_diff(patch["diff"], live, kernel.repo, kernel.context.judge, kernel.settings.kernel, progress)
        if proof.verdict == REFUSED or proof.files != files:
            reason = proof.reason or "its diff makes another file than before"
            return TrialDecision({"verdict": REFUSED, "reason": f"on what is live after its trial: {reason}"}, {})
    progress("measuring the days of its trial")
    look = Look(patch["began"], patch["until"], patch["trial_look"], patch["trial_level"])
    try:
        measured = _measure_trial(kernel, live, files, look)
    except CandidateFailed as error:
        return TrialDecision({"verdict": NOT_BETTER, "reason": f"on its trial: {error}"}, {})
    except TooLittleData as error:
        return TrialDecision(_extend_trial(kernel, patch, str(error)), {})
    verdict = PROVED if measured.is_better else NOT_BETTER
    reason = f"on its trial: {measured.summary}"
    return TrialDecision(
        {"verdict": verdict, "reason": reason, "trial": measured.as_dict(), "base": live.commit}, files
    )


def _measure_trial(kernel: Kernel, live: PolicyVersion, files: dict[str, str], look: Look) -> Measurement:
    with CandidatePolicy(files) as candidate, LivePolicy(live, kernel.repo) as incumbent:
        return measure_candidate(candidate, incumbent, kernel.context, look)


def _extend_trial(kernel: Kernel, patch: PatchEntry, why: str) -> Row:
    days = kernel.settings.kernel.trial_days
    last: datetime = patch["began"] + MAX_TRIAL_LENGTHS * max(timedelta(days=days), timedelta(weeks=1))
    if patch["until"] >= last:
        return {"verdict": REFUSED, "reason": f"its trial found too little to judge it by: {why}"}
    until = max(patch["until"], kernel.as_of) + timedelta(days=max(DAYS_PER_WEEK, days // MAX_TRIAL_LENGTHS))
    return {"verdict": ON_TRIAL, "until": until, "reason": f"its trial was extended to {until:%Y-%m-%d}: {why}"}
