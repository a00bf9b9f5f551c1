"""What the workspace remembers: earlier situations that were like this one, and how the ideas of then ended.

An example: AAPL falls by two ATR with an RSI of 30. The three nearest earlier situations, of any ticker, are shown with
their ideas, what the reviewers decided, and the R multiple of each. Only what was known at the moment of the snapshot
is told: a trade that was open then has no outcome yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from osiris.core.arrays import FloatArray
from osiris.core.ideas import ACCEPTED_STATUSES, FINAL_OUTCOMES, Outcome
from osiris.core.types import Row
from osiris.storage.advice import AdviceStore
from osiris.storage.rules import DECIDED_STATUSES
from osiris.storage.tables import sql_in, sql_time

MAX_VECTOR_FEATURES = 8
"""Features of a snapshot in the vector of an idea; the numbers of the reply begin behind them."""
MEMORY_COLUMNS = (
    "id", "prompt_id", "as_of", "ticker", "side", "rationale", "reply", "status", "status_at", "outcome", "closed_at",
    "r_multiple", "vector",
)  # fmt: skip
MAX_RATIONALE_CHARACTERS = 60


@dataclass(frozen=True)
class Memory:
    """The ideas with a final outcome, oldest first: their rows, features (n, 8), and the outcomes' moments (n,)."""

    rows: Sequence[Row]
    features: FloatArray
    closed_at: np.ndarray

    def find_situations(self, features: np.ndarray, as_of: datetime, count: int) -> list[dict[str, Any]]:
        """The nearest earlier situations with an outcome that was known at `as_of`, the nearest first.

        `features` has shape (k,), k <= 8. A situation is a prompt: its candidates are told together, one of each side,
        the one with the larger |R|. Distances are Euclidean. Ties go to the newer situation.
        """
        known = np.flatnonzero(self.closed_at <= _nanoseconds(as_of))
        if not len(known):
            return []
        wanted = np.zeros(MAX_VECTOR_FEATURES)
        wanted[: len(features)] = features[:MAX_VECTOR_FEATURES]
        distances = np.linalg.norm(self.features[known] - wanted, axis=1)
        situations: dict[str, list[Row]] = {}
        for place in known[np.lexsort((-known, distances))]:
            row = self.rows[place]
            if row["prompt_id"] not in situations and len(situations) == count:
                break
            situations.setdefault(row["prompt_id"], []).append(row)
        return [_describe(group, as_of) for group in situations.values()]

    @cached_property
    def winners(self) -> list[Row]:
        """The ideas that won, the newest end first."""
        won = [row for row in self.rows if row["outcome"] == Outcome.WIN]
        return sorted(won, key=lambda row: (row["closed_at"], row["id"]), reverse=True)

    def find_examples(self, as_of: datetime, count: int) -> list[str]:
        """The newest replies that were accepted and won, known at `as_of`: as many long as short, at most `count`.

        Examples of one side alone would teach the model that side.
        """
        newest = [
            row for row in self.winners if row["closed_at"] <= as_of and _decision(row, as_of) in ACCEPTED_STATUSES
        ]
        by_side = {side: [row["reply"] for row in newest if row["side"] == side] for side in ("long", "short")}
        pairs = list(zip(*by_side.values(), strict=False))[: count // 2]
        return [reply for pair in pairs for reply in pair]


def load_memory(advice: AdviceStore, until: datetime) -> Memory:
    """Read the ideas whose outcome was final and known at `until`."""
    final = sql_in("outcome", map(str, FINAL_OUTCOMES))
    rows = advice.rows(f"{final} AND closed_at <= {sql_time(until)} AND r_multiple IS NOT NULL", MEMORY_COLUMNS)
    features = np.array([row["vector"][:MAX_VECTOR_FEATURES] for row in rows], np.float64)
    closed = np.array([_nanoseconds(row["closed_at"]) for row in rows], np.int64)
    return Memory(rows, features.reshape(len(rows), MAX_VECTOR_FEATURES), closed)


def _describe(group: Sequence[Row], as_of: datetime) -> dict[str, Any]:
    """A situation as the template shows it."""
    by_side: dict[str, Row] = {}
    for row in sorted(group, key=lambda row: (-abs(row["r_multiple"]), row["id"])):
        by_side.setdefault(row["side"], row)
    first = group[0]
    return {
        "ticker": first["ticker"],
        "days": (as_of - first["as_of"]).days,
        "ideas": [
            {
                "side": row["side"],
                "rationale": row["rationale"][:MAX_RATIONALE_CHARACTERS],
                "decision": _decision(row, as_of),
                "outcome": row["outcome"],
                "r": row["r_multiple"],
            }
            for row in by_side.values()
        ],
    }


def _decision(row: Row, as_of: datetime) -> str:
    """What a person had decided at `as_of`; empty without a decision."""
    if row["status_at"] is None or row["status_at"] > as_of:
        return ""
    return str(row["status"]) if row["status"] in DECIDED_STATUSES else ""


def _nanoseconds(moment: datetime) -> int:
    import pandas as pd

    return int(pd.Timestamp(moment).as_unit("ns").value)
