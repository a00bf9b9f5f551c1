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
from osiris.core.ideas import FINAL, ExitReason, Status
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import ACCEPTED_SQL, Row, sql_time
from osiris.training.stored_replies import CLOSE, at_the_price, same_ticker, sound, words_of

COLUMNS = [
    "id", "prompt_id", "as_of", "ticker", "side", "entry", "target", "stop", "price", "atr", "confidence", "prompt",
    "reply", "status", "status_at", "outcome", "exit_reason", "closed_at", "r_multiple", "ambiguous", "vector",
]  # fmt: skip

TEACHING = (ExitReason.TARGET, ExitReason.STOP)
"""A winner hit its target, a loser its stop; what was closed by expiry or by hand teaches nothing."""
NEAREST = 8
"""Ideas of other prompts that are looked at for a partner."""
Learned = Callable[[str, datetime], bool]
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
        if won["taught"] != lost["taught"] and _ratio_gap(won, lost) <= max_ratio_gap
    ]
    if not couples:
        return None
    won, lost = min(couples, key=_preference)
    return Pair(won["prompt"], won["taught"], lost["taught"], "outcome", won["id"], lost["id"])


def human_pair(candidates: list[Row], cutoff: datetime) -> Pair | None:
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
        f"AND abs(entry - price) <= {CLOSE} AND prompt_id != '{own['prompt_id']}'"
    )
    near = [row for row in advice.nearest(own["vector"], where, NEAREST) if settled(row, cutoff)]
    for other in sound(near, Counter()):
        reply = same_ticker(other["taught"], own["ticker"])
        if reply not in (None, own["taught"]) and _ratio_gap(own, other) <= max_ratio_gap:
            good, bad = (own["taught"], reply) if won else (reply, own["taught"])
            ids = (own["id"], other["id"]) if won else (other["id"], own["id"])
            return Pair(own["prompt"], good, bad, "partner", *ids)
    return None


def never(_id: str, _decided_at: datetime) -> bool:
    """No adapter has learned from anything yet."""
    return False


def examples(
    advice: AdviceStore, settings: Settings, since: datetime | None, cutoff: datetime, learned: Learned = never
) -> tuple[list[Row], str]:
    """The ideas approved or edited in (since, cutoff] that `sound` lets teach, and a note on those it left out.

    Ideas that are `learned` do not count: an adapter learned from that decision. Raises `TooLittleData` below
    `training.min_examples`.
    """
    after = f" AND status_at > {sql_time(since)}" if since else ""
    decided = advice.rows(f"{ACCEPTED_SQL}{after} AND status_at <= {sql_time(cutoff)}", COLUMNS)
    left_out: Counter[str] = Counter()
    rows = sound((row for row in decided if not learned(row["id"], row["status_at"])), left_out)
    if len(rows) < settings.training.min_examples:
        told = "; ".join(filter(None, [str(len(rows)), words_of(left_out)]))
        raise TooLittleData(
            f"at least {settings.training.min_examples} accepted ideas "
            + (f"since {since.isoformat()}" if since else "that no adapter has learned from"),
            told,
            "nothing is trained; the next night takes it up",
        )
    return rows, words_of(left_out)


def by_prompt(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The candidates of each prompt."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["prompt_id"], []).append(row)
    return groups


def settled(row: Row, cutoff: datetime) -> bool:
    """Whether the outcome was known, beyond doubt, and is that of a reply (which cannot name another entry)."""
    known = row["outcome"] in FINAL and row["ambiguous"] is False and row["closed_at"] is not None
    if not known or row["closed_at"] > cutoff or not at_the_price(row):
        return False
    return row["status"] != Status.EDITED or (row["status_at"] is not None and row["status_at"] <= cutoff)


def _preference(couple: tuple[Row, Row]) -> tuple[bool, float, str, str]:
    won, lost = couple
    return won["side"] == lost["side"], -round(reward_to_risk(won), 6), won["id"], lost["id"]


def reward_to_risk(row: Row) -> float:
    """|target - entry| / |entry - stop|."""
    return abs(row["target"] - row["entry"]) / abs(row["entry"] - row["stop"])


def _ratio_gap(one: Row, other: Row) -> float:
    """How unlike the reward-to-risk of two ideas is: the absolute difference of its logarithms."""
    return round(abs(math.log(reward_to_risk(one) / reward_to_risk(other))), 6)
