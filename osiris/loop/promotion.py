"""The last step of the night: which adapter is compared with which, on which days, and what becomes of the verdict."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from osiris.adapters import AdapterShelf
from osiris.errors import AdapterRejected
from osiris.llm.models import Models
from osiris.loop import gate
from osiris.loop.context import Snapshot
from osiris.loop.logbook import CANNOT, catch_up, heldout_metrics, not_logged
from osiris.loop.night import StepReport
from osiris.loop.night_facts import begin_night, end_night, night_name, serve
from osiris.loop.prices import PriceDesk
from osiris.policy.contracts import Policy
from osiris.settings import Settings
from osiris.tracking import Tracking


def judge_adapters(
    shelf: AdapterShelf,
    tracking: Tracking,
    models: Models,
    prices: PriceDesk,
    policy: Policy,
    settings: Settings,
    as_of: datetime,
    drafted_at: Sequence[datetime] | None = None,
) -> tuple[StepReport, list[gate.Evaluation]]:
    """Compare the newest adapter that later days can judge with the one served as the night began; record the verdict.

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
    evaluations = [gate.evaluate(drafter, shots, prices, settings, as_of) for drafter in drafters]
    days = min(shot.as_of for shot in shots), max(shot.as_of for shot in shots)
    verdict = gate.compare(*evaluations, settings, looks_before(shelf, challenger, *days) + 1)
    held_out = [day.isoformat() for day in days]
    shelf.record_verdict(challenger, verdict.as_dict() | {"as_of": as_of.isoformat(), "held_out": held_out})
    metrics, run_id = heldout_metrics(challenger, verdict.as_dict()), None
    try:
        run_id = tracking.log_verdict(challenger, metrics, verdict.as_dict())
        point_aliases(shelf, tracking, settings, as_of)
    except CANNOT as error:  # the verdict is on the shelf: the next night tells MLflow
        notes.append(not_logged(error))
    end_night(settings, night)
    served = challenger in shelf.eligible(settings.gate.policy)
    note = f"{verdict.reason}; {'served' if served else 'not served'} (gate.policy = {settings.gate.policy})"
    told = StepReport("compare", challenger, len(shots), "; ".join([note, *notes]), run_id, metrics)
    return told, evaluations


def challengers(shelf: AdapterShelf, champion: str | None, as_of: datetime) -> list[str]:
    """Tonight's adapter and earlier ones without a verdict, newest first, of one date the `-dpo` one alone."""
    newest_of_date = {name[:8]: name for name in reversed(shelf.names(as_of))}
    tonight = night_name(as_of)
    return [
        name
        for date, name in sorted(newest_of_date.items(), reverse=True)
        if name != champion and (date == tonight or shelf.verdict(name) is None)
    ]


def looks_before(shelf: AdapterShelf, challenger: str, first: datetime, last: datetime) -> int:
    """How many others were judged on much the same held-out days: half of the shorter span is in the other, or more."""
    looks = 0
    for name in shelf.names():
        then = (shelf.verdict(name) or {}).get("held_out")
        if name != challenger and then:
            begun, ended = map(datetime.fromisoformat, then)
            shared = min(ended, last) - max(begun, first)
            looks += shared >= timedelta(0) and 2 * shared >= min(ended - begun, last - first)
    return looks


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
    for challenger in challengers(shelf, champion, as_of):
        try:
            seen = [shelf.usable(name).knows_until for name in (challenger, champion) if name]
        except AdapterRejected as error:
            notes.append(str(error))
            continue
        shots = gate.held_out(prices, policy, settings, gate.training_window(settings, as_of, seen), notes, drafted_at)
        if shots:
            return challenger, shots
        who = "it" if seen[0] == max(seen) else f"{champion}, which is served,"
        notes.append(f"{challenger}: too early, {who} was trained on days up to {max(seen):%Y-%m-%d}")
    return None, []


def point_aliases(shelf: AdapterShelf, tracking: Tracking, settings: Settings, as_of: datetime) -> None:
    """Point MLflow's aliases: `champion` at the adapter served at `as_of`, `challenger` at the newest other one."""
    champion = serve(shelf, settings, as_of).name
    challenger = next((name for name in shelf.names(as_of) if name != champion), None)
    tracking.point_aliases({"champion": champion, "challenger": challenger})
