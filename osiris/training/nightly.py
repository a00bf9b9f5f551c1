"""The steps of the night that train: feedback to QLoRA, outcomes to pairs, pairs to DPO.

All go by the night as it began (`loop/night_facts.py`). A step that has too little data says so and publishes nothing;
the next night takes it up. A step that was done before (the same date) changes nothing: a published adapter is never
made again.
"""

import hashlib
import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from osiris.adapters.mlflow_runs import Tracking
from osiris.adapters.probe import probe_folder
from osiris.adapters.registry import AdapterShelf
from osiris.config.settings import Settings
from osiris.core.clock import parse_moment
from osiris.core.errors import BadInput, TooLittleData
from osiris.evaluation import heldout
from osiris.llm.loader import BASE, load_drafter
from osiris.storage.advice import AdviceStore
from osiris.training.behaviour import behaviour, failure
from osiris.training.datasets import Accepted, build_lessons, dataset_of, told_of, write_dataset
from osiris.training.learned import learned_before
from osiris.training.mlflow_sync import CANNOT, log_adapter, not_logged
from osiris.training.night_facts import Night, begin_night, night_name
from osiris.training.pairs import examples, never
from osiris.training.recipe import Recipe, load_recipe
from osiris.training.run import TrainResult
from osiris.training.stored_replies import words_of
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


def dataset_path(settings: Settings, as_of: datetime) -> Path:
    """Where the preference pairs of a night lie."""
    return dataset_of(settings, f"{night_name(as_of)}-dpo")


def read_pairs(settings: Settings, as_of: datetime) -> pd.DataFrame:
    """The preference pairs of a night as they are trained on, a row a pair; empty without any."""
    path = dataset_path(settings, as_of)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return pd.DataFrame([json.loads(line) for line in lines])


def since_when(since: str) -> datetime | None:
    """From when on feedback is learned from: the moment `since` (ISO 8601); `None` for all that nobody learned from."""
    return parse_moment(since) if since else None


def learn_from_feedback(
    advice: AdviceStore,
    shelf: AdapterShelf,
    tracking: Tracking,
    settings: Settings,
    since: datetime | None,
    as_of: datetime,
) -> StepReport:
    """QLoRA on the ideas accepted until the night began, from the adapter served then -> `adapters/YYYYMMDD`.

    They are those that no adapter has learned from, or all since `since`. The adapter knows what their reviewers knew:
    all days until the last of their decisions.
    """
    night = begin_night(shelf, settings, as_of)
    data, notes = dataset_of(settings, night.name), []
    lesson = Lesson("qlora", night.name, data, night.as_of, night)
    recipe = load_recipe(settings.training.sft_recipe, "sft")
    if night.name not in shelf.names():
        learned = never if since else learned_before(shelf, settings, night, notes)
        try:
            rows, left_out = examples(advice, settings, since, night.as_of, learned)
        except TooLittleData as error:
            return StepReport("qlora", note="; ".join([str(error), *notes]))
        lessons = [Accepted(row["prompt"], row["taught"], row["id"]) for row in rows]
        write_dataset(data, lessons, night.as_of, "feedback", left_out)
        until = max(max(row["as_of"], row["status_at"]) for row in rows)
        lesson = Lesson("qlora", night.name, data, until, night)
        notes += [left_out] if left_out else []
    return _teach(lesson, night.champion, recipe, shelf, tracking, settings, notes)


def preference_recipe(settings: Settings, name: str = "") -> Recipe:
    """The recipe of steps 05 and 06: `name` (of recipes/, or a YAML file), where it is empty `training.dpo_recipe`."""
    return load_recipe(name or settings.training.dpo_recipe, "dpo", "kto", "sft")


def collect_pairs(
    advice: AdviceStore, shelf: AdapterShelf, settings: Settings, as_of: datetime, recipe: str = ""
) -> StepReport:
    """What the recipe learns from, known at the night's cut-off -> `data/datasets/pairs-YYYYMMDD.jsonl`.

    Once an adapter was trained on it, it stays as it is: the adapter's card and lineage speak of it.
    """
    night, data = begin_night(shelf, settings, as_of), preference_recipe(settings, recipe).data
    cutoff, path = heldout.training_window(settings, night.as_of).cutoff, dataset_path(settings, night.as_of)
    if f"{night.name}-dpo" in shelf.names():
        about = told_of(path)
        if about is None:
            return StepReport("pairs", note=f"trained before; what {night.name}-dpo was trained on is not in {path}")
    else:
        left_out: Counter[str] = Counter()
        try:
            lessons = build_lessons(advice, settings, cutoff, data, left_out)
        except TooLittleData as error:
            return StepReport("pairs", note=str(error))
        about = write_dataset(path, lessons, cutoff, data, words_of(left_out))
    metrics = {f"pairs_{source}": float(count) for source, count in about["by_source"].items()}
    note = "; ".join(filter(None, [f"known at {about['cutoff']}", about["left_out"]]))
    return StepReport("pairs", rows=about["pairs"], note=note, metrics=metrics)


def learn_from_outcomes(
    shelf: AdapterShelf, tracking: Tracking, settings: Settings, as_of: datetime, recipe: str = ""
) -> StepReport:
    """Train by the recipe (DPO) on the night's dataset -> `adapters/YYYYMMDD-dpo`.

    It begins from the night's QLoRA adapter, else from the one served when the night began. Raises `BadInput` for a
    dataset that was made for another kind of recipe, or was changed since.
    """
    night = begin_night(shelf, settings, as_of)
    data, name = dataset_path(settings, night.as_of), f"{night.name}-dpo"
    if name in shelf.names():
        return _teach(Lesson("dpo", name, data, night.as_of, night), None, None, shelf, tracking, settings, [])
    about = told_of(data)
    if about is None:
        return StepReport("dpo", note="no pairs tonight; nothing is trained")
    asked = preference_recipe(settings, recipe)
    if asked.data != about["data"]:
        raise BadInput(
            f"a dataset of kind {asked.data}", f"one of kind {about['data']}", "run page 05 with this recipe first"
        )
    taught = night.name in shelf.names(night.as_of) and not shelf.validate(night.name).failed
    lesson = Lesson("dpo", name, data, parse_moment(about["cutoff"]), night)
    return _teach(lesson, night.name if taught else night.champion, asked, shelf, tracking, settings, [])


@dataclass(frozen=True)
class Lesson:
    """What an adapter is to be trained on: a JSONL file of what was known at `until`, outcomes and decisions alike."""

    step: str
    name: str
    data: Path
    until: datetime
    night: Night


def _teach(
    lesson: Lesson,
    parent: str | None,
    recipe: Recipe | None,
    shelf: AdapterShelf,
    tracking: Tracking,
    settings: Settings,
    notes: list[str],
) -> StepReport:
    """Train and publish unless that was done before, then log it: the card keeps what a killed run could not log."""
    done = lesson.name in shelf.names()
    if recipe and not done:
        _train_and_publish(lesson, parent, recipe, shelf, settings)
    card = shelf.validate(lesson.name).model_dump()
    told = ["published before; nothing changed" if done else f"from {card['parent']}"]
    told += [f"failed, and never served: {card['failed']}"] if card["failed"] else []
    run_id = None
    try:
        run_id = log_adapter(shelf, tracking, settings, lesson.name)
    except CANNOT as error:  # it is trained and published: the next night tells MLflow
        told.append(not_logged(error))
    rows, metrics, history = int(card["metrics"]["rows"]), card["metrics"], card["history"]
    return StepReport(lesson.step, lesson.name, rows, "; ".join([*told, *notes]), run_id, metrics, history)


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
            "params": json.loads(json.dumps(recipe.params())),
            "as_of": lesson.night.as_of,
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
