"""The dataset of a night: what the recipe's method is shown of the outcomes known at the cut-off.

`like`: pairs of like reward-to-risk, for methods that compare two replies (`loop/pairs.py`). `ranked`: couples of one
prompt, drawn the more often the farther their R lie apart, so that what is learned is R itself. `unpaired`: single
replies, good or bad, as many of either at each reward-to-risk, for KTO. `winners`: the good ones of those, to imitate.
"""

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from osiris.config.settings import Settings
from osiris.core.errors import BadInput, TooLittleData
from osiris.core.files import write_atomically
from osiris.core.ideas import ExitReason
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import sql_time
from osiris.training.pairs import (
    BARRIER_EXITS,
    PAIR_COLUMNS,
    Pair,
    Row,
    build_pairs,
    group_by_prompt,
    is_settled,
    reward_to_risk,
)
from osiris.training.recipe import DataKind
from osiris.training.stored_replies import describe_left_out, select_trainable

MAX_PAIRS_PER_PROMPT = 2


@dataclass(frozen=True)
class UnpairedReply:
    """One reply, good (`label`) or bad."""

    prompt: str
    reply: str
    label: bool
    id: str

    @property
    def line(self) -> dict[str, Any]:
        """What is trained on."""
        return {"prompt": self.prompt, "reply": self.reply, "label": self.label}

    @property
    def lineage(self) -> dict[str, str]:
        """Where it comes from."""
        return {"source": "winner" if self.label else "loser", "id": self.id}


@dataclass(frozen=True)
class AcceptedReply:
    """A reply that a person approved or edited."""

    prompt: str
    reply: str
    id: str

    @property
    def line(self) -> dict[str, str]:
        """What is trained on."""
        return {"prompt": self.prompt, "reply": self.reply}

    @property
    def lineage(self) -> dict[str, str]:
        """Where it comes from."""
        return {"source": "feedback", "id": self.id}


def build_dataset(
    advice: AdviceStore, settings: Settings, cutoff: datetime, data_kind: DataKind, left_out: Counter[str] | None = None
) -> list[Pair] | list[UnpairedReply]:
    """What there is to learn at `cutoff`; `left_out` counts the ideas that cannot teach, by their reason.

    Raises `TooLittleData` below `training.min_pairs`.
    """
    left_out = Counter() if left_out is None else left_out
    stored = advice.rows(f"as_of <= {sql_time(cutoff)}", PAIR_COLUMNS)
    rows = select_trainable(stored, left_out)
    build: dict[DataKind, Callable[[], list[Any]]] = {
        "like": lambda: build_pairs(rows, advice, settings, cutoff),
        "ranked": lambda: build_ranked_pairs(rows, cutoff),
        "unpaired": lambda: build_unpaired(rows, cutoff),
        "winners": lambda: [single for single in build_unpaired(rows, cutoff) if single.label],
    }
    found = build[data_kind]()
    if len(found) < settings.training.min_pairs:
        raise TooLittleData(
            f"at least {settings.training.min_pairs} preferences known at {cutoff.isoformat()}",
            "; ".join(filter(None, [f"{len(found)} from {len(stored)} ideas", describe_left_out(left_out)])),
            "nothing is trained; the next night takes it up",
        )
    return found


def build_ranked_pairs(rows: Sequence[Row], cutoff: datetime) -> list[Pair]:
    """Up to `RANKED_PER_PROMPT` couples a prompt, the better reply by R multiple first; drawn by prompt."""
    pairs = []
    for prompt, candidates in group_by_prompt(rows).items():
        ended = [row for row in candidates if is_settled(row, cutoff) and _has_r(row)]
        pairings = [
            (one, other)
            for one, other in product(ended, ended)
            if one["r_multiple"] > other["r_multiple"] and one["taught"] != other["taught"]
        ]
        if pairings:
            r_gaps = np.array([one["r_multiple"] - other["r_multiple"] for one, other in pairings])
            rng = np.random.default_rng(int(prompt[:16], 16))
            drawn = rng.choice(
                len(pairings), min(MAX_PAIRS_PER_PROMPT, len(pairings)), replace=False, p=r_gaps / r_gaps.sum()
            )
            pairs += [_ranked(*pairings[number]) for number in sorted(drawn)]
    return pairs


def build_unpaired(rows: Sequence[Row], cutoff: datetime) -> list[UnpairedReply]:
    """Replies that hit their target or their stop, as many of either at each reward-to-risk, in the order of their ids.

    Otherwise a near target would be good for being near.
    """
    by_ratio: dict[float, dict[bool, list[UnpairedReply]]] = defaultdict(lambda: {True: [], False: []})
    for row in sorted(rows, key=lambda row: row["id"]):
        if is_settled(row, cutoff) and row["exit_reason"] in BARRIER_EXITS:
            single = UnpairedReply(row["prompt"], row["taught"], row["exit_reason"] == ExitReason.TARGET, row["id"])
            by_ratio[round(reward_to_risk(row), 2)][single.label].append(single)
    kept = [
        single
        for both in by_ratio.values()
        for group in both.values()
        for single in group[: min(len(both[True]), len(both[False]))]
    ]
    return sorted(kept, key=lambda single: single.id)


def write_dataset(
    path: Path,
    examples: Sequence[Pair | UnpairedReply | AcceptedReply],
    cutoff: datetime,
    data_kind: DataKind | Literal["feedback"],
    left_out: str = "",
) -> dict[str, Any]:
    """Write the JSONL and, beside it, a JSON with its hash, its kind, counts, cut-off and the ideas of each line.

    `left_out` says in words what ideas could not teach.
    """
    text = "".join(json.dumps(lesson.line) + "\n" for lesson in examples)
    sources = [lesson.lineage["source"] for lesson in examples]
    metadata = {
        "dataset": path.name,
        "data": data_kind,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "pairs": len(examples),
        "by_source": {source: sources.count(source) for source in sorted(set(sources))},
        "cutoff": cutoff.isoformat(),
        "left_out": left_out,
        "lineage": [lesson.lineage for lesson in examples],
    }
    write_atomically(path, text)
    write_atomically(path.with_suffix(".json"), json.dumps(metadata, indent=1))
    return metadata


def dataset_file(settings: Settings, adapter: str) -> Path:
    """Where the JSONL lies that an adapter of this name is trained on."""
    kind = "pairs" if adapter.endswith("-dpo") else "feedback"
    return settings.data / "datasets" / f"{kind}-{adapter[:8]}.jsonl"


class DatasetMetadata(BaseModel):
    """What `write_dataset` wrote beside a JSONL, as later steps need it."""

    model_config = ConfigDict(extra="allow")

    dataset: str
    data: str = "like"
    sha256: str
    pairs: int
    by_source: dict[str, int]
    cutoff: AwareDatetime
    left_out: str = ""
    lineage: list[dict[str, str]]


def read_metadata(dataset: Path) -> dict[str, Any] | None:
    """What `write_dataset` wrote beside a JSONL, checked against it; `None` where that is not there.

    Raises `BadInput` where either was changed, cut or lost since.
    """
    path, remedy = dataset.with_suffix(".json"), "restore both from a backup"
    try:
        metadata = DatasetMetadata.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadInput(f"what is told of a dataset in {path}", error.errors()[0]["msg"], remedy) from error
    try:
        content = dataset.read_bytes()
    except OSError as error:
        raise BadInput(f"the dataset {dataset}", error.strerror or str(error), remedy) from error
    came = hashlib.sha256(content).hexdigest()
    if came != metadata.sha256:
        raise BadInput(f"the dataset {dataset} with sha256 {metadata.sha256[:12]}", came[:12], remedy)
    lines = content.count(b"\n")
    if not len(metadata.lineage) == metadata.pairs == lines:
        counts = f"{len(metadata.lineage)} and {metadata.pairs}"
        raise BadInput(f"{path} to tell of the {lines} lines of its dataset", counts, remedy)
    return metadata.model_dump() | {"cutoff": metadata.cutoff.isoformat()}


def _ranked(good: Row, bad: Row) -> Pair:
    return Pair(good["prompt"], good["taught"], bad["taught"], "ranked", good["id"], bad["id"])


def _has_r(row: Row) -> bool:
    return row["r_multiple"] is not None and math.isfinite(row["r_multiple"])
