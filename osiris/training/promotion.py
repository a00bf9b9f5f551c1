"""The last step of the night: which adapter is compared with which, on which days, and what becomes of the verdict.

One challenger is on trial at a time. It drafts beside the champion on every session after its training, which nobody
sees; its ideas are settled on paper, and its evidence grows night by night. It is looked at when the evidence suffices
(`looks.py` counts), and leaves the trial promoted, or refused once `heldout.trial_days` held-out days have not shown it
better. The next on trial is the newest adapter whose own days suffice already, else the one with the most days.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from osiris.adapters.mlflow_runs import Tracking
from osiris.adapters.registry import AdapterRegistry
from osiris.config.settings import Settings
from osiris.core.errors import AdapterRejected, BadInput
from osiris.core.ideas import stable_hash
from osiris.drafting.snapshot import Snapshot
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


def evaluate_adapters(
    registry: AdapterRegistry,
    tracking: Tracking,
    models: Models,
    prices: BarProvider,
    policy: Policy,
    settings: Settings,
    as_of: datetime,
    drafted_at: Sequence[datetime] | None = None,
) -> tuple[StepReport, list[heldout.Evaluation]]:
    """Compare the challenger on trial with the adapter served as the night began, and record the verdict.

    They draft at every session close that is held out, or at those of the moments `drafted_at`.
    """
    nightly_run = begin_nightly_run(registry, settings, as_of)
    champion, as_of, notes = nightly_run.champion, nightly_run.as_of, list[str]()
    log_missing(registry, tracking, settings, notes)
    challenger, snapshots = _select_challenger(registry, champion, prices, policy, settings, as_of, drafted_at, notes)
    if challenger is None:
        end_nightly_run(settings, nightly_run)
        return StepReport("compare", note="; ".join(["no adapter to compare", *notes])), []
    drafters = [models.serve(registry.path(name) if name else None) for name in (challenger, champion)]
    evaluations = [heldout.evaluate_drafter(drafter, snapshots, prices, settings, as_of) for drafter in drafters]
    span = HeldOutSpan(min(shot.as_of for shot in snapshots), max(shot.as_of for shot in snapshots))
    key = look_key(registry, (challenger, champion), snapshots, prices, settings, as_of)
    verdict = reach_verdict(evaluations, LookLedger(settings.data / "looks.jsonl"), key, span, settings, as_of)
    held_out = [day.isoformat() for day in span]
    registry.record_verdict(challenger, verdict.as_dict() | {"as_of": as_of.isoformat(), "held_out": held_out})
    metrics, run_id = heldout_metrics(challenger, verdict.as_dict()), None
    try:
        run_id = tracking.log_verdict(challenger, metrics, verdict.as_dict())
        update_aliases(registry, tracking, settings, as_of)
    except LOGGING_ERRORS as error:  # the verdict is on the shelf: the next night tells MLflow
        notes.append(not_logged_note(error))
    end_nightly_run(settings, nightly_run)
    served = challenger in registry.eligible_names(settings.gate.serve)
    note = f"{verdict.reason}; {'served' if served else 'not served'} (heldout.serve = {settings.gate.serve})"
    report = StepReport("compare", challenger, len(snapshots), "; ".join([note, *notes]), run_id, metrics)
    return report, evaluations


def reach_verdict(
    evaluations: Sequence[heldout.Evaluation],
    ledger: LookLedger,
    key: str,
    span: HeldOutSpan,
    settings: Settings,
    as_of: datetime,
) -> GateVerdict:
    """Look at the evidence if it suffices and a look is due, and remember that; else say what it waits for.

    Whether there is a look hangs on how much evidence there is, never on what it says.
    """
    challenger, champion = evaluations
    evidence = compare_evaluations(challenger, champion, settings.prices)
    if not can_be_tested(evidence, challenger, champion, settings):
        return decide_promotion(evidence, challenger, champion, settings)
    due = ledger.due_at(span)
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
    """What a look is known by: the weights of both adapters, the held-out prompts, the bars, and how is drafted."""
    weights = [registry.weights_hash(name) if name else registry.base_hash() for name in names]
    prompts = [(shot.ticker, shot.as_of.isoformat(), shot.prompt) for shot in snapshots]
    bars = prices.get_many_bars(
        sorted({shot.ticker for shot in snapshots}), min(shot.as_of for shot in snapshots), as_of, as_of
    )
    seen = {ticker: frame[["start", "open", "high", "low", "close"]].to_csv() for ticker, frame in sorted(bars.items())}
    model = settings.model
    sampling = (
        settings.gate.candidates,
        model.seed,
        model.temperature,
        model.top_p,
        model.max_new_tokens,
        model.constrained,
    )
    return stable_hash("look", *weights, prompts, seen, sampling)


def list_challengers(
    registry: AdapterRegistry, champion: str | None, as_of: datetime, rule: str = "better"
) -> list[str]:
    """Adapters that nobody has decided on, of one date the `-dpo` one alone: the one on trial first, then the newest.

    Where the newest is served whatever the gate says, tonight's goes first.
    """
    newest_of_date = {name[:8]: name for name in reversed(registry.names(as_of))}
    verdicts = {name: _read_verdict(registry, name) for _, name in sorted(newest_of_date.items(), reverse=True)}
    undecided = [name for name, verdict in verdicts.items() if name != champion and not _is_decided(verdict)]
    if rule == "newest":
        return sorted(undecided, key=lambda name: name[:8] != nightly_date(as_of))
    return sorted(undecided, key=lambda name: verdicts[name] is None)


def _read_verdict(registry: AdapterRegistry, name: str) -> dict[str, Any] | None:
    """The verdict on `name`. One that cannot be read may be a person's word, and stands like one until it is mended."""
    try:
        return registry.verdict(name)
    except BadInput:
        return {"promoted": False, "by": "a file that cannot be read"}


def _is_decided(verdict: dict[str, Any] | None) -> bool:
    """Whether the gate or a person has spoken; a verdict from before there were trials is one."""
    return verdict is not None and (bool(verdict.get("by")) or verdict.get("decided", True))


def _days_needed(registry: AdapterRegistry) -> int:
    """How many held-out days the last comparison asked for."""
    found = [verdict.get("days_needed", 0) for name in registry.names() if (verdict := _read_verdict(registry, name))]
    return next((days for days in found if days), 0)


def _select_challenger(
    registry: AdapterRegistry,
    champion: str | None,
    prices: BarProvider,
    policy: Policy,
    settings: Settings,
    as_of: datetime,
    drafted_at: Sequence[datetime] | None,
    notes: list[str],
) -> tuple[str | None, list[Snapshot]]:
    """The newest usable challenger with held-out prompts, and those; `notes` gets why newer ones were passed over."""
    waiting = []
    for challenger in list_challengers(registry, champion, as_of, settings.gate.serve):
        try:
            seen = [registry.require_usable(name).knowledge_cutoff for name in (challenger, champion) if name]
        except AdapterRejected as error:
            notes.append(str(error))
            continue
        window = heldout.training_window(settings, as_of, seen)
        on_trial, suffices = (
            registry.verdict(challenger) is not None,
            (as_of - window.first).days >= _days_needed(registry),
        )
        if on_trial or suffices or settings.gate.serve == "newest":
            waiting = [(challenger, window)]
            break
        waiting.append((challenger, window))
    for challenger, window in reversed(waiting):
        snapshots = heldout.take_heldout_snapshots(prices, policy, settings, window, notes, drafted_at)
        if snapshots:
            return challenger, snapshots
        until = window.first - timedelta(days=settings.gate.embargo_days)
        notes.append(f"{challenger}: too early, what is compared was trained on days up to {until:%Y-%m-%d}")
    return None, []


def update_aliases(registry: AdapterRegistry, tracking: Tracking, settings: Settings, as_of: datetime) -> None:
    """Point MLflow's aliases: `champion` at the adapter served at `as_of`, `challenger` at the newest other one."""
    champion = find_served_adapter(registry, settings, as_of).name
    challenger = next((name for name in registry.names(as_of) if name != champion), None)
    tracking.set_aliases({"champion": champion, "challenger": challenger})
