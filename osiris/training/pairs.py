"""The preference dataset: pairs of a better and a worse reply to one prompt.

A prompt gives a winner over a loser if it has both, else a pair from a person's decisions. The rest of the pairs are
cross-prompt pairs, marked with the source `partner`: their bad or good reply comes from a similar prompt. Every outcome
was known by the cut-off, shadow outcomes included. Ambiguous outcomes are never trained on. At most one pair comes from
one prompt, so that no prompt weighs more than another.
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
    "prompt_version", "reply", "status", "status_at", "outcome", "exit_reason", "closed_at", "r_multiple", "ambiguous",
    "vector",
]  # fmt: skip

BARRIER_EXITS = (ExitReason.TARGET, ExitReason.STOP)
"""A winner hit its target, a loser its stop; an idea closed by expiry or by hand is not trained on."""
MAX_NEIGHBOURS = 8
"""The nearest ideas of other prompts that are tried for a cross-prompt pair."""
LearnedFilter = Callable[[str, datetime], bool]
"""Given an idea's id and the moment of its decision: whether an adapter has learned from that decision."""


@dataclass(frozen=True)
class Pair:
    """One preference; `source` is outcome, edit, review or partner (one of the replies is from a similar prompt)."""

    prompt: str
    good_reply: str
    bad_reply: str
    source: str
    good_id: str
    bad_id: str
    prompt_version: str | None = None

    @property
    def line(self) -> dict[str, str]:
        """The line of the dataset."""
        return {"prompt": self.prompt, "good_reply": self.good_reply, "bad_reply": self.bad_reply}

    @property
    def lineage(self) -> dict[str, str]:
        """The source of the pair and the ids of its ideas."""
        return {"source": self.source, "good_id": self.good_id, "bad_id": self.bad_id}


def build_pairs(rows: Sequence[Row], advice: AdviceStore, settings: Settings, cutoff: datetime) -> list[Pair]:
    """Pairs known at `cutoff` from the trainable ideas `rows`, by prompt time.

    Cross-prompt pairs come last; their second idea may be any idea of `advice`.
    """
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
    """A pair of candidates for the same prompt: the good one hit its target, the bad one its stop.

    Both must have a similar reward-to-risk ratio, or the model only learns to set closer targets, since those are hit
    more often (measured in docs/log.md). Of several pairs, one with opposite sides is preferred, then the one with the
    largest ratio.
    """
    winners = [row for row in ended if row["exit_reason"] == ExitReason.TARGET]
    losers = [row for row in ended if row["exit_reason"] == ExitReason.STOP]
    pairings = [
        (winner, loser)
        for winner, loser in product(winners, losers)
        if winner["trained_reply"] != loser["trained_reply"] and _ratio_gap(winner, loser) <= max_ratio_gap
    ]
    if not pairings:
        return None
    winner, loser = min(pairings, key=_pairing_rank)
    return make_pair("outcome", winner, (winner["trained_reply"], loser["trained_reply"]), (winner["id"], loser["id"]))


def find_human_pair(candidates: list[Row], cutoff: datetime) -> Pair | None:
    """An edited reply over its original, else an approved over a rejected idea of the same prompt."""
    decided = [row for row in candidates if row["status_at"] is not None and row["status_at"] <= cutoff]
    for row in decided:
        if row["status"] == Status.EDITED and row["trained_reply"] != row["reply"]:
            return make_pair("edit", row, (row["trained_reply"], row["reply"]), (row["id"], row["id"]))
    approved = [row for row in decided if row["status"] == Status.APPROVED]
    rejected = [row for row in decided if row["status"] == Status.REJECTED]
    for good, bad in product(approved, rejected):
        if good["reply"] != bad["reply"]:
            return make_pair("review", good, (good["reply"], bad["reply"]), (good["id"], bad["id"]))
    return None


def find_cross_prompt_pair(
    ended: list[Row], advice: AdviceStore, max_ratio_gap: float, cutoff: datetime
) -> Pair | None:
    """A pair for a prompt that has none of its own, with an idea of another prompt that ended the other way.

    Of the `MAX_NEIGHBOURS` nearest such ideas, the first of similar reward-to-risk is taken. Its reply gets the ticker
    of this prompt; otherwise the model could tell the foreign reply by its symbol.
    """
    own = next(row for row in ended if row["exit_reason"] in BARRIER_EXITS)
    is_winner = own["exit_reason"] == ExitReason.TARGET
    other_exit = ExitReason.STOP if is_winner else ExitReason.TARGET
    where = (
        f"exit_reason = '{other_exit}' AND closed_at <= {sql_time(cutoff)} AND ambiguous = false "
        f"AND abs(entry - price) <= {PRICE_ROUNDING} AND prompt_id != '{own['prompt_id']}'"
    )
    near = [row for row in advice.nearest(own["vector"], where, MAX_NEIGHBOURS) if is_settled(row, cutoff)]
    for other in select_trainable(near, Counter()):
        reply = replace_ticker(other["trained_reply"], own["ticker"])
        if reply is not None and reply != own["trained_reply"] and _ratio_gap(own, other) <= max_ratio_gap:
            good, bad = (own["trained_reply"], reply) if is_winner else (reply, own["trained_reply"])
            ids = (own["id"], other["id"]) if is_winner else (other["id"], own["id"])
            return make_pair("partner", own, (good, bad), ids)
    return None


def make_pair(source: str, row: Row, replies: tuple[str, str], ids: tuple[str, str]) -> Pair:
    """A pair for the prompt of `row`; `replies` and `ids` are those of the good and of the bad idea."""
    return Pair(row["prompt"], *replies, source, *ids, row.get("prompt_version"))


def nothing_learned(_id: str, _decided_at: datetime) -> bool:
    """The filter that skips nothing, as if no adapter had learned from any decision."""
    return False


def load_accepted_ideas(
    advice: AdviceStore,
    settings: Settings,
    since: datetime | None,
    cutoff: datetime,
    is_learned: LearnedFilter = nothing_learned,
) -> tuple[list[Row], str]:
    """The trainable ideas that were approved or edited in (since, cutoff], and a note on those left out.

    Ideas for which `is_learned` is true are skipped: an adapter learned from that decision. Raises `TooLittleData`
    below `training.min_examples`.
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
            "nothing is trained; the next nightly run tries again",
        )
    return rows, describe_left_out(left_out)


def group_by_prompt(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The candidates of each prompt."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["prompt_id"], []).append(row)
    return groups


def is_settled(row: Row, cutoff: datetime) -> bool:
    """Whether the outcome was final, unambiguous and known at `cutoff`, and belongs to the reply.

    It does not if the entry is not the last price, which a reply cannot express, or if the idea was edited later.
    """
    known = row["outcome"] in FINAL_OUTCOMES and row["ambiguous"] is False and row["closed_at"] is not None
    if not known or row["closed_at"] > cutoff or not is_entry_at_price(row):
        return False
    return row["status"] != Status.EDITED or (row["status_at"] is not None and row["status_at"] <= cutoff)


def _pairing_rank(pairing: tuple[Row, Row]) -> tuple[bool, float, str, str]:
    """The order of preference; the ids at its end make the choice the same in every run."""
    winner, loser = pairing
    return winner["side"] == loser["side"], -round(reward_to_risk(winner), 6), winner["id"], loser["id"]


def reward_to_risk(row: Row) -> float:
    """|target - entry| / |entry - stop|."""
    return abs(row["target"] - row["entry"]) / abs(row["entry"] - row["stop"])


def _ratio_gap(one: Row, other: Row) -> float:
    """How far apart the reward-to-risk of two ideas is: the absolute difference of the logarithms.

    The rounding keeps a gap that equals the limit from failing by an error of floating point.
    """
    return round(abs(math.log(reward_to_risk(one) / reward_to_risk(other))), 6)
