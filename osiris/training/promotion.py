"""The last step of a nightly run: choose the adapters to compare, compare them, and record the verdict.

One challenger is on trial at a time. Like the champion, it drafts at every session after its training. Nobody sees
these ideas; they are settled on paper, and the evidence grows with each nightly run. When the evidence suffices, the
gate looks at it, and each look is counted (`looks.py`). The trial ends with a promotion, or with a refusal once
`gate.trial_days` held-out days have not shown that the challenger is better. The next challenger is the newest adapter
that already has enough held-out days, else the one with the most.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from osiris.adapters.mlflow_runs import Tracking
from osiris.adapters.registry import AdapterRegistry
from osiris.config.settings import Settings
from osiris.core.errors import AdapterRejected, BadInput
from osiris.core.ideas import stable_hash
from osiris.core.run_log import collect_warnings
from osiris.drafting.snapshot import Snapshot
from osiris.drafting.snapshots import SnapshotSource
from osiris.evaluation import heldout
from osiris.evaluation.evidence import compare_evaluations
from osiris.evaluation.gate import GateVerdict, can_be_tested, decide_promotion
from osiris.evaluation.looks import HeldOutSpan, LookLedger
from osiris.llm.models import Models
from osiris.market.provider import BarProvider
from osiris.policy.contracts import Policy
from osiris.training.mlflow_sync import LOGGING_ERRORS, heldout_metrics, log_missing, not_logged_note
from osiris.training.nightly import StepReport
from osiris.training.nightly_run import begin_nightly_run, end_nightly_run, find_served_adapter, nightly_date

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldoutSource:
    """Where held-out prompts come from, and the settings by which adapters are compared on them.

    A prompt is drafted at every session close of the held-out window, or at the moments `drafted_at` within it.
    """

    snapshots: SnapshotSource
    policy: Policy
    drafted_at: Sequence[datetime] | None = None

    @property
    def prices(self) -> BarProvider:
        """The bars on which the drafts are settled."""
        return self.snapshots.prices

    @property
    def settings(self) -> Settings:
        """The settings of the workspace."""
        return self.snapshots.settings

    def take_snapshots(self, window: heldout.Window) -> list[Snapshot]:
        """The snapshots of every ticker in `window`; those that cannot be taken are a warning each."""
        return heldout.take_heldout_snapshots(self.snapshots, self.policy, window, self.drafted_at)


def evaluate_adapters(
    registry: AdapterRegistry, tracking: Tracking, models: Models, source: HeldoutSource, as_of: datetime
) -> tuple[StepReport, list[heldout.Evaluation]]:
    """Compare the challenger on trial with the adapter served as the nightly run began, and record the verdict.

    Both draft on the same prompts of `source`. The evaluations are of the challenger and the champion, in this order;
    the list is empty where there is nothing to compare.
    """
    with collect_warnings() as notes:
        report, evaluations = _compare_next(registry, tracking, models, source, as_of)
    report.note = "; ".join([report.note, *notes])
    log.info("%s: %s", report.adapter or "no adapter", report.note)
    return report, evaluations


def _compare_next(
    registry: AdapterRegistry, tracking: Tracking, models: Models, source: HeldoutSource, as_of: datetime
) -> tuple[StepReport, list[heldout.Evaluation]]:
    settings, prices = source.settings, source.prices
    nightly_run = begin_nightly_run(registry, settings, as_of)
    champion, as_of = nightly_run.champion, nightly_run.as_of
    log_missing(registry, tracking, settings)
    challenger, snapshots = _select_challenger(registry, champion, source, as_of)
    if challenger is None:
        end_nightly_run(settings, nightly_run)
        return StepReport("compare", note="no adapter to compare"), []
    drafters = [models.serve(registry.path(name) if name else None) for name in (challenger, champion)]
    evaluations = [heldout.evaluate_drafter(drafter, snapshots, prices, settings, as_of) for drafter in drafters]
    span = HeldOutSpan(min(snapshot.as_of for snapshot in snapshots), max(snapshot.as_of for snapshot in snapshots))
    key = look_key(registry, (challenger, champion), snapshots, prices, settings, as_of)
    verdict = reach_verdict(evaluations, LookLedger(settings.data / "looks.jsonl"), key, span, settings, as_of)
    held_out = [day.isoformat() for day in span]
    registry.record_verdict(challenger, verdict.as_dict() | {"as_of": as_of.isoformat(), "held_out": held_out})
    metrics, run_id = heldout_metrics(challenger, verdict.as_dict()), None
    try:
        run_id = tracking.log_verdict(challenger, metrics, verdict.as_dict())
        update_aliases(registry, tracking, settings, as_of)
    except LOGGING_ERRORS as error:  # the verdict is in the registry: the next nightly run logs it
        log.warning(not_logged_note(error))
    end_nightly_run(settings, nightly_run)
    served = challenger in registry.eligible_names(settings.gate.serve)
    note = f"{verdict.reason}; {'served' if served else 'not served'} (gate.serve = {settings.gate.serve})"
    return StepReport("compare", challenger, len(snapshots), note, run_id, metrics), evaluations


def reach_verdict(
    evaluations: Sequence[heldout.Evaluation],
    ledger: LookLedger,
    key: str,
    span: HeldOutSpan,
    settings: Settings,
    as_of: datetime,
) -> GateVerdict:
    """Look at the evidence if it suffices and a look is due, and record the look; else report what is missing.

    The decision to look depends on the amount of evidence, never on its result. Otherwise one could look
    again and again until chance gives the wanted result.
    """
    challenger, champion = evaluations
    evidence = compare_evaluations(challenger, champion, settings.prices)
    if not can_be_tested(evidence, challenger, champion, settings):
        return decide_promotion(evidence, challenger, champion, settings)
    due = ledger.due_at(span)
    # a look that was already counted may be repeated: the same evidence gives the same verdict
    if due is not None and span.last < due and not ledger.has_look(key):
        return decide_promotion(
            evidence, challenger, champion, settings, waiting_for=f"the next look is due on {due:%Y-%m-%d}"
        )
    look = ledger.record_look(key, span, as_of, challenger=challenger.adapter, champion=champion.adapter)
    return decide_promotion(evidence, challenger, champion, settings, look)


def look_key(
    registry: AdapterRegistry,
    names: tuple[str, str | None],
    snapshots: Sequence[Snapshot],
    prices: BarProvider,
    settings: Settings,
    as_of: datetime,
) -> str:
    """The identity of a look: a hash of both adapters' weights, the prompts, the bars and the sampling settings.

    The same comparison in a repeated run has the same key, so it is not counted as another look.
    """
    weights = [registry.weights_hash(name) if name else registry.base_hash() for name in names]
    prompts = [(snapshot.ticker, snapshot.as_of.isoformat(), snapshot.prompt) for snapshot in snapshots]
    bars = prices.get_many_bars(
        sorted({snapshot.ticker for snapshot in snapshots}), min(snapshot.as_of for snapshot in snapshots), as_of, as_of
    )
    bar_texts = {
        ticker: frame[["start", "open", "high", "low", "close"]].to_csv() for ticker, frame in sorted(bars.items())
    }
    model = settings.model
    sampling = (
        settings.gate.candidates,
        model.seed,
        model.temperature,
        model.top_p,
        model.max_new_tokens,
        model.constrained,
    )
    return stable_hash("look", *weights, prompts, bar_texts, sampling)


def list_challengers(
    registry: AdapterRegistry, champion: str | None, as_of: datetime, rule: str = "better"
) -> list[str]:
    """Adapters without a decision: the one on trial first, then from newest to oldest.

    Of two adapters of one date, only the `-dpo` one counts, since it is trained from the other one. Under the rule
    `newest`, the adapter of this nightly run goes first, since it is served whatever the gate decides.
    """
    newest_of_date = {name[:8]: name for name in reversed(registry.names(as_of))}
    verdicts = {name: _read_verdict(registry, name) for _, name in sorted(newest_of_date.items(), reverse=True)}
    undecided = [name for name, verdict in verdicts.items() if name != champion and not _is_decided(verdict)]
    if rule == "newest":
        return sorted(undecided, key=lambda name: name[:8] != nightly_date(as_of))
    return sorted(undecided, key=lambda name: verdicts[name] is None)


def _read_verdict(registry: AdapterRegistry, name: str) -> dict[str, Any] | None:
    """The verdict on `name`. An unreadable one may be a person's decision, and counts as one until it is repaired."""
    try:
        return registry.verdict(name)
    except BadInput:
        return {"promoted": False, "by": "a file that cannot be read"}


def _is_decided(verdict: dict[str, Any] | None) -> bool:
    """Whether the gate or a person has decided; so has a verdict without the key `decided`, from before trials."""
    return verdict is not None and (bool(verdict.get("by")) or verdict.get("decided", True))


def _days_needed(registry: AdapterRegistry) -> int:
    """How many held-out days the last comparison needed; 0 before the first one."""
    verdicts = [_read_verdict(registry, name) for name in registry.names()]
    return next((verdict["days_needed"] for verdict in verdicts if verdict and verdict.get("days_needed")), 0)


def _select_challenger(
    registry: AdapterRegistry, champion: str | None, source: HeldoutSource, as_of: datetime
) -> tuple[str | None, list[Snapshot]]:
    """The challenger to compare and its held-out prompts; why others were passed over is a warning each."""
    settings = source.settings
    waiting: list[tuple[str, heldout.Window]] = []
    for challenger in list_challengers(registry, champion, as_of, settings.gate.serve):
        try:
            cutoffs = [registry.require_usable(name).knowledge_cutoff for name in (challenger, champion) if name]
        except AdapterRejected as error:
            log.warning(str(error))
            continue
        window = heldout.training_window(settings, as_of, cutoffs)
        is_on_trial = registry.verdict(challenger) is not None
        has_enough_days = (as_of - window.first).days >= _days_needed(registry)
        if is_on_trial or has_enough_days or settings.gate.serve == "newest":
            waiting = [(challenger, window)]
            break
        waiting.append((challenger, window))
    # if no challenger was chosen above, the oldest one comes first: it has the most held-out days
    for challenger, window in reversed(waiting):
        snapshots = source.take_snapshots(window)
        if snapshots:
            return challenger, snapshots
        until = window.first - timedelta(days=settings.gate.embargo_days)
        log.warning("%s: too early, what is compared was trained on days up to %s", challenger, f"{until:%Y-%m-%d}")
    return None, []


def update_aliases(registry: AdapterRegistry, tracking: Tracking, settings: Settings, as_of: datetime) -> None:
    """Point MLflow's aliases: `champion` at the adapter served at `as_of`, `challenger` at the newest other one."""
    champion = find_served_adapter(registry, settings, as_of).name
    challenger = next((name for name in registry.names(as_of) if name != champion), None)
    tracking.set_aliases({"champion": champion, "challenger": challenger})
