"""The preference dataset: winners over losers of the same prompt first, then human pairs, then marked partners.

Every outcome was known by the cut-off, shadow outcomes included; ambiguous outcomes never teach. At most one pair comes
from one prompt, so that no prompt weighs more than another.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, product

from osiris.config.settings import Settings
from osiris.core.errors import TooLittleData
from osiris.core.ideas import FINAL_OUTCOMES, ExitReason, Status
from osiris.core.types import Row
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import ACCEPTED_SQL, sql_time
from osiris.training.stored_replies import (
    PRICE_ROUNDING,
    describe_left_out,
    is_entry_at_price,
    replace_ticker,
    select_trainable,
)

PAIR_COLUMNS = [
    "id", "prompt_id", "as_of", "ticker", "side", "entry", "target", "stop", "price", "atr", "confidence", "prompt",
    "reply", "status", "status_at", "outcome", "exit_reason", "closed_at", "r_multiple", "ambiguous", "vector",
]  # fmt: skip

BARRIER_EXITS = (ExitReason.TARGET, ExitReason.STOP)
"""A winner hit its target, a loser its stop; what was closed by expiry or by hand teaches nothing."""
MAX_NEIGHBOURS = 8
"""Ideas of other prompts that are looked at for a partner."""
LearnedFilter = Callable[[str, datetime], bool]
"""Whether an adapter has learned from the decision on an idea (its id) that was made at a moment."""


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
    """Pairs known at `cutoff` of the `sound` ideas `rows`, by prompt time; partners come from all of `advice`."""
    pairs: dict[str, Pair] = {}
    one_sided: list[list[Row]] = []
    for prompt, candidates in group_by_prompt(rows).items():
        ended = [row for row in candidates if is_settled(row, cutoff)]
        pair = find_outcome_pair(ended, settings.training.max_ratio_gap) or find_human_pair(candidates, cutoff)
        if pair:
            pairs[prompt] = pair
        elif any(row["exit_reason"] in BARRIER_EXITS for row in ended):
            one_sided.append(ended)
    max_cross_pairs = int(settings.training.max_partner_share * len(pairs))
    cross_prompt_pairs = (
        find_cross_prompt_pair(ended, advice, settings.training.max_ratio_gap, cutoff) for ended in one_sided
    )
    return [*pairs.values(), *islice(filter(None, cross_prompt_pairs), max_cross_pairs)]


def find_outcome_pair(ended: list[Row], max_ratio_gap: float) -> Pair | None:
    """A winner and a loser of like reward-to-risk, with opposite sides if possible; of several the largest such ratio.

    Near targets are hit more often. Pairs of unlike reward-to-risk would teach that, and not what the market does; so
    would the imitation of winners, were they not chosen for far targets (measured in docs/log.md).
    """
    winners = [row for row in ended if row["exit_reason"] == ExitReason.TARGET]
    losers = [row for row in ended if row["exit_reason"] == ExitReason.STOP]
    pairings = [
        (won, lost)
        for won, lost in product(winners, losers)
        if won["taught"] != lost["taught"] and _ratio_gap(won, lost) <= max_ratio_gap
    ]
    if not pairings:
        return None
    won, loser = min(pairings, key=_pairing_rank)
    return Pair(won["prompt"], won["taught"], loser["taught"], "outcome", won["id"], loser["id"])


def find_human_pair(candidates: list[Row], cutoff: datetime) -> Pair | None:
    """An edit over its original, else an approved over a rejected idea of the same prompt."""
    decided = [row for row in candidates if row["status_at"] is not None and row["status_at"] <= cutoff]
    for row in decided:
        if row["status"] == Status.EDITED and row["taught"] != row["reply"]:
            return Pair(row["prompt"], row["taught"], row["reply"], "edit", row["id"], row["id"])
    approved = [row for row in decided if row["status"] == Status.APPROVED]
    rejected = [row for row in decided if row["status"] == Status.REJECTED]
    for good, bad in product(approved, rejected):
        if good["reply"] != bad["reply"]:
            return Pair(good["prompt"], good["reply"], bad["reply"], "review", good["id"], bad["id"])
    return None


def find_cross_prompt_pair(
    ended: list[Row], advice: AdviceStore, max_ratio_gap: float, cutoff: datetime
) -> Pair | None:
    """A pair of a prompt that has one side alone with the nearest idea of the other outcome from another prompt.

    Of the `NEAREST` ones the first of like reward-to-risk. Its reply is given this prompt's ticker, lest the symbol
    give the loser away.
    """
    own = next(row for row in ended if row["exit_reason"] in BARRIER_EXITS)
    winner = own["exit_reason"] == ExitReason.TARGET
    other_end = ExitReason.STOP if winner else ExitReason.TARGET
    where = (
        f"exit_reason = '{other_end}' AND closed_at <= {sql_time(cutoff)} AND ambiguous = false "
        f"AND abs(entry - price) <= {PRICE_ROUNDING} AND prompt_id != '{own['prompt_id']}'"
    )
    near = [row for row in advice.nearest(own["vector"], where, MAX_NEIGHBOURS) if is_settled(row, cutoff)]
    for other in select_trainable(near, Counter()):
        reply = replace_ticker(other["taught"], own["ticker"])
        if reply not in (None, own["taught"]) and _ratio_gap(own, other) <= max_ratio_gap:
            good, bad = (own["taught"], reply) if winner else (reply, own["taught"])
            ids = (own["id"], other["id"]) if winner else (other["id"], own["id"])
            return Pair(own["prompt"], good, bad, "partner", *ids)
    return None


def nothing_learned(_id: str, _decided_at: datetime) -> bool:
    """No adapter has learned from anything yet."""
    return False


def load_accepted_ideas(
    advice: AdviceStore,
    settings: Settings,
    since: datetime | None,
    cutoff: datetime,
    is_learned: LearnedFilter = nothing_learned,
) -> tuple[list[Row], str]:
    """The ideas approved or edited in (since, cutoff] that `sound` lets teach, and a note on those it left out.

    Ideas that are `learned` do not count: an adapter learned from that decision. Raises `TooLittleData` below
    `training.min_examples`.
    """
    after = f" AND status_at > {sql_time(since)}" if since else ""
    decided = advice.rows(f"{ACCEPTED_SQL}{after} AND status_at <= {sql_time(cutoff)}", PAIR_COLUMNS)
    left_out: Counter[str] = Counter()
    rows = select_trainable((row for row in decided if not is_learned(row["id"], row["status_at"])), left_out)
    if len(rows) < settings.training.min_examples:
        counts = "; ".join(filter(None, [str(len(rows)), describe_left_out(left_out)]))
        raise TooLittleData(
            f"at least {settings.training.min_examples} accepted ideas "
            + (f"since {since.isoformat()}" if since else "that no adapter has learned from"),
            counts,
            "nothing is trained; the next night takes it up",
        )
    return rows, describe_left_out(left_out)


def group_by_prompt(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The candidates of each prompt."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["prompt_id"], []).append(row)
    return groups


def is_settled(row: Row, cutoff: datetime) -> bool:
    """Whether the outcome was known, beyond doubt, and is that of a reply (which cannot name another entry)."""
    known = row["outcome"] in FINAL_OUTCOMES and row["ambiguous"] is False and row["closed_at"] is not None
    if not known or row["closed_at"] > cutoff or not is_entry_at_price(row):
        return False
    return row["status"] != Status.EDITED or (row["status_at"] is not None and row["status_at"] <= cutoff)


def _pairing_rank(pairing: tuple[Row, Row]) -> tuple[bool, float, str, str]:
    won, loser = pairing
    return won["side"] == loser["side"], -round(reward_to_risk(won), 6), won["id"], loser["id"]


def reward_to_risk(row: Row) -> float:
    """|target - entry| / |entry - stop|."""
    return abs(row["target"] - row["entry"]) / abs(row["entry"] - row["stop"])


def _ratio_gap(one: Row, other: Row) -> float:
    """How unlike the reward-to-risk of two ideas is: the absolute difference of its logarithms."""
    return round(abs(math.log(reward_to_risk(one) / reward_to_risk(other))), 6)
