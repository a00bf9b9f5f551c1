"""The ideas that a live patch refused: would they have earned more, or would the previous policy have done better?

Every idea is settled on paper, even if the risk filter refused it. At the end of each block of whole weeks since the
patch went live, the ideas that it passed are compared with two alternatives, as a patch is measured:

- the ideas that it refused
- the same ideas as the previous policy, under the patch, would have passed and sized them

If either alternative is better beyond chance, the patch is rolled back. The n-th look has level / 2 / (n (n + 1)) for
each comparison, so all looks together err with at most `kernel.alpha`.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from osiris.core.errors import TooLittleData, WorkspaceError
from osiris.core.ideas import FINAL_OUTCOMES, parse_reply
from osiris.core.run_log import collect_warnings
from osiris.drafting.drafted_idea import to_policy_input
from osiris.drafting.snapshots import take_snapshots
from osiris.evaluation.stats import alpha_for_look, block_length, min_blocks
from osiris.kernel.compare import OfferedIdeas, compare_policies, week_starts
from osiris.kernel.measure import Look
from osiris.kernel.patch_log import PatchEntry
from osiris.kernel.repo import PolicyVersion
from osiris.kernel.state import Kernel
from osiris.policy import ShippedPolicy, shipped_files
from osiris.policy.contracts import Policy
from osiris.sandbox.policies import SandboxedPolicy
from osiris.sandbox.session import CandidateFailed, PolicyFailed
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import escape_sql, sql_in, sql_time

log = logging.getLogger(__name__)

SETTLED_IDEA_COLUMNS = [
    "ticker", "as_of", "prompt_id", "reply", "hermes_score", "status", "size", "r_multiple", "closed_at", "novelty",
    "decision_latency_ms",
]  # fmt: skip


class DueLook(NamedTuple):
    """A look that is due, and its ideas: those up to the end of the last whole block."""

    ideas: pd.DataFrame
    look: Look


def compare_refused_ideas(kernel: Kernel, patch: PatchEntry) -> str | None:
    """Why a live patch is to be rolled back for what it refused; `None` if there is no reason, or no look is due."""
    due = _find_due_look(kernel, patch)
    if due is None:
        return None
    passed = due.ideas[due.ideas["passed"]]
    refused = due.ideas[~due.ideas["passed"]]
    reason = _reason_if_better(
        kernel, refused, passed, due, "what it refused would have paid more than what it let through"
    )
    try:
        previous = _ideas_of_previous_policy(kernel, patch, due.ideas)
        reason = reason or _reason_if_better(
            kernel, previous, passed, due, "the policy under it would have done better"
        )
    except PolicyFailed as error:
        log.warning("patch %s: the policy under it could not be asked: %s", patch["id"], error)
    kernel.patch_log.record(
        "observed", patch["id"], kernel.as_of, look=due.look.number, until=due.look.end, found=reason
    )
    return reason


def load_settled_ideas(advice: AdviceStore, patch_id: str, as_of: datetime) -> pd.DataFrame:
    """Every idea of a patch that was settled by `as_of`, dated by its draft, with the columns of `compare_policies`.

    `passed` says whether it went to the reviewers. Ideas that lack a number are left out.
    """
    settled = f"{sql_in('outcome', FINAL_OUTCOMES)} AND closed_at <= {sql_time(as_of)}"
    found = advice.frame(f"patch_id = '{escape_sql(patch_id)}' AND {settled}", SETTLED_IDEA_COLUMNS)
    numeric = found[["size", "r_multiple", "novelty", "decision_latency_ms"]].astype(float)
    at, closed = (pd.to_datetime(found[name], utc=True) for name in ("as_of", "closed_at"))
    found = found.assign(
        **numeric, at=at, latency_ms=numeric["decision_latency_ms"], passed=found["status"].ne("gated"),
        pnl=numeric["size"] * numeric["r_multiple"], days_open=(closed - at) / timedelta(days=1),
    )  # fmt: skip
    return found[np.isfinite(numeric.to_numpy(np.float64)).all(axis=1)]


def _find_due_look(kernel: Kernel, patch: PatchEntry) -> DueLook | None:
    ideas = load_settled_ideas(kernel.context.advice, patch["id"], kernel.as_of)
    if len(ideas) < kernel.settings.rewards.min_trades:
        return None
    length = timedelta(weeks=block_length(ideas["days_open"].to_numpy(np.float64)))
    blocks = (kernel.as_of - patch["applied_at"]) // length
    earlier = kernel.patch_log.observations(patch["id"])
    number = 1 + len(earlier)
    alpha = alpha_for_look(number, kernel.settings.kernel.alpha / 2)
    end = patch["applied_at"] + blocks * length
    if blocks < min_blocks(alpha) or (earlier and end < earlier[-1]["until"] + length):
        return None
    return DueLook(ideas[ideas["at"] <= end], Look(patch["applied_at"], end, number, alpha))


def _reason_if_better(
    kernel: Kernel, other: pd.DataFrame, passed: pd.DataFrame, due: DueLook, claim: str
) -> str | None:
    traded = [trades[trades["size"] > 0] for trades in (other, passed)]
    offered = OfferedIdeas(week_starts([due.look.start, due.look.end]), len(due.ideas))
    try:
        measured = compare_policies(traded[0], traded[1], offered, kernel.settings, due.look)
    except (TooLittleData, CandidateFailed):  # too few ideas to say anything
        return None
    return f"{claim}: {measured.summary}" if measured.is_better else None


def _ideas_of_previous_policy(kernel: Kernel, patch: PatchEntry, ideas: pd.DataFrame) -> pd.DataFrame:
    """The given ideas with the sizes of the policy under a patch; 0 for an idea that it does not pass.

    Ideas whose prompt it would not have shown are left out, since its own prompt would have had other replies.
    """
    policy, close = _open_policy(kernel.repo.version(patch["parent"]))
    try:
        moments = [moment.to_pydatetime() for moment in ideas["at"].drop_duplicates()]
        tickers = sorted(set(ideas["ticker"]))
        with collect_warnings():  # what lacks prices was said when ideas were drafted at those moments
            snapshots = take_snapshots(kernel.context.snapshot_source, policy, tickers, moments) if moments else []
        snapshot_by_id = {shot.prompt_id: shot for shot in snapshots}
        matching = ideas[ideas["prompt_id"].isin(snapshot_by_id.keys())]
        sizes = []
        columns = matching[["prompt_id", "reply", "ticker", "hermes_score"]]
        for prompt, text, ticker, hermes_score in columns.itertuples(index=False, name=None):
            score = None if pd.isna(hermes_score) else float(hermes_score)
            reply = parse_reply(text, ticker)
            if reply is None:
                raise WorkspaceError(
                    "stored replies that can be read", repr(text)[:80], "restore the ideas from a backup"
                )
            idea = to_policy_input(snapshot_by_id[prompt], reply, score)
            sizes.append(policy.size(idea) if policy.passes(idea) else 0.0)
    finally:
        close()
    sized = matching.assign(size=np.array(sizes, np.float64))
    return sized.assign(pnl=sized["size"] * sized["r_multiple"])


def _open_policy(version: PolicyVersion) -> tuple[Policy, Callable[[], None]]:
    if version.files == shipped_files():
        return ShippedPolicy(version.commit, version.patch_id), lambda: None
    policy = SandboxedPolicy(version.files, version.commit, version.patch_id)
    return policy, policy.close
