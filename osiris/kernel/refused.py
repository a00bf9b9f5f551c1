"""What a live patch refused, on paper: would it have paid, and would the policy under the patch have done better?

Every idea is settled, also those that the gate kept from the reviewers. At the end of each block of whole weeks since
the patch went live, its trades on paper are compared with the ideas that it refused, and with what the policy under it
lets through of the same ideas, as a patch is measured. Either that is better beyond chance takes the patch back. The
n-th look has level / 2 / (n (n + 1)) for each comparison, so that all looks together err with at most `kernel.level`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd

from osiris.core.errors import TooLittleData
from osiris.core.ideas import FINAL, parse_reply
from osiris.drafting.draft_ideas import sketch, take_snapshots
from osiris.evaluation.block_stats import block_length, least_blocks
from osiris.evaluation.looks import level_of
from osiris.kernel.judgement import Offered, compared, weeks_of
from osiris.kernel.measure import Look
from osiris.kernel.patch_log import Entry
from osiris.kernel.repo import Version
from osiris.kernel.state import Kernel
from osiris.policy import Shipped, shipped_files
from osiris.policy.contracts import Policy
from osiris.sandbox.policies import SandboxedPolicy
from osiris.sandbox.session import CandidateFailed, PolicyFailed
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import one_of, quoted, sql_time

NAMES = [
    "ticker", "as_of", "prompt", "reply", "hermes_score", "status", "size", "r_multiple", "closed_at", "novelty",
    "decision_latency_ms",
]  # fmt: skip


class Due(NamedTuple):
    """The ideas of a look that is due, those up to its last whole block, and the look."""

    ideas: pd.DataFrame
    look: Look


def look_at_refused(kernel: Kernel, patch: Entry, notes: list[str]) -> str | None:
    """Why a live patch is to go, by what it refused; `None` while nothing speaks against it or no look is due."""
    due = _due(kernel, patch)
    if due is None:
        return None
    passed = due.ideas[due.ideas["passed"]]
    refused = due.ideas[~due.ideas["passed"]]
    reason = _better(kernel, refused, passed, due, "what it refused would have paid more than what it let through")
    try:
        under = _under(kernel, patch, due.ideas)
        reason = reason or _better(kernel, under, passed, due, "the policy under it would have done better")
    except PolicyFailed as error:
        notes.append(f"patch {patch['id']}: the policy under it could not be asked: {error}")
    kernel.book.note("observed", patch["id"], kernel.as_of, look=due.look.number, until=due.look.end, found=reason)
    return reason


def settled_ideas(advice: AdviceStore, patch_id: str, as_of: datetime) -> pd.DataFrame:
    """Every idea of a patch that has its outcome at `as_of`, as `compared` takes trades, dated by its draft.

    `passed` says whether it went to the reviewers. One that lacks a number has no say.
    """
    where = f"patch_id = '{quoted(patch_id)}' AND {one_of('outcome', FINAL)} AND closed_at <= {sql_time(as_of)}"
    found = advice.frame(where, NAMES)
    numbers = found[["size", "r_multiple", "novelty", "decision_latency_ms"]].astype(float)
    at, closed = (pd.to_datetime(found[name], utc=True) for name in ("as_of", "closed_at"))
    found = found.assign(
        **numbers, at=at, latency_ms=numbers["decision_latency_ms"], passed=found["status"].ne("gated"),
        pnl=numbers["size"] * numbers["r_multiple"], days_open=(closed - at) / timedelta(days=1),
    )  # fmt: skip
    return found[np.isfinite(numbers.to_numpy(np.float64)).all(axis=1)]


def _due(kernel: Kernel, patch: Entry) -> Due | None:
    ideas = settled_ideas(kernel.past.advice, patch["id"], kernel.as_of)
    if len(ideas) < kernel.settings.rewards.min_trades:
        return None
    length = timedelta(weeks=block_length(ideas["days_open"].to_numpy(np.float64)))
    blocks = (kernel.as_of - patch["applied_at"]) // length
    before = kernel.book.observed(patch["id"])
    number = 1 + len(before)
    level = level_of(number, kernel.settings.kernel.level / 2)
    end = patch["applied_at"] + blocks * length
    if blocks < least_blocks(level) or (before and end < before[-1]["until"] + length):
        return None
    return Due(ideas[ideas["at"] <= end], Look(patch["applied_at"], end, number, level))


def _better(kernel: Kernel, other: pd.DataFrame, passed: pd.DataFrame, due: Due, words: str) -> str | None:
    taken = [trades[trades["size"] > 0] for trades in (other, passed)]
    offered = Offered(weeks_of([due.look.start, due.look.end]), len(due.ideas))
    try:
        measured = compared(taken[0], taken[1], offered, kernel.settings, due.look)
    except (TooLittleData, CandidateFailed):  # too few of them to say anything
        return None
    return f"{words}: {measured.words}" if measured.better else None


def _under(kernel: Kernel, patch: Entry, ideas: pd.DataFrame) -> pd.DataFrame:
    """The ideas that the policy under a patch lets through, at its sizes.

    Those whose prompt it would not have shown are left out: its own would have had other replies.
    """
    policy, close = _opened(kernel.repo.version(patch["parent"]))
    try:
        moments = [moment.to_pydatetime() for moment in ideas["at"].drop_duplicates()]
        shots = take_snapshots(kernel.past.prices, policy, sorted(set(ideas["ticker"])), moments, []) if moments else []
        shown = {shot.prompt: shot for shot in shots}
        asked = ideas[ideas["prompt"].isin(shown.keys())]
        sizes = []
        for row in asked.itertuples():
            score = None if pd.isna(row.hermes_score) else float(row.hermes_score)
            idea = sketch(shown[row.prompt], parse_reply(row.reply, row.ticker), score)
            sizes.append(policy.size(idea) if policy.passes(idea) else 0.0)
    finally:
        close()
    sized = asked.assign(size=np.array(sizes, np.float64))
    return sized.assign(pnl=sized["size"] * sized["r_multiple"])


def _opened(version: Version) -> tuple[Policy, Callable[[], None]]:
    if version.files == shipped_files():
        return Shipped(version.commit, version.patch_id), lambda: None
    policy = SandboxedPolicy(version.files, version.commit, version.patch_id)
    return policy, policy.close
