"""The training steps of a nightly run: feedback to QLoRA, outcomes to pairs, pairs to DPO.

All steps use the facts that were fixed when the run began (`osiris/training/nightly_run.py`). A step with too little
data reports that and publishes nothing; the next nightly run tries again. A step that was done before for the same date
changes nothing: a published adapter is never trained again.
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
from osiris.adapters.probe import load_and_probe
from osiris.adapters.registry import AdapterRegistry
from osiris.config.settings import Settings
from osiris.core.clock import parse_moment
from osiris.core.errors import BadInput, TooLittleData
from osiris.core.run_log import collect_warnings
from osiris.evaluation import heldout
from osiris.llm.loader import BASE_ADAPTER, load_drafter
from osiris.storage.advice import AdviceStore
from osiris.training.behaviour import failure_reason, measure_behaviour
from osiris.training.datasets import AcceptedReply, build_dataset, dataset_file, read_metadata, write_dataset
from osiris.training.learned_decisions import build_learned_filter
from osiris.training.methods import train_adapter
from osiris.training.mlflow_sync import LOGGING_ERRORS, log_adapter, not_logged_note
from osiris.training.nightly_run import NightlyRun, begin_nightly_run, nightly_date
from osiris.training.pairs import load_accepted_ideas, nothing_learned
from osiris.training.recipe import Method, Recipe, load_recipe, load_recipe_header
from osiris.training.run import TrainingOptions, TrainResult
from osiris.training.stored_replies import describe_left_out

PREFERENCE_METHODS: tuple[Method, ...] = ("dpo", "kto", "sft")
"""What steps 05 and 06 may train by."""


@dataclass
class StepReport:
    """The result of a step of the nightly run; `adapter` is what it published, now or before."""

    step: str
    adapter: str | None = None
    rows: int = 0
    note: str = ""
    run_id: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def pairs_file(settings: Settings, as_of: datetime) -> Path:
    """The path of a nightly run's preference pairs."""
    return dataset_file(settings, f"{nightly_date(as_of)}-dpo")


def read_pairs(settings: Settings, as_of: datetime) -> pd.DataFrame:
    """The preference pairs of a nightly run as they are trained on, one row for each; empty if there are none."""
    path = pairs_file(settings, as_of)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return pd.DataFrame([json.loads(line) for line in lines])


def parse_since(since: str) -> datetime | None:
    """Parse the moment (ISO 8601) from which on feedback is learned from.

    An empty text gives `None`: all feedback that no adapter has learned from.
    """
    return parse_moment(since) if since else None


def learn_from_feedback(
    advice: AdviceStore,
    registry: AdapterRegistry,
    tracking: Tracking,
    settings: Settings,
    since: datetime | None,
    as_of: datetime,
) -> StepReport:
    """Train by QLoRA on accepted ideas, from the adapter served as the nightly run began -> `adapters/YYYYMMDD`.

    The ideas were accepted before the run began, and no adapter has learned from them; with `since`, they are all that
    were accepted after that moment. The adapter counts as knowing all days until the last decision on them, because the
    reviewers knew those days.
    """
    nightly_run = begin_nightly_run(registry, settings, as_of)
    dataset = dataset_file(settings, nightly_run.name)
    until, recipe, notes = nightly_run.as_of, None, list[str]()
    if nightly_run.name not in registry.names():
        load_recipe_header(settings.training.sft_recipe, "sft")
        with collect_warnings() as notes:
            learned = nothing_learned if since else build_learned_filter(registry, settings, nightly_run)
        try:
            rows, left_out = load_accepted_ideas(advice, settings, since, nightly_run.as_of, learned)
        except TooLittleData as error:
            return StepReport("qlora", note="; ".join([str(error), *notes]))
        examples = [
            AcceptedReply(row["prompt"], row["trained_reply"], row["id"], row["prompt_version"]) for row in rows
        ]
        write_dataset(dataset, examples, nightly_run.as_of, "feedback", left_out)
        until = max(max(row["as_of"], row["status_at"]) for row in rows)
        recipe = load_recipe(settings.training.sft_recipe, "sft")
        notes += [left_out] if left_out else []
    task = TrainingTask("qlora", nightly_run.name, dataset, until, nightly_run, nightly_run.champion, recipe)
    return _train_once(task, registry, tracking, settings, notes)


def collect_pairs(
    advice: AdviceStore, registry: AdapterRegistry, settings: Settings, as_of: datetime, recipe: str = ""
) -> StepReport:
    """Write the recipe's examples known at the cut-off -> `data/datasets/pairs-YYYYMMDD.jsonl`.

    `recipe` is a name of recipes/ or a YAML file (default: `training.dpo_recipe`), as in `learn_from_outcomes`.
    Once an adapter was trained on that file, it is never written again: the adapter's card and lineage refer to it.
    """
    nightly_run = begin_nightly_run(registry, settings, as_of)
    data_kind = load_recipe_header(recipe or settings.training.dpo_recipe, *PREFERENCE_METHODS).data
    cutoff = heldout.training_window(settings, nightly_run.as_of).cutoff
    path = pairs_file(settings, nightly_run.as_of)
    if f"{nightly_run.name}-dpo" in registry.names():
        metadata = read_metadata(path)
        if metadata is None:
            return StepReport(
                "pairs", note=f"trained before; what {nightly_run.name}-dpo was trained on is not in {path}"
            )
    else:
        left_out: Counter[str] = Counter()
        try:
            examples = build_dataset(advice, settings, cutoff, data_kind, left_out)
        except TooLittleData as error:
            return StepReport("pairs", note=str(error))
        metadata = write_dataset(path, examples, cutoff, data_kind, describe_left_out(left_out))
    metrics = {f"pairs_{source}": float(count) for source, count in metadata["by_source"].items()}
    note = "; ".join(filter(None, [f"known at {metadata['cutoff']}", metadata["left_out"]]))
    return StepReport("pairs", rows=metadata["pairs"], note=note, metrics=metrics)


def learn_from_outcomes(
    registry: AdapterRegistry, tracking: Tracking, settings: Settings, as_of: datetime, recipe: str = ""
) -> StepReport:
    """Train by the recipe (usually DPO) on the nightly run's dataset -> `adapters/YYYYMMDD-dpo`.

    The training starts from the run's own QLoRA adapter, else from the one served when the run began. Raises `BadInput`
    for a dataset that was made for another kind of recipe, or was changed since.
    """
    nightly_run = begin_nightly_run(registry, settings, as_of)
    dataset, name = pairs_file(settings, nightly_run.as_of), f"{nightly_run.name}-dpo"
    if name in registry.names():
        task = TrainingTask("dpo", name, dataset, nightly_run.as_of, nightly_run)
        return _train_once(task, registry, tracking, settings, [])
    metadata = read_metadata(dataset)
    if metadata is None:
        return StepReport("dpo", note="no pairs in this nightly run; nothing is trained")
    chosen_recipe = load_recipe(recipe or settings.training.dpo_recipe, *PREFERENCE_METHODS)
    if chosen_recipe.data != metadata["data"]:
        raise BadInput(
            f"a dataset of kind {chosen_recipe.data}",
            f"one of kind {metadata['data']}",
            "run notebook 05 with this recipe first",
        )
    has_new_parent = (
        nightly_run.name in registry.names(nightly_run.as_of) and not registry.validate(nightly_run.name).failed
    )
    parent = nightly_run.name if has_new_parent else nightly_run.champion
    cutoff = parse_moment(metadata["cutoff"])
    task = TrainingTask("dpo", name, dataset, cutoff, nightly_run, parent, chosen_recipe)
    return _train_once(task, registry, tracking, settings, [])


@dataclass(frozen=True)
class TrainingTask:
    """An adapter to train: its name, its dataset (JSONL), and the adapter and recipe that it starts from.

    The dataset holds outcomes and decisions that were known at `until`. `parent` is `None` for the plain base. A task
    without a recipe only logs an adapter that was published before.
    """

    step: str
    name: str
    dataset: Path
    until: datetime
    nightly_run: NightlyRun
    parent: str | None = None
    recipe: Recipe | None = None


def _train_once(
    task: TrainingTask, registry: AdapterRegistry, tracking: Tracking, settings: Settings, notes: list[str]
) -> StepReport:
    """Train and publish unless that was done before, then log the adapter.

    Everything that is logged comes from the card of the published adapter. So a run that was killed before it logged
    can log later.
    """
    done = task.name in registry.names()
    if task.recipe and not done:
        _train_and_publish(task, task.recipe, registry, settings)
    card = registry.validate(task.name).model_dump()
    messages = ["published before; nothing changed" if done else f"from {card['parent']}"]
    messages += [f"failed, and never served: {card['failed']}"] if card["failed"] else []
    run_id = None
    try:
        run_id = log_adapter(registry, tracking, settings, task.name)
    except LOGGING_ERRORS as error:  # the adapter is trained and published: the next nightly run logs it
        messages.append(not_logged_note(error))
    rows, metrics, history = int(card["metrics"]["rows"]), card["metrics"], card["history"]
    return StepReport(task.step, task.name, rows, "; ".join([*messages, *notes]), run_id, metrics, history)


def _train_and_publish(task: TrainingTask, recipe: Recipe, registry: AdapterRegistry, settings: Settings) -> None:
    text = task.dataset.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    parent = task.parent
    inherited, parent_folder = (
        ([registry.validate(parent).knowledge_cutoff], registry.path(parent)) if parent else ([], None)
    )
    with tempfile.TemporaryDirectory(dir=settings.data) as scratch:
        out = Path(scratch) / task.name
        result = train_adapter(settings, rows, TrainingOptions(parent_folder, out, recipe, settings.model.seed))
        drafters = load_drafter(settings, parent_folder), load_and_probe(settings, out)
        metrics, history = _combine_metrics(
            result, *(measure_behaviour(drafter, rows, settings) for drafter in drafters)
        )
        card = {
            "parent": parent or BASE_ADAPTER,
            "data_hash": hashlib.sha256(text.encode()).hexdigest(),
            "recipe": recipe.name,
            "recipe_hash": recipe.hash,
            "params": json.loads(json.dumps(recipe.to_params())),
            "prompt_versions": ", ".join(sorted((read_metadata(task.dataset) or {}).get("prompt_versions", {}))),
            "weights": result.weights,
            "as_of": task.nightly_run.as_of,
            "trained_until": max([task.until, *inherited]),
            "failed": failure_reason(metrics, settings),
            "metrics": metrics,
            "history": history,
        }
        registry.publish(task.name, out, card)


def _combine_metrics(
    result: TrainResult, before: dict[str, float], after: dict[str, float]
) -> tuple[dict[str, float], list[dict[str, float]]]:
    parts = {"before": result.before | before, "after": result.after | after}
    metrics = {f"{when}/{key}": value for when, part in parts.items() for key, value in part.items()}
    counts = {"rows": result.rows, "seconds": result.seconds, "tensors_changed": result.tensors_changed}
    return metrics | {key: float(value) for key, value in counts.items()}, result.history


def report_to_dict(report: StepReport) -> dict[str, Any]:
    """A step's report without its curves."""
    return {key: value for key, value in asdict(report).items() if key != "history"}
