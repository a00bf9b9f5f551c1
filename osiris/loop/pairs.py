"""The preference dataset: winners over losers of the same prompt first, then human pairs, then marked partners.

Every outcome was known by the cut-off, shadow outcomes included; ambiguous outcomes never teach. At most one pair comes
from one prompt, so that no prompt weighs more than another.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, product
from typing import Any

from osiris.errors import TooLittleData
from osiris.records import FINAL, ExitReason, Reply, Status, parse_reply
from osiris.settings import Settings
from osiris.store.advice import AdviceStore
from osiris.store.tables import ACCEPTED_SQL, sql_time

Row = dict[str, Any]
COLUMNS = [
    "id", "prompt_id", "as_of", "ticker", "side", "entry", "target", "stop", "price", "atr", "confidence", "prompt",
    "reply", "status", "status_at", "outcome", "exit_reason", "closed_at", "r_multiple", "ambiguous", "vector",
]  # fmt: skip

TEACHING = (ExitReason.TARGET, ExitReason.STOP)
"""A winner hit its target, a loser its stop; what was closed by expiry or by hand teaches nothing."""
NEAREST = 8
"""Ideas of other prompts that are looked at for a partner."""


@dataclass(frozen=True)
class Pair:
    """One preference; `source` is outcome, edit, review or partner (the bad reply is from the nearest prompt)."""

    prompt: str
    good_reply: str
    bad_reply: str
    source: str
    good_id: str
    bad_id: str

    @property
    def line(self) -> dict[str, str]:
        """What is trained on."""
        return {"prompt": self.prompt, "good_reply": self.good_reply, "bad_reply": self.bad_reply}

    @property
    def lineage(self) -> dict[str, str]:
        """Where it comes from."""
        return {"source": self.source, "good_id": self.good_id, "bad_id": self.bad_id}


def build_pairs(rows: Sequence[Row], advice: AdviceStore, settings: Settings, cutoff: datetime) -> list[Pair]:
    """Pairs known at `cutoff` of the ideas `rows`, by prompt time; partners come from all of `advice`."""
    pairs: dict[str, Pair] = {}
    lonely: list[list[Row]] = []
    for prompt, candidates in by_prompt(rows).items():
        ended = [row for row in candidates if settled(row, cutoff)]
        pair = outcome_pair(ended, settings.training.max_ratio_gap) or human_pair(candidates, cutoff)
        if pair:
            pairs[prompt] = pair
        elif any(row["exit_reason"] in TEACHING for row in ended):
            lonely.append(ended)
    room = int(settings.training.max_partner_share * len(pairs))
    partners = (partner_pair(ended, advice, settings.training.max_ratio_gap, cutoff) for ended in lonely)
    return [*pairs.values(), *islice(filter(None, partners), room)]


def outcome_pair(ended: list[Row], max_ratio_gap: float) -> Pair | None:
    """A winner and a loser of like reward-to-risk, with opposite sides if possible; of several the largest such ratio.

    Near targets are hit more often. Pairs of unlike reward-to-risk would teach that, and not what the market does; so
    would the imitation of winners, were they not chosen for far targets (measured in docs/log.md).
    """
    winners = [row for row in ended if row["exit_reason"] == ExitReason.TARGET]
    losers = [row for row in ended if row["exit_reason"] == ExitReason.STOP]
    couples = [
        (won, lost)
        for won, lost in product(winners, losers)
        if taught_reply(won) != taught_reply(lost) and _ratio_gap(won, lost) <= max_ratio_gap
    ]
    if not couples:
        return None
    won, lost = min(couples, key=_preference)
    return Pair(won["prompt"], taught_reply(won), taught_reply(lost), "outcome", won["id"], lost["id"])


def human_pair(candidates: list[Row], cutoff: datetime) -> Pair | None:
    """An edit over its original, else an approved over a rejected idea of the same prompt."""
    decided = [row for row in candidates if row["status_at"] is not None and row["status_at"] <= cutoff]
    for row in decided:
        if row["status"] == Status.EDITED and (edited := edited_reply(row)) != row["reply"]:
            return Pair(row["prompt"], edited, row["reply"], "edit", row["id"], row["id"])
    approved = [row for row in decided if row["status"] == Status.APPROVED]
    rejected = [row for row in decided if row["status"] == Status.REJECTED]
    for good, bad in product(approved, rejected):
        if good["reply"] != bad["reply"]:
            return Pair(good["prompt"], good["reply"], bad["reply"], "review", good["id"], bad["id"])
    return None


def partner_pair(ended: list[Row], advice: AdviceStore, max_ratio_gap: float, cutoff: datetime) -> Pair | None:
    """A pair of a prompt that has one side alone with the nearest idea of the other outcome from another prompt.

    Of the `NEAREST` ones the first of like reward-to-risk. Its reply is given this prompt's ticker, lest the symbol
    give the loser away.
    """
    own = next(row for row in ended if row["exit_reason"] in TEACHING)
    won = own["exit_reason"] == ExitReason.TARGET
    other_end = ExitReason.STOP if won else ExitReason.TARGET
    where = (
        f"exit_reason = '{other_end}' AND closed_at <= {sql_time(cutoff)} AND ambiguous = false "
        f"AND entry = price AND prompt_id != '{own['prompt_id']}'"
    )
    for other in advice.nearest(own["vector"], where, NEAREST):
        reply = Reply(**json.loads(taught_reply(other)) | {"ticker": own["ticker"]}).to_json()
        if reply != taught_reply(own) and _ratio_gap(own, other) <= max_ratio_gap:
            good, bad = (taught_reply(own), reply) if won else (reply, taught_reply(own))
            ids = (own["id"], other["id"]) if won else (other["id"], own["id"])
            return Pair(own["prompt"], good, bad, "partner", *ids)
    return None


def taught_reply(row: Row) -> str:
    """The reply that an idea's outcome speaks of: as edited if it was, else as generated."""
    return edited_reply(row) if row["status"] == Status.EDITED else row["reply"]


def edited_reply(row: Row) -> str:
    """The model's reply as the reviewer corrected it: distances of the edited levels, in ATR, one decimal."""
    original = parse_reply(row["reply"], row["ticker"])
    distance = {name: round(abs(row[name] - row["entry"]) / row["atr"], 1) for name in ("target", "stop")}
    changes = {"target_atr": distance["target"], "stop_atr": distance["stop"], "confidence": row["confidence"]}
    return Reply(**original.model_dump() | changes).to_json()


def examples(advice: AdviceStore, settings: Settings, since: datetime, cutoff: datetime) -> list[Row]:
    """`{id, prompt, reply, as_of}` of the ideas approved or edited in (since, cutoff]; edits as corrected.

    Raises `TooLittleData` below `training.min_examples`.
    """
    where = f"{ACCEPTED_SQL} AND status_at > {sql_time(since)} AND status_at <= {sql_time(cutoff)}"
    rows = advice.rows(where, COLUMNS)
    if len(rows) < settings.training.min_examples:
        raise TooLittleData(
            f"at least {settings.training.min_examples} accepted ideas since {since.isoformat()}",
            str(len(rows)),
            "nothing is trained; the next night takes it up",
        )
    return [
        {"id": row["id"], "prompt": row["prompt"], "reply": taught_reply(row), "as_of": row["as_of"]} for row in rows
    ]


def by_prompt(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The candidates of each prompt."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["prompt_id"], []).append(row)
    return groups


def settled(row: Row, cutoff: datetime) -> bool:
    """Whether the outcome was known, beyond doubt, and is that of a reply (which cannot name another entry)."""
    if row["entry"] != row["price"]:
        return False
    return row["outcome"] in FINAL and not row["ambiguous"] and row["closed_at"] <= cutoff


def _preference(couple: tuple[Row, Row]) -> tuple[bool, float, str, str]:
    won, lost = couple
    return won["side"] == lost["side"], -round(reward_to_risk(won), 6), won["id"], lost["id"]


def reward_to_risk(row: Row) -> float:
    """|target - entry| / |entry - stop|."""
    return abs(row["target"] - row["entry"]) / abs(row["entry"] - row["stop"])


def _ratio_gap(one: Row, other: Row) -> float:
    """How unlike the reward-to-risk of two ideas is: the absolute difference of its logarithms."""
    return round(abs(math.log(reward_to_risk(one) / reward_to_risk(other))), 6)
