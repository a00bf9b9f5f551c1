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
from osiris.adapters.registry import AdapterShelf
from osiris.config.settings import Settings
from osiris.core.errors import AdapterRejected, BadInput
from osiris.core.ideas import stable_hash
from osiris.drafting.snapshot import Snapshot
from osiris.evaluation import heldout
from osiris.evaluation.evidence import weigh
from osiris.evaluation.gate import Verdict, can_be_tested, decide
from osiris.evaluation.looks import LookLedger, Span
from osiris.llm.models import Models
from osiris.market.provider import PriceDesk
from osiris.policy.contracts import Policy
from osiris.training.mlflow_sync import CANNOT, catch_up, heldout_metrics, not_logged
from osiris.training.night_facts import begin_night, end_night, night_name, serve
from osiris.training.nightly import StepReport


def judge_adapters(
    shelf: AdapterShelf,
    tracking: Tracking,
    models: Models,
    prices: PriceDesk,
    policy: Policy,
    settings: Settings,
    as_of: datetime,
    drafted_at: Sequence[datetime] | None = None,
) -> tuple[StepReport, list[heldout.Evaluation]]:
    """Compare the challenger on trial with the adapter served as the night began, and record the verdict.

    They draft at every session close that is held out, or at those of the moments `drafted_at`.
    """
    night = begin_night(shelf, settings, as_of)
    champion, as_of, notes = night.champion, night.as_of, list[str]()
    catch_up(shelf, tracking, settings, notes)
    challenger, shots = _to_judge(shelf, champion, prices, policy, settings, as_of, drafted_at, notes)
    if challenger is None:
        end_night(settings, night)
        return StepReport("compare", note="; ".join(["no adapter to compare", *notes])), []
    drafters = [models.serve(shelf.path(name) if name else None) for name in (challenger, champion)]
    evaluations = [heldout.evaluate(drafter, shots, prices, settings, as_of) for drafter in drafters]
    span = Span(min(shot.as_of for shot in shots), max(shot.as_of for shot in shots))
    key = look_key(shelf, (challenger, champion), shots, prices, settings, as_of)
    verdict = reach_verdict(evaluations, LookLedger(settings.data / "looks.jsonl"), key, span, settings, as_of)
    held_out = [day.isoformat() for day in span]
    shelf.record_verdict(challenger, verdict.as_dict() | {"as_of": as_of.isoformat(), "held_out": held_out})
    metrics, run_id = heldout_metrics(challenger, verdict.as_dict()), None
    try:
        run_id = tracking.log_verdict(challenger, metrics, verdict.as_dict())
        point_aliases(shelf, tracking, settings, as_of)
    except CANNOT as error:  # the verdict is on the shelf: the next night tells MLflow
        notes.append(not_logged(error))
    end_night(settings, night)
    served = challenger in shelf.eligible(settings.gate.policy)
    note = f"{verdict.reason}; {'served' if served else 'not served'} (heldout.policy = {settings.gate.policy})"
    told = StepReport("compare", challenger, len(shots), "; ".join([note, *notes]), run_id, metrics)
    return told, evaluations


def reach_verdict(
    evaluations: Sequence[heldout.Evaluation],
    ledger: LookLedger,
    key: str,
    span: Span,
    settings: Settings,
    as_of: datetime,
) -> Verdict:
    """Look at the evidence if it suffices and a look is due, and remember that; else say what it waits for.

    Whether there is a look hangs on how much evidence there is, never on what it says.
    """
    challenger, champion = evaluations
    evidence = weigh(challenger, champion, settings.prices)
    if not can_be_tested(evidence, challenger, champion, settings):
        return decide(evidence, challenger, champion, settings)
    due = ledger.due_at(span)
    if due is not None and span.last < due and not ledger.knows(key):
        return decide(evidence, challenger, champion, settings, wait=f"the next look is due on {due:%Y-%m-%d}")
    look = ledger.take(key, span, as_of, challenger=challenger.adapter, champion=champion.adapter)
    return decide(evidence, challenger, champion, settings, look)


def look_key(
    shelf: AdapterShelf,
    names: tuple[str, str | None],
    shots: Sequence[Snapshot],
    prices: PriceDesk,
    settings: Settings,
    as_of: datetime,
) -> str:
    """What a look is known by: the weights of both adapters, the held-out prompts, the bars, and how is drafted."""
    weights = [shelf.weights_hash(name) if name else shelf.base_hash() for name in names]
    prompts = [(shot.ticker, shot.as_of.isoformat(), shot.prompt) for shot in shots]
    bars = prices.bars_many(sorted({shot.ticker for shot in shots}), min(shot.as_of for shot in shots), as_of, as_of)
    seen = {ticker: frame[["start", "open", "high", "low", "close"]].to_csv() for ticker, frame in sorted(bars.items())}
    model = settings.model
    drawn = (settings.gate.candidates, model.seed, model.temperature, model.top_p, model.max_new_tokens, model.bound)
    return stable_hash("look", *weights, prompts, seen, drawn)


def challengers(shelf: AdapterShelf, champion: str | None, as_of: datetime, policy: str = "better") -> list[str]:
    """Adapters that nobody has decided on, of one date the `-dpo` one alone: the one on trial first, then the newest.

    Where the newest is served whatever the gate says, tonight's goes first.
    """
    newest_of_date = {name[:8]: name for name in reversed(shelf.names(as_of))}
    verdicts = {name: _decided_on(shelf, name) for _, name in sorted(newest_of_date.items(), reverse=True)}
    open_ones = [name for name, verdict in verdicts.items() if name != champion and not _is_decided(verdict)]
    if policy == "newest":
        return sorted(open_ones, key=lambda name: name[:8] != night_name(as_of))
    return sorted(open_ones, key=lambda name: verdicts[name] is None)


def _decided_on(shelf: AdapterShelf, name: str) -> dict[str, Any] | None:
    """The verdict on `name`. One that cannot be read may be a person's word, and stands like one until it is mended."""
    try:
        return shelf.verdict(name)
    except BadInput:
        return {"promoted": False, "by": "a file that cannot be read"}


def _is_decided(verdict: dict[str, Any] | None) -> bool:
    """Whether the gate or a person has spoken; a verdict from before there were trials is one."""
    return verdict is not None and (bool(verdict.get("by")) or verdict.get("decided", True))


def _days_needed(shelf: AdapterShelf) -> int:
    """How many held-out days the last comparison asked for."""
    found = [verdict.get("days_needed", 0) for name in shelf.names() if (verdict := _decided_on(shelf, name))]
    return next((days for days in found if days), 0)


def _to_judge(
    shelf: AdapterShelf,
    champion: str | None,
    prices: PriceDesk,
    policy: Policy,
    settings: Settings,
    as_of: datetime,
    drafted_at: Sequence[datetime] | None,
    notes: list[str],
) -> tuple[str | None, list[Snapshot]]:
    """The newest usable challenger with held-out prompts, and those; `notes` gets why newer ones were passed over."""
    waiting = []
    for challenger in challengers(shelf, champion, as_of, settings.gate.policy):
        try:
            seen = [shelf.usable(name).knows_until for name in (challenger, champion) if name]
        except AdapterRejected as error:
            notes.append(str(error))
            continue
        window = heldout.training_window(settings, as_of, seen)
        on_trial, suffices = shelf.verdict(challenger) is not None, (as_of - window.first).days >= _days_needed(shelf)
        if on_trial or suffices or settings.gate.policy == "newest":
            waiting = [(challenger, window)]
            break
        waiting.append((challenger, window))
    for challenger, window in reversed(waiting):
        shots = heldout.held_out(prices, policy, settings, window, notes, drafted_at)
        if shots:
            return challenger, shots
        until = window.first - timedelta(days=settings.gate.embargo_days)
        notes.append(f"{challenger}: too early, what is compared was trained on days up to {until:%Y-%m-%d}")
    return None, []


def point_aliases(shelf: AdapterShelf, tracking: Tracking, settings: Settings, as_of: datetime) -> None:
    """Point MLflow's aliases: `champion` at the adapter served at `as_of`, `challenger` at the newest other one."""
    champion = serve(shelf, settings, as_of).name
    challenger = next((name for name in shelf.names(as_of) if name != champion), None)
    tracking.point_aliases({"champion": champion, "challenger": challenger})
