"""The promotion gate: may this adapter replace that one? Only if it is better beyond chance, on held-out prompts.

The gate tests skill, not habit: an adapter that only goes long more often is not better (`side_bias.py`). The unit of
chance is a block of days as long as trades take (`stats.py`). With too few blocks there is no verdict: the challenger
stays on trial, and its evidence grows by one session a day, on days that it cannot have seen.

Repeated looks at the same held-out days would promote some adapter by chance in the end. So the k-th look is given
alpha / (k (k + 1)), and all looks together err with a probability of at most `gate.alpha` (`looks.py`).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from osiris.config.settings import Settings
from osiris.evaluation.evidence import Evidence, compare_evaluations
from osiris.evaluation.heldout import Evaluation
from osiris.evaluation.stats import alpha_for_look, detectable_effect, format_p_value


@dataclass(frozen=True)
class GateVerdict:
    """The gate's answer, with the numbers it rests on.

    `difference` and `skill` (the difference without habits, which is tested) are in R a prompt. `level` is the alpha of
    this look. `detectable` is the skill that these days would have shown four times in five. An answer that is not
    `decided` leaves the challenger on trial; `days_needed` is how many held-out days a test takes.
    """

    challenger: str
    champion: str
    promoted: bool
    decided: bool
    reason: str
    difference: float | None
    skill: float | None
    p_value: float | None
    detectable: float | None
    prompts: int
    sessions: int
    blocks: int
    days: int
    days_needed: int
    look: int
    level: float
    metrics: dict[str, dict[str, float]]

    def as_dict(self) -> dict[str, Any]:
        """The verdict as JSON takes it."""
        return asdict(self)


def compare_adapters(challenger: Evaluation, champion: Evaluation, settings: Settings, look: int = 1) -> GateVerdict:
    """The verdict of the `look`-th look at these days; both evaluations must come from the same prompts."""
    return decide_promotion(
        compare_evaluations(challenger, champion, settings.prices), challenger, champion, settings, look
    )


def decide_promotion(
    evidence: Evidence,
    challenger: Evaluation,
    champion: Evaluation,
    settings: Settings,
    look: int = 0,
    waiting_for: str = "",
) -> GateVerdict:
    """Promote if the skill is above zero beyond chance and the plain difference is too; else say what is missing.

    `look` is its number, from 1; without one nothing is decided. `waiting_for` says what a look waits for.
    """
    test, metrics = evidence.test, _metrics(challenger, champion)
    alpha = alpha_for_look(max(look, 1), settings.gate.alpha)
    tested = bool(look) and can_be_tested(evidence, challenger, champion, settings)
    detectable_skill = detectable_effect(test, alpha) if tested else np.nan
    promoted = tested and test.p_value < alpha and evidence.difference > 0
    is_over = tested and evidence.days >= settings.gate.trial_days
    if tested:
        reason = _explain_decision(evidence, promoted, alpha, look, detectable_skill)
    else:
        reason = f"not decided yet: {waiting_for or _missing_evidence(evidence, metrics, settings)}"
    return GateVerdict(
        challenger=challenger.adapter,
        champion=champion.adapter,
        promoted=promoted,
        decided=promoted or is_over,
        reason=reason,
        difference=_none_if_nan(evidence.difference),
        skill=_none_if_nan(test.mean),
        p_value=_none_if_nan(test.p_value) if tested else None,
        detectable=_none_if_nan(detectable_skill),
        prompts=evidence.prompts,
        sessions=evidence.sessions,
        blocks=test.blocks,
        days=evidence.days,
        days_needed=evidence.days_needed,
        look=look,
        level=alpha,
        metrics=metrics,
    )


def can_be_tested(evidence: Evidence, challenger: Evaluation, champion: Evaluation, settings: Settings) -> bool:
    """Whether there are enough trades and enough independent days for a look."""
    trades = _least_trades(_metrics(challenger, champion))
    return evidence.test.has_enough_blocks and trades >= settings.gate.min_trades


def _none_if_nan(number: float) -> float | None:
    """The number for JSON, which has no NaN."""
    return None if np.isnan(number) else float(number)


def _missing_evidence(evidence: Evidence, metrics: dict[str, dict[str, float]], settings: Settings) -> str:
    """What the evidence lacks for a test."""
    trades, min_trades = _least_trades(metrics), settings.gate.min_trades
    if trades < min_trades:
        return f"{trades} held-out trades, at least {min_trades} needed"
    return (
        f"{evidence.days} held-out days hold {_pluralize(evidence.test.blocks, 'independent spell')} of "
        f"{evidence.test.length:.0f} days; about {evidence.days_needed} days are needed"
    )


def _metrics(challenger: Evaluation, champion: Evaluation) -> dict[str, dict[str, float]]:
    return {one.adapter: one.metrics() for one in (challenger, champion)}


def _least_trades(metrics: dict[str, dict[str, float]]) -> int:
    """The trades of the adapter that has fewer of them."""
    return min(int(of_adapter.get("trades", 0)) for of_adapter in metrics.values())


def _pluralize(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _explain_decision(evidence: Evidence, promoted: bool, alpha: float, look: int, detectable_skill: float) -> str:
    test = evidence.test
    conclusion = "better beyond chance" if promoted else "not shown to be better"
    return (
        f"{conclusion}: {evidence.difference:+.3f} R a prompt, {test.mean:+.3f} without habits, "
        f"{format_p_value(test.p_value)}, level {alpha:.4f} (look {look}), "
        f"{test.blocks} spells of {test.length:.0f} days; "
        f"these days would show {detectable_skill:.2f} R four times in five"
    )
