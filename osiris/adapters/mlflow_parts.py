"""Conversions for MLflow: a dataset, metrics, and the Markdown description of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from osiris.core.errors import BadInput


def load_dataset_input(path: Path, name: str) -> Any:
    """The JSONL that an adapter was trained on, as a dataset input of its run; raises `BadInput` without rows."""
    import pandas as pd
    from mlflow.data.pandas_dataset import from_pandas

    # mlflow makes this class while it is imported, where mypy cannot see it
    from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
    from mlflow.entities import DatasetInput, InputTag

    try:
        rows = pd.read_json(path, lines=True, dtype=False)
    except (ValueError, FileNotFoundError) as error:
        raise BadInput("the JSONL that the adapter was trained on", f"{error} in {path}", "train again") from error
    if rows.empty:
        raise BadInput("a dataset of at least one row", f"an empty {path}", "train again")
    dataset = from_pandas(rows, source=LocalArtifactDatasetSource(str(path)), name=name)
    return DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])


def to_mlflow_metrics(
    history: Sequence[Mapping[str, float]], metrics: Mapping[str, float], timestamp_ms: int, step: int = 0
) -> list[Any]:
    """The points of the curves in `history` (a dict for each step), and those of `metrics` at `step`.

    All carry `timestamp_ms`, milliseconds since 1970.
    """
    from mlflow.entities import Metric

    curves = [(key, value, int(entry["step"])) for entry in history for key, value in entry.items() if key != "step"]
    curves += [(key, value, step) for key, value in metrics.items()]
    return [Metric(key, float(value), timestamp_ms, number) for key, value, number in curves]


def describe_adapter(name: str, card: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> str:
    """The origin of an adapter and the verdict of the gate on it, in Markdown."""
    paragraphs = [f"**{name}**, trained from {card['parent']} by recipe {card['recipe']}, at {card['as_of']}."]
    if card["failed"]:
        paragraphs.append(f"**Its training failed**, and it is never served: {card['failed']}.")
    if verdict is None:
        return "\n\n".join([*paragraphs, "The gate has not decided yet."])
    decision = "Promoted" if verdict["promoted"] else "Not promoted"
    paragraphs.append(f"**{decision}** over {verdict['champion']}: {verdict['reason']}.")
    metric_keys = sorted({key for metrics in verdict["metrics"].values() for key in metrics})
    lines = [["held out", *verdict["metrics"]], ["---"] + ["---:"] * len(verdict["metrics"])]
    lines += [[key, *(_number(metrics.get(key)) for metrics in verdict["metrics"].values())] for key in metric_keys]
    return "\n\n".join([*paragraphs, "\n".join(f"| {' | '.join(line)} |" for line in lines)])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if float(value).is_integer() else f"{value:.3f}"
