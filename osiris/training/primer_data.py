"""Made-up situations for the primer, and replies to them: both sides equally often, each with a reason that fits.

An example: a situation shows `momentum up 1.2` and `gap down 0.3`. Its reasons are `momentum up, buy` and `momentum up,
sell`, `gap down, buy` and `gap down, sell`. The reason names the act, because a small model cannot work out the side
from a direction and a way (`up, fade`): 55 % of its sides agreed with such reasons, docs/log.md. Bars, notes and
memories are drawn at random. So a model learns to read the prompt and to write the form, and nothing about markets.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from osiris.config.sections import ALL_BLOCKS, BlockName
from osiris.config.settings import Settings
from osiris.core.ideas import Reply, Side
from osiris.core.types import Row
from osiris.drafting.memory import MAX_VECTOR_FEATURES, Memory
from osiris.drafting.prompt_form import PromptForm
from osiris.drafting.snapshot import Snapshot, take_snapshot
from osiris.drafting.snapshots import BlockMaterial, add_blocks
from osiris.llm.prompts import SHIPPED_PROMPTS
from osiris.llm.starter_data import CONFIDENCES, STOP_ATRS, TARGET_ATRS, random_symbol
from osiris.market.bar_frames import BarArrays
from osiris.market.calendars import closes_between
from osiris.policy import ShippedPolicy
from osiris.storage.notes import Note, NoteIndex

FACT_PATTERN = re.compile(r"^([a-z][a-z0-9_]*) (up|down) [0-9.]+$", re.MULTILINE)
"""A directional fact in a prompt, such as `trend_20 up 1.3`."""
REASON_PATTERN = re.compile(r"([a-z][a-z0-9_]*) (up|down), (buy|sell)")
ACTS = {"buy": Side.LONG, "sell": Side.SHORT}
FACTS_PER_SITUATION = 3
"""Each fact is a reason to buy once, and to sell once: six replies of a situation, half of them long."""
SESSIONS = 320
"""Sessions of a made-up share: a year, and what the blocks need before it."""
CALENDAR_START = datetime(2003, 1, 2, tzinfo=UTC)
CALENDAR_DAYS = 3000
NOTE_KINDS = ("news", "filing", "earnings", "note")
NOTE_SUBJECTS = ("the board", "a supplier", "an analyst", "the regulator", "a large customer", "the chief executive")
NOTE_ACTIONS = ("announced", "denied", "confirmed", "postponed", "expects", "is said to plan")
NOTE_OBJECTS = ("a new product", "lower costs", "a dividend", "a merger", "weaker demand", "higher margins", "a split")
MAX_SITUATIONS = 12
KEEP_BLOCK_SHARE = 0.5
"""Each block but the features is shown in half of the situations, so that no prompt depends on one."""


@dataclass(frozen=True)
class Situation:
    """A made-up prompt and replies to it, each with the texts in it that are decisions."""

    snapshot: Snapshot
    replies: tuple[Reply, ...]


def find_facts(text: str) -> dict[str, str]:
    """The direction of each directional fact in a prompt, by name."""
    return dict(FACT_PATTERN.findall(text))


def is_reason_coherent(reply: Reply, text: str) -> bool:
    """Whether the reason names a fact as the prompt shows it, and the side agrees with the reason."""
    match = REASON_PATTERN.fullmatch(reply.rationale)
    if match is None or find_facts(text).get(match[1]) != match[2]:
        return False
    return reply.side is ACTS[match[3]]


def make_situations(
    settings: Settings,
    seed: int,
    count: int,
    count_tokens: Callable[[str], int],
    blocks: Sequence[BlockName] | None = None,
) -> list[Situation]:
    """Draw `count` situations with the shipped templates; the same seed gives the same ones.

    Without `blocks`, each situation shows others.
    """
    rng = random.Random(f"primer {seed}")
    return [_draw_situation(rng, settings, count_tokens, blocks or _draw_blocks(rng)) for _ in range(count)]


def draw_replies(rng: random.Random, snapshot: Snapshot) -> tuple[Reply, ...]:
    """Replies to a situation: some of its facts, each as a reason for both sides. The other numbers are random."""
    facts = sorted(find_facts(snapshot.text).items())
    chosen = rng.sample(facts, min(FACTS_PER_SITUATION, len(facts)))
    return tuple(
        Reply(
            ticker=snapshot.ticker,
            rationale=f"{name} {direction}, {act}",
            side=side,
            target_atr=rng.choice(TARGET_ATRS),
            stop_atr=rng.choice(STOP_ATRS),
            confidence=rng.choice(CONFIDENCES),
        )
        for name, direction in chosen
        for act, side in ACTS.items()
    )


def _draw_situation(
    rng: random.Random, settings: Settings, count_tokens: Callable[[str], int], blocks: Sequence[BlockName]
) -> Situation:
    closes = closes_between("XNYS", CALENDAR_START, CALENDAR_START + timedelta(days=CALENDAR_DAYS))
    first = rng.randrange(len(closes) - SESSIONS)
    ends = closes[first : first + SESSIONS].as_unit("ns").asi8
    bars, benchmark = _draw_bars(rng, ends), _draw_bars(rng, ends)
    as_of = closes[first + SESSIONS - 1].to_pydatetime()
    ticker = random_symbol(rng)
    plain = take_snapshot(ticker, bars, as_of, ShippedPolicy())
    material = BlockMaterial(
        # the shipped templates: a primed model serves workspaces with any templates of their own
        form=PromptForm(settings, SHIPPED_PROMPTS).with_blocks(blocks),
        benchmark=benchmark,
        notes=NoteIndex(_draw_notes(rng, ticker, as_of)),
        memory=_draw_memory(rng, plain),
        count_tokens=count_tokens,
        room=settings.context.max_tokens,
    )
    snapshot = add_blocks(plain, bars, material, Counter())
    return Situation(snapshot, draw_replies(rng, snapshot))


def _draw_blocks(rng: random.Random) -> list[BlockName]:
    return [block for block in ALL_BLOCKS if block == "features" or rng.random() < KEEP_BLOCK_SHARE]


def _draw_bars(rng: random.Random, ends: np.ndarray) -> BarArrays:
    """A random walk with heavy tails, gaps and volumes, from a price of 2 to 900."""
    draw = np.random.default_rng(rng.getrandbits(64))
    volatility = draw.uniform(0.006, 0.035)
    moves = volatility * draw.standard_t(5, (SESSIONS, 4)) * np.array([0.4, 0.5, 0.5, 0.6])
    path = np.exp(moves.ravel().cumsum()).reshape(SESSIONS, 4) * np.exp(draw.uniform(np.log(2), np.log(900)))
    opens, close = path[:, 0], path[:, 3]
    day = 6 * 3600 * 10**9  # a session of six hours; only its end is read
    return BarArrays(
        start=ends - day,
        end=ends,
        open=opens,
        high=path.max(axis=1),
        low=path.min(axis=1),
        close=close,
        split=np.ones(SESSIONS),
        volume=draw.lognormal(12, 0.5, SESSIONS).round(),
    )


def _draw_notes(rng: random.Random, ticker: str, as_of: datetime) -> list[Note]:
    return [
        Note(
            at=as_of - timedelta(hours=rng.randrange(1, 160)),
            ticker=ticker,
            kind=rng.choice(NOTE_KINDS),
            text=f"{rng.choice(NOTE_SUBJECTS)} {rng.choice(NOTE_ACTIONS)} {rng.choice(NOTE_OBJECTS)}",
            due=as_of + timedelta(days=rng.randrange(20)) if rng.random() < 0.2 else None,
        )
        for _ in range(rng.randrange(3))
    ]


def _draw_memory(rng: random.Random, snapshot: Snapshot) -> Memory:
    """Earlier situations, whose ends are coin flips of either side."""
    rows: list[Row] = []
    for number in range(rng.randrange(MAX_SITUATIONS)):
        drafted = snapshot.as_of - timedelta(days=rng.randrange(15, 300))
        name, direction = rng.choice(sorted(find_facts(snapshot.text).items()))
        (act, side), won = rng.choice(sorted(ACTS.items())), rng.random() < 0.5
        rows.append(
            {
                "id": str(number),
                "prompt_id": str(number),
                "as_of": drafted,
                "ticker": random_symbol(rng),
                "side": str(side),
                "rationale": f"{name} {direction}, {act}",
                "reply": draw_replies(rng, snapshot)[rng.randrange(2)].to_json(),
                "status": rng.choice(("approved", "approved", "rejected", "expired")),
                "status_at": drafted + timedelta(hours=2),
                "outcome": "win" if won else "loss",
                "closed_at": drafted + timedelta(days=rng.randrange(1, 15)),
                "r_multiple": rng.choice((1.0, 1.5, 2.0)) if won else -1.0,
            }
        )
    closed = np.array([int(row["closed_at"].timestamp() * 1e9) for row in rows], np.int64)
    return Memory(rows, np.zeros((len(rows), MAX_VECTOR_FEATURES)), closed)
