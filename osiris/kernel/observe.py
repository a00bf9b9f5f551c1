"""Observes live patches and rolls one back when it fails, loses, passes too little, or refuses better ideas.

Four rules apply separately, to the time since the patch went live:

- Money: the accepted trades lost more than `kernel.max_loss` of equity. Their number does not matter, and old trades
  count too.
- Reward: the live reward is negative over the trades of the last `kernel.observe_days`, or over the last
  `rewards.min_trades` trades where those reach further back.
- Too few ideas: the patch passes too few ideas during `kernel.quiet_days`.
- Refused ideas: they would have earned more; see `kernel.refused_ideas`.
"""

import logging
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

log = logging.getLogger(__name__)


class Finding(NamedTuple):
    """Why a patch is rolled back, with further facts for the patch log."""

    reason: str
    facts: dict[str, Any]


def observe_patches(kernel: Kernel, report: TurnReport) -> None:
    """Roll back a live patch that failed to answer, or that breaks one of the rules."""
    head, failed = kernel.repo.head(), kernel.repo.last_failure()
    if failed and failed["commit"] == head.commit and head.patch_id:
        _roll_back(kernel, report, head.patch_id, Finding(f"it failed: {failed['error']}", {}))
        return
    for patch_id in reversed(kernel.patch_log.live_ids()):
        finding = _find_rollback_reason(kernel, kernel.patch_log.get(patch_id))
        if finding is not None:
            _roll_back(kernel, report, patch_id, finding)
            return  # later patches were removed with it, and earlier ones are observed in the next turn


def patch_profit(advice: AdviceStore, patch_id: str) -> float | None:
    """The summed profit of a patch's accepted trades, in fractions of equity; `None` without trades."""
    trades = read_live_trades(advice, patch_id)
    return float(trades["pnl"].sum()) if len(trades) else None


def check_pass_rate(advice: AdviceStore, patch: PatchEntry, settings: Settings, as_of: Any) -> tuple[str, bool]:
    """A warning on a live patch that passes too few ideas (else empty), and whether it is to be rolled back for it.

    Measuring requires `rewards.min_trades` trades in `kernel.measure_days`. Passing fewer than half as many per day is
    too few, if at least `rewards.min_trades` ideas were offered. The warning comes after half of `kernel.quiet_days`,
    the rollback after all of them.
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


def _find_rollback_reason(kernel: Kernel, patch: PatchEntry) -> Finding | None:
    settings, advice, patch_id = kernel.settings, kernel.context.advice, patch["id"]
    trades = read_live_trades(advice, patch_id)
    trades = trades[trades["at"] <= kernel.as_of]
    finding = _check_reward(trades, patch_id, kernel)
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
        days = settings.kernel.quiet_days
        log.warning("PATCH %s LETS TOO LITTLE THROUGH: %s; after %s days it goes", patch_id, warning, days)
    reason = compare_refused_ideas(kernel, patch)
    return Finding(reason, {}) if reason else None


def _equity_lost(trades: pd.DataFrame) -> float:
    """The fraction of equity that trades lost, compounded in order; negative for a gain."""
    pnl = trades["pnl"].to_numpy(np.float64)
    # One trade loses at most `MAX_WEEKLY_LOSS`, so that the product keeps its sign.
    return float(1 - np.prod(1 + np.maximum(pnl[np.isfinite(pnl)], -MAX_WEEKLY_LOSS)))


def _check_reward(trades: pd.DataFrame, patch_id: str, kernel: Kernel) -> Finding | None:
    recent = recent_trades(
        trades, kernel.settings.rewards, kernel.as_of - timedelta(days=kernel.settings.kernel.observe_days)
    )
    complete = recent[np.isfinite(recent[TRADE_COLUMNS].to_numpy(np.float64)).all(axis=1)]
    if incomplete_count := len(recent) - len(complete):
        log.warning("patch %s: %s of %s trades lack a number and have no say", patch_id, incomplete_count, len(recent))
    try:
        reward = compute_reward(complete, kernel.settings.rewards)
    except TooLittleData as error:
        log.warning("patch %s has no live reward yet: %s", patch_id, error)
        return None
    if reward.total < 0:
        reason = f"live reward {reward.total:+.4f} over {reward.trades} trades"
        return Finding(reason, {"live_reward": reward.as_dict()})
    return None


def recent_trades(trades: pd.DataFrame, settings: RewardsSettings, since: Any) -> pd.DataFrame:
    """The trades after `since`, or those from the `min_trades`-th last complete trade on, whichever are more."""
    complete = trades[np.isfinite(trades[TRADE_COLUMNS].to_numpy(np.float64)).all(axis=1)]
    first = complete["at"].iloc[-settings.min_trades] if len(complete) >= settings.min_trades else since
    return trades[(trades["at"] > since) | (trades["at"] >= first)]


def _roll_back(kernel: Kernel, report: TurnReport, patch_id: str, finding: Finding) -> None:
    facts = finding.facts | {"cost": patch_profit(kernel.context.advice, patch_id)}
    report.rolled_back += roll_back(kernel.patch_log, kernel.repo, patch_id, kernel.as_of, finding.reason, **facts)
