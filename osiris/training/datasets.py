"""The dataset of a nightly run: examples for the recipe's method, made from the outcomes known at the cut-off.

There are four kinds:

- `like`: pairs of similar reward-to-risk, for methods that compare two replies (`osiris/training/pairs.py`).
- `ranked`: pairs of one prompt. The farther their R multiples lie apart, the more often a pair is drawn, so that the
  model learns R itself.
- `unpaired`: single replies, good or bad, for KTO. At each reward-to-risk there are as many good ones as bad ones.
- `winners`: the good replies of `unpaired`, to imitate.
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
    make_pair,
    reward_to_risk,
)
from osiris.training.recipe import DataKind
from osiris.training.stored_replies import describe_left_out, select_trainable

UNKNOWN_VERSION = "unknown"
"""The version of a prompt that was stored before prompts had versions."""
MAX_PAIRS_PER_PROMPT = 2
"""The most `ranked` pairs of one prompt, so that a prompt with many candidates does not outweigh the rest."""


@dataclass(frozen=True)
class UnpairedReply:
    """One reply, good (`label`) or bad."""

    prompt: str
    reply: str
    label: bool
    id: str
    prompt_version: str | None = None

    @property
    def line(self) -> dict[str, Any]:
        """The line of the dataset."""
        return {"prompt": self.prompt, "reply": self.reply, "label": self.label}

    @property
    def lineage(self) -> dict[str, str]:
        """The source of the reply and the id of its idea."""
        return {"source": "winner" if self.label else "loser", "id": self.id}


@dataclass(frozen=True)
class AcceptedReply:
    """A reply that a person approved or edited."""

    prompt: str
    reply: str
    id: str
    prompt_version: str | None = None

    @property
    def line(self) -> dict[str, str]:
        """The line of the dataset."""
        return {"prompt": self.prompt, "reply": self.reply}

    @property
    def lineage(self) -> dict[str, str]:
        """The source of the reply and the id of its idea."""
        return {"source": "feedback", "id": self.id}


def build_dataset(
    advice: AdviceStore, settings: Settings, cutoff: datetime, data_kind: DataKind, left_out: Counter[str] | None = None
) -> list[Pair] | list[UnpairedReply]:
    """The examples known at `cutoff`; `left_out` counts the ideas that cannot be trained on, by reason.

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
    examples = build[data_kind]()
    if len(examples) < settings.training.min_pairs:
        raise TooLittleData(
            f"at least {settings.training.min_pairs} preferences known at {cutoff.isoformat()}",
            "; ".join(filter(None, [f"{len(examples)} from {len(stored)} ideas", describe_left_out(left_out)])),
            "nothing is trained; the next nightly run tries again",
        )
    return examples


def build_ranked_pairs(rows: Sequence[Row], cutoff: datetime) -> list[Pair]:
    """Up to `MAX_PAIRS_PER_PROMPT` pairs of each prompt; the reply with the higher R multiple is the good one.

    The prompt is the seed of the draw, so the same ideas always give the same pairs.
    """
    pairs = []
    for prompt, candidates in group_by_prompt(rows).items():
        ended = [row for row in candidates if is_settled(row, cutoff) and _has_r(row)]
        pairings = [
            (one, other)
            for one, other in product(ended, ended)
            if one["r_multiple"] > other["r_multiple"] and one["trained_reply"] != other["trained_reply"]
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
    """Replies that hit their target or their stop, in the order of their ids.

    At each reward-to-risk there are as many of one as of the other. Otherwise the model would learn to set near
    targets, since those are hit more often.
    """
    by_ratio: dict[float, dict[bool, list[UnpairedReply]]] = defaultdict(lambda: {True: [], False: []})
    for row in sorted(rows, key=lambda row: row["id"]):
        if is_settled(row, cutoff) and row["exit_reason"] in BARRIER_EXITS:
            is_good = row["exit_reason"] == ExitReason.TARGET
            version = row.get("prompt_version")
            single = UnpairedReply(row["prompt"], row["trained_reply"], is_good, row["id"], version)
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
    """Write the JSONL and its metadata, and return the metadata.

    The metadata goes to a JSON file of the same name: hash, kind, counts, cut-off, the versions of the prompts, and the
    ideas behind each line.
    `left_out` describes the ideas that could not be trained on.
    """
    text = "".join(json.dumps(example.line) + "\n" for example in examples)
    sources = [example.lineage["source"] for example in examples]
    metadata = {
        "dataset": path.name,
        "data": data_kind,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "pairs": len(examples),
        "by_source": {source: sources.count(source) for source in sorted(set(sources))},
        "prompt_versions": dict(Counter(example.prompt_version or UNKNOWN_VERSION for example in examples)),
        "cutoff": cutoff.isoformat(),
        "left_out": left_out,
        "lineage": [example.lineage for example in examples],
    }
    write_atomically(path, text)
    write_atomically(path.with_suffix(".json"), json.dumps(metadata, indent=1))
    return metadata


def dataset_file(settings: Settings, adapter: str) -> Path:
    """The path of the JSONL that an adapter of this name is trained on."""
    kind = "pairs" if adapter.endswith("-dpo") else "feedback"
    return settings.data / "datasets" / f"{kind}-{adapter[:8]}.jsonl"


class DatasetMetadata(BaseModel):
    """The metadata that `write_dataset` wrote for a JSONL."""

    model_config = ConfigDict(extra="allow")

    dataset: str
    data: str = "like"
    sha256: str
    pairs: int
    by_source: dict[str, int]
    prompt_versions: dict[str, int] = {}
    cutoff: AwareDatetime
    left_out: str = ""
    lineage: list[dict[str, str]]


def read_metadata(dataset: Path) -> dict[str, Any] | None:
    """The metadata of a JSONL, checked against it; `None` if there is no metadata file.

    Raises `BadInput` where either file was changed, cut or lost since.
    """
    path = dataset.with_suffix(".json")
    remedy = "restore both from a backup"
    try:
        metadata = DatasetMetadata.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadInput(f"the metadata of a dataset in {path}", error.errors()[0]["msg"], remedy) from error
    try:
        content = dataset.read_bytes()
    except OSError as error:
        raise BadInput(f"the dataset {dataset}", error.strerror or str(error), remedy) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != metadata.sha256:
        raise BadInput(f"the dataset {dataset} with sha256 {metadata.sha256[:12]}", sha256[:12], remedy)
    lines = content.count(b"\n")
    if not len(metadata.lineage) == metadata.pairs == lines:
        counts = f"{len(metadata.lineage)} and {metadata.pairs}"
        raise BadInput(f"{path} with an entry for each of the {lines} lines of its dataset", counts, remedy)
    return metadata.model_dump() | {"cutoff": metadata.cutoff.isoformat()}


def _ranked(good: Row, bad: Row) -> Pair:
    return make_pair("ranked", good, (good["trained_reply"], bad["trained_reply"]), (good["id"], bad["id"]))


def _has_r(row: Row) -> bool:
    return row["r_multiple"] is not None and math.isfinite(row["r_multiple"])
