"""What a live patch does: it is rolled back when it fails, when it loses, or when what it keeps back is worth more.

Four rules, each by itself, over the time since the patch went live. Money: accepted trades that lost `kernel.max_loss`
of equity end it at once, whatever their number, and do not age out. Reward: negative over the trades of the last
`kernel.observe_days`, or over the last `rewards.min_trades` where those reach further back. Quiet: it lets too little
through for `kernel.quiet_days`. Refused: see `kernel.refused`.
"""

from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from osiris.config.sections import RewardsSettings
from osiris.config.settings import Settings
from osiris.core.errors import TooLittleData
from osiris.evaluation.rewards import MAX_WEEKLY_LOSS, TRADE_COLUMNS, compute_reward, read_live_trades
from osiris.kernel.apply import roll_back
from osiris.kernel.patch_log import PatchEntry
from osiris.kernel.refused_ideas import compare_refused_ideas
from osiris.kernel.state import Kernel, TurnReport
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import escape_sql, sql_time


class Finding(NamedTuple):
    """Why a patch is rolled back, with what goes into the book beside it."""

    reason: str
    facts: dict[str, Any]


def observe_patches(kernel: Kernel, report: TurnReport) -> None:
    """Roll back a live patch that failed to answer, or that one of the rules speaks against."""
    head, failed = kernel.repo.head(), kernel.repo.last_failure()
    if failed and failed["commit"] == head.commit and head.patch_id:
        _roll_back(kernel, report, head.patch_id, Finding(f"it failed: {failed['error']}", {}))
        return
    for patch_id in reversed(kernel.patch_log.live_ids()):
        finding = _find_rollback_reason(kernel, kernel.patch_log.get(patch_id), report.notes)
        if finding is not None:
            _roll_back(kernel, report, patch_id, finding)
            return  # what was applied later went with it, and what came before is observed as it is then


def patch_profit(advice: AdviceStore, patch_id: str) -> float | None:
    """What the accepted trades of a patch made, the sum in fractions of equity; none for no trades."""
    trades = read_live_trades(advice, patch_id)
    return float(trades["pnl"].sum()) if len(trades) else None


def check_pass_rate(advice: AdviceStore, patch: PatchEntry, settings: Settings, as_of: Any) -> tuple[str, bool]:
    """What is to be said of a live patch that lets too little through, empty for one that does not; whether it is over.

    Too little is less than half of what measuring asks of a patch, `rewards.min_trades` in `kernel.measure_days`, where
    that many were offered. It is said after half of `kernel.quiet_days`, and ends the patch after the whole.
    """
    rules, days = settings.kernel, min(settings.kernel.quiet_days, (as_of - patch["applied_at"]).days)
    since = max(patch["applied_at"], as_of - timedelta(days=days))
    where = f"patch_id = '{escape_sql(patch['id'])}' AND as_of > {sql_time(since)} AND as_of <= {sql_time(as_of)}"
    offered, passed = advice.count(where), advice.count(f"{where} AND status <> 'gated' AND size > 0")
    least = settings.rewards.min_trades * days / rules.measure_days / 2
    if offered < settings.rewards.min_trades or days < rules.quiet_days / 2 or passed >= least:
        return "", False
    warning = f"it let {passed} of {offered} ideas through in {days} days, at least {least:.1f} expected"
    return warning, days >= rules.quiet_days


def _find_rollback_reason(kernel: Kernel, patch: PatchEntry, notes: list[str]) -> Finding | None:
    settings, advice, patch_id = kernel.settings, kernel.context.advice, patch["id"]
    trades = read_live_trades(advice, patch_id)
    trades = trades[trades["at"] <= kernel.as_of]
    finding = _check_reward(trades, patch_id, kernel, notes)
    lost = _equity_lost(trades)
    if finding is None and lost > settings.kernel.max_loss:
        why = f"it lost {lost:.1%} of equity in {len(trades)} trades, {settings.kernel.max_loss:.1%} at most"
        finding = Finding(why, {})
    if finding is not None:
        return finding
    warning, is_over = check_pass_rate(advice, patch, settings, kernel.as_of)
    if is_over:
        return Finding(warning, {})
    if warning:
        notes.append(
            f"PATCH {patch_id} LETS TOO LITTLE THROUGH: {warning}; after {settings.kernel.quiet_days} days it goes"
        )
    reason = compare_refused_ideas(kernel, patch, notes)
    return Finding(reason, {}) if reason else None


def _equity_lost(trades: pd.DataFrame) -> float:
    """The part of equity that trades lost, one after the other; negative where they gained."""
    pnl = trades["pnl"].to_numpy(np.float64)
    return float(1 - np.prod(1 + np.maximum(pnl[np.isfinite(pnl)], -MAX_WEEKLY_LOSS)))


def _check_reward(trades: pd.DataFrame, patch_id: str, kernel: Kernel, notes: list[str]) -> Finding | None:
    recent = recent_trades(
        trades, kernel.settings.rewards, kernel.as_of - timedelta(days=kernel.settings.kernel.observe_days)
    )
    complete = recent[np.isfinite(recent[TRADE_COLUMNS].to_numpy(np.float64)).all(axis=1)]
    if incomplete_count := len(recent) - len(complete):
        notes.append(f"patch {patch_id}: {incomplete_count} of {len(recent)} trades lack a number and have no say")
    try:
        reward = compute_reward(complete, kernel.settings.rewards)
    except TooLittleData as error:
        notes.append(f"patch {patch_id} has no live reward yet: {error}")
        return None
    if reward.total < 0:
        reason = f"live reward {reward.total:+.4f} over {reward.trades} trades"
        return Finding(reason, {"live_reward": reward.as_dict()})
    return None


def recent_trades(trades: pd.DataFrame, settings: RewardsSettings, since: Any) -> pd.DataFrame:
    """The trades after `since`, or the last `min_trades` whole ones and those after them, whichever are more."""
    complete = trades[np.isfinite(trades[TRADE_COLUMNS].to_numpy(np.float64)).all(axis=1)]
    first = complete["at"].iloc[-settings.min_trades] if len(complete) >= settings.min_trades else since
    return trades[(trades["at"] > since) | (trades["at"] >= first)]


def _roll_back(kernel: Kernel, report: TurnReport, patch_id: str, finding: Finding) -> None:
    facts = finding.facts | {"cost": patch_profit(kernel.context.advice, patch_id)}
    report.rolled_back += roll_back(kernel.patch_log, kernel.repo, patch_id, kernel.as_of, finding.reason, **facts)
