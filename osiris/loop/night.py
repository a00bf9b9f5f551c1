"""The steps of the night that train: feedback to QLoRA, outcomes to pairs, pairs to DPO.

A step that has too little data says so and publishes nothing; the next night takes it up. A step that was done before
(the same date) changes nothing: a published adapter is never made again.
"""

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from osiris.adapters import AdapterShelf
from osiris.clock import parse_moment
from osiris.errors import BadInput, TooLittleData
from osiris.llm.loader import BASE, load_drafter
from osiris.loop import gate
from osiris.loop.lessons import Accepted, build_lessons, dataset_of, told_of, write_dataset
from osiris.loop.pairs import examples
from osiris.settings import Settings
from osiris.store.advice import AdviceStore
from osiris.tracking import Tracking
from osiris.training.behaviour import behaviour, failure
from osiris.training.probe import probe_folder
from osiris.training.recipe import Recipe, load_recipe
from osiris.training.run import TrainResult
from osiris.training.train import train


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
    return dataset_of(settings, f"{night_name(as_of)}-dpo")


def read_pairs(settings: Settings, as_of: datetime) -> pd.DataFrame:
    """The preference pairs of a night as they are trained on, a row a pair; empty without any."""
    path = dataset_path(settings, as_of)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return pd.DataFrame([json.loads(line) for line in lines])


def since_when(since: str, as_of: datetime) -> datetime:
    """From when on feedback is learned from: the moment `since` (ISO 8601), or the last 24 hours where it is empty."""
    return parse_moment(since) if since else as_of - timedelta(hours=24)


def learn_from_feedback(
    advice: AdviceStore, shelf: AdapterShelf, tracking: Tracking, settings: Settings, since: datetime, as_of: datetime
) -> StepReport:
    """QLoRA on the ideas accepted in (since, as_of], from the served adapter -> `adapters/YYYYMMDD`."""
    try:
        rows = examples(advice, settings, since, as_of)
    except TooLittleData as error:
        return StepReport("qlora", note=str(error))
    data = dataset_of(settings, night_name(as_of))
    if night_name(as_of) not in shelf.names():
        lessons = [Accepted(row["prompt"], row["reply"], row["id"]) for row in rows]
        write_dataset(data, lessons, as_of, "feedback")
    lesson = Lesson("qlora", night_name(as_of), data, max(row["as_of"] for row in rows), as_of)
    recipe = load_recipe(settings.training.sft_recipe, "sft")
    return _teach(lesson, served_before(shelf, settings, as_of), recipe, shelf, tracking, settings)


def preference_recipe(settings: Settings, name: str = "") -> Recipe:
    """The recipe of steps 05 and 06: `name` (of recipes/, or a YAML file), where it is empty `training.dpo_recipe`."""
    return load_recipe(name or settings.training.dpo_recipe, "dpo", "kto", "sft")


def collect_pairs(
    advice: AdviceStore, shelf: AdapterShelf, settings: Settings, as_of: datetime, recipe: str = ""
) -> StepReport:
    """What the recipe learns from, known at the night's cut-off -> `data/datasets/pairs-YYYYMMDD.jsonl`.

    Once an adapter was trained on it, it stays as it is: the adapter's card and lineage speak of it.
    """
    cutoff, data = gate.training_window(settings, as_of).cutoff, preference_recipe(settings, recipe).data
    path = dataset_path(settings, as_of)
    if f"{night_name(as_of)}-dpo" in shelf.names():
        about = told_of(path)
    else:
        try:
            about = write_dataset(path, build_lessons(advice, settings, cutoff, data), cutoff, data)
        except TooLittleData as error:
            return StepReport("pairs", note=str(error))
    metrics = {f"pairs_{source}": float(count) for source, count in about["by_source"].items()}
    return StepReport("pairs", rows=about["pairs"], note=f"known at {about['cutoff']}", metrics=metrics)


def learn_from_outcomes(
    shelf: AdapterShelf, tracking: Tracking, settings: Settings, as_of: datetime, recipe: str = ""
) -> StepReport:
    """Train by the recipe (DPO) on the night's dataset -> `adapters/YYYYMMDD-dpo`.

    It begins from the night's QLoRA adapter, else from the served one. Raises `BadInput` for a dataset that was made
    for another kind of recipe.
    """
    data, tonight = dataset_path(settings, as_of), night_name(as_of)
    about = told_of(data)
    if about is None:
        return StepReport("dpo", note="no pairs tonight; nothing is trained")
    taught = tonight in shelf.names(as_of) and not shelf.validate(tonight).failed
    parent = tonight if taught else served_before(shelf, settings, as_of)
    lesson = Lesson("dpo", f"{tonight}-dpo", data, gate.training_window(settings, as_of).cutoff, as_of)
    asked = preference_recipe(settings, recipe)
    if asked.data != about["data"]:
        raise BadInput(
            f"a dataset of kind {asked.data}", f"one of kind {about['data']}", "run page 05 with this recipe first"
        )
    return _teach(lesson, parent, asked, shelf, tracking, settings)


def served_before(shelf: AdapterShelf, settings: Settings, as_of: datetime) -> str | None:
    """The adapter that was served before the night at `as_of`; `None` for the plain base."""
    return shelf.serving(settings.gate.policy, as_of - timedelta(days=1)).name


@dataclass(frozen=True)
class Lesson:
    """What an adapter is to be trained on: a JSONL file whose prompts and outcomes end at `until`."""

    step: str
    name: str
    data: Path
    until: datetime
    as_of: datetime


def _teach(
    lesson: Lesson,
    parent: str | None,
    recipe: Recipe,
    shelf: AdapterShelf,
    tracking: Tracking,
    settings: Settings,
) -> StepReport:
    """Train and publish unless that was done before, then log it: the card keeps what a killed run could not log."""
    done = lesson.name in shelf.names()
    if not done:
        _train_and_publish(lesson, parent, recipe, shelf, settings)
    card = shelf.validate(lesson.name).model_dump()
    rows, metrics, history = int(card["metrics"]["rows"]), card["metrics"], card["history"]
    logged = tracking.log_adapter(
        lesson.name, lesson.step, card, recipe.params(), history, metrics, lesson.data, shelf.path(lesson.name),
        tracking.night(night_name(lesson.as_of)),
    )  # fmt: skip
    note = "published before; nothing changed" if done else f"from {card['parent']}"
    note += f"; failed, and never served: {card['failed']}" if card["failed"] else ""
    return StepReport(lesson.step, lesson.name, rows, note, logged.run_id, metrics, history)


def _train_and_publish(
    lesson: Lesson, parent: str | None, recipe: Recipe, shelf: AdapterShelf, settings: Settings
) -> None:
    text = lesson.data.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    inherited, begin = ([shelf.validate(parent).knows_until], shelf.path(parent)) if parent else ([], None)
    with tempfile.TemporaryDirectory(dir=settings.data) as scratch:
        out = Path(scratch) / lesson.name
        result = train(settings, rows, begin, out, recipe, settings.model.seed)
        drafters = load_drafter(settings, begin), probe_folder(settings, out)
        metrics, history = _numbers(result, *(behaviour(drafter, rows, settings) for drafter in drafters))
        card = {
            "parent": parent or BASE,
            "data_hash": hashlib.sha256(text.encode()).hexdigest(),
            "recipe": recipe.name,
            "recipe_hash": recipe.hash,
            "as_of": lesson.as_of,
            "trained_until": max([lesson.until, *inherited]),
            "failed": failure(metrics, settings),
            "metrics": metrics,
            "history": history,
        }
        shelf.publish(lesson.name, out, card)


def _numbers(
    result: TrainResult, before: dict[str, float], after: dict[str, float]
) -> tuple[dict[str, float], list[dict[str, float]]]:
    parts = {"before": result.before | before, "after": result.after | after}
    metrics = {f"{when}/{key}": value for when, part in parts.items() for key, value in part.items()}
    counts = {"rows": result.rows, "seconds": result.seconds, "tensors_changed": result.tensors_changed}
    return metrics | {key: float(value) for key, value in counts.items()}, result.history


def as_json(report: StepReport) -> dict[str, Any]:
    """A step's report without its curves."""
    return {key: value for key, value in asdict(report).items() if key != "history"}
