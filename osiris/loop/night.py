"""The steps of the night: feedback to QLoRA, outcomes to pairs, pairs to DPO, then the comparison.

A step that has too little data says so and publishes nothing; the next night takes it up. A step that was done before
(the same date) changes nothing: a published adapter is never made again.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from osiris.adapters import AdapterShelf
from osiris.errors import TooLittleData
from osiris.llm.loader import BASE, Drafter, ModelDesk
from osiris.loop import gate
from osiris.loop.pairs import build_pairs, examples, write_atomically, write_dataset
from osiris.loop.prices import PriceDesk
from osiris.records import stable_hash
from osiris.settings import Settings
from osiris.store.advice import AdviceStore
from osiris.tracking import Tracking
from osiris.training.dpo import train_dpo
from osiris.training.probe import probe_folder
from osiris.training.qlora import train_qlora
from osiris.training.recipe import Recipe, load_recipe
from osiris.training.run import TrainResult


@dataclass
class StepReport:
    """What a step of the night did; `adapter` is what it published, or had published before."""

    step: str
    adapter: str | None = None
    rows: int = 0
    note: str = ""
    run_id: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def night_name(as_of: datetime) -> str:
    """The date of a night, YYYYMMDD."""
    return f"{as_of:%Y%m%d}"


def dataset_path(settings: Settings, as_of: datetime) -> Path:
    """Where the preference pairs of a night lie."""
    return settings.data / "datasets" / f"pairs-{night_name(as_of)}.jsonl"


def learn_from_feedback(
    advice: AdviceStore, shelf: AdapterShelf, tracking: Tracking, settings: Settings, since: datetime, as_of: datetime
) -> StepReport:
    """QLoRA on the ideas accepted in (since, as_of], from the served adapter -> `adapters/YYYYMMDD`."""
    name = night_name(as_of)
    try:
        rows = examples(advice, settings, since, as_of)
    except TooLittleData as error:
        return StepReport("qlora", note=str(error))
    data = settings.data / "datasets" / f"feedback-{name}.jsonl"
    data.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(data, "".join(json.dumps(row) + "\n" for row in rows))
    parent = shelf.serving(settings.gate.policy, as_of - timedelta(days=1)).name
    recipe = load_recipe(settings.training.sft_recipe, "sft")
    return _trained("qlora", name, parent, data, rows, recipe, train_qlora, shelf, tracking, settings, as_of)


def collect_pairs(advice: AdviceStore, settings: Settings, as_of: datetime) -> StepReport:
    """The preference pairs known at the night's cut-off -> `data/datasets/pairs-YYYYMMDD.jsonl`."""
    cutoff = gate.training_window(settings, as_of).cutoff
    try:
        about = write_dataset(dataset_path(settings, as_of), build_pairs(advice, settings, cutoff), cutoff)
    except TooLittleData as error:
        return StepReport("pairs", note=str(error))
    metrics = {f"pairs_{source}": float(count) for source, count in about["by_source"].items()}
    return StepReport("pairs", rows=about["pairs"], note=f"known at {about['cutoff']}", metrics=metrics)


def learn_from_outcomes(shelf: AdapterShelf, tracking: Tracking, settings: Settings, as_of: datetime) -> StepReport:
    """DPO on the night's pairs, from the night's QLoRA adapter, else the served one -> `adapters/YYYYMMDD-dpo`."""
    data = dataset_path(settings, as_of)
    if not data.exists():
        return StepReport("dpo", note="no pairs tonight; nothing is trained")
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    tonight = night_name(as_of)
    parent = (
        tonight
        if tonight in shelf.names(as_of)
        else shelf.serving(settings.gate.policy, as_of - timedelta(days=1)).name
    )
    recipe = load_recipe(settings.training.dpo_recipe, "dpo")
    return _trained("dpo", f"{tonight}-dpo", parent, data, rows, recipe, train_dpo, shelf, tracking, settings, as_of)


def judge_adapters(
    shelf: AdapterShelf, tracking: Tracking, models: ModelDesk, prices: PriceDesk, settings: Settings, as_of: datetime
) -> tuple[StepReport, list[gate.Evaluation]]:
    """Compare tonight's newest adapter with the one served before on held-out prompts, and record the verdict."""
    tonight = next((name for name in shelf.names(as_of) if name.startswith(night_name(as_of))), None)
    if tonight is None:
        return StepReport("compare", note="no adapter was made tonight; nothing to compare"), []
    before = shelf.serving(settings.gate.policy, as_of - timedelta(days=1))
    notes: list[str] = []
    window = gate.training_window(settings, as_of)
    shots = gate.held_out(prices, settings, window, notes)
    drafters: list[Drafter] = [models.serve(shelf.path(tonight)), models.serve(before.path)]
    evaluations = [gate.evaluate(drafter, shots, prices, settings, as_of) for drafter in drafters]
    verdict = gate.compare(*evaluations, settings)
    shelf.record_verdict(tonight, verdict.as_dict() | {"as_of": as_of.isoformat()})
    metrics = {f"heldout_{name}": value for name, value in evaluations[0].metrics().items()}
    metrics |= {"gate_p_value": verdict.p_value} if verdict.p_value is not None else {}
    tracking.log_verdict(tonight, metrics, verdict.as_dict())
    served = settings.gate.policy == "newest" or verdict.promoted
    note = f"{verdict.reason}; {'served' if served else 'not served'} (gate.policy = {settings.gate.policy})"
    report = StepReport("compare", tonight, len(shots), "; ".join([note, *notes]), metrics=metrics)
    return report, evaluations


def _trained(
    step: str,
    name: str,
    parent: str | None,
    data: Path,
    rows: list[dict[str, str]],
    recipe: Recipe,
    train: Callable[..., TrainResult],
    shelf: AdapterShelf,
    tracking: Tracking,
    settings: Settings,
    as_of: datetime,
) -> StepReport:
    note, result = "published before; nothing changed", None
    if name not in shelf.names():
        card: dict[str, Any] = {
            "parent": parent or BASE,
            "data_hash": stable_hash(data.read_text(encoding="utf-8")),
            "recipe": recipe.name,
            "recipe_hash": recipe.hash,
            "as_of": as_of,
        }
        with tempfile.TemporaryDirectory(dir=settings.data) as scratch:
            out = Path(scratch) / name
            result = train(settings, rows, shelf.path(parent) if parent else None, out, recipe, settings.model.seed)
            probe_folder(settings, out)
            shelf.publish(name, out, card)
        note = f"from {parent or BASE}"
    metrics, history = _numbers(result) if result else ({}, [])
    logged = tracking.log_adapter(
        name, step, shelf.validate(name).model_dump(), recipe.params(), history, metrics, data, None, shelf.path(name),
        tracking.night(night_name(as_of)),
    )  # fmt: skip
    return StepReport(step, name, len(rows), note, logged.run_id, metrics, history)


def _numbers(result: TrainResult) -> tuple[dict[str, float], list[dict[str, float]]]:
    metrics = {f"{when}/{key}": value for when in ("before", "after") for key, value in getattr(result, when).items()}
    counts = {"rows": result.rows, "seconds": result.seconds, "tensors_changed": result.tensors_changed}
    return metrics | {key: float(value) for key, value in counts.items()}, result.history


def as_json(report: StepReport) -> dict[str, Any]:
    """A step's report without its curves."""
    return {key: value for key, value in asdict(report).items() if key != "history"}
