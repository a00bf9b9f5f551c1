"""Measuring: what would the candidate have earned where the incumbent was, on the same bars and ideas?

Both describe the same closes. Where their prompts are the same, the same replies are gated and sized by both; else
each is drafted anew, by the same model from the same seed. What passes is settled on paper by the outcome kernel, as
the gate of adapters does it. The candidate, in its sandbox, knows nothing of this. The days are those before the patch,
which is a necessary first look, and then those after it, which its author could not see (`kernel.shadow`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from osiris.config.settings import Settings
from osiris.core.errors import TooLittleData
from osiris.drafting.draft_ideas import idea_vector, sketch, take_snapshots
from osiris.drafting.snapshot import Snapshot
from osiris.evaluation.heldout import idea_row, settle_on_paper
from osiris.evaluation.looks import level_of
from osiris.kernel.judgement import Measurement, Offered, compared, no_trades, weeks_of
from osiris.llm import hermes
from osiris.llm.generate import Draft, draft
from osiris.llm.models import AnyDrafter, AnyJudge
from osiris.market.calendars import sessions_between
from osiris.market.provider import PriceDesk
from osiris.sandbox.policies import SandboxedPolicy
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import sql_time


class Look(NamedTuple):
    """One measurement: of the closes after `start` up to `end`, the `number`-th (from 1) there, which has `level`."""

    start: datetime
    end: datetime
    number: int
    level: float


@dataclass(frozen=True)
class Past:
    """What both are measured with; models are opened when they are asked, since a rollback must not wait for one."""

    advice: AdviceStore
    prices: PriceDesk
    open_drafter: Callable[[], AnyDrafter]
    open_judge: Callable[[], AnyJudge]
    settings: Settings
    as_of: datetime

    @cached_property
    def drafter(self) -> AnyDrafter:
        """The model that drafts."""
        return self.open_drafter()

    @cached_property
    def judge(self) -> AnyJudge:
        """The model that scores."""
        return self.open_judge()


class Drafts(NamedTuple):
    """Replies to the prompts of snapshots, the judge's score of each (0-1 or none), and seconds a moment.

    A moment's tickers are drafted in one run, which is over before any of its ideas can be decided.
    """

    groups: list[list[Draft]]
    scores: list[list[float | None]]
    seconds: float


def first_look(settings: Settings, as_of: datetime, number: int) -> Look:
    """The look at the days before a patch: the k-th has level / 2 / (k (k + 1)), as the gate of adapters does it."""
    start = as_of - timedelta(days=settings.kernel.measure_days)
    return Look(start, as_of, number, level_of(number, settings.kernel.level / 2))


def measure(candidate: SandboxedPolicy, incumbent: SandboxedPolicy, past: Past, look: Look) -> Measurement:
    """Compare two policies on the closes of `look`, settled at the moment of `past`.

    Raises `TooLittleData` when there is too little to judge any patch by, `CandidateFailed` when the candidate fails.
    """
    moments = closes_of(past.settings, look)
    policies = (candidate, incumbent)
    shots = [take_snapshots(past.prices, one, past.settings.advise.tickers, moments, []) for one in policies]
    if not shots[0]:
        raise TooLittleData(f"bars from {look.start.date()} to {look.end.date()}", "none", "import prices")
    first = drafted(shots[0], past)
    same = [shot.prompt for shot in shots[0]] == [shot.prompt for shot in shots[1]]
    drafts = [first, first if same else drafted(shots[1], past)]
    trades = [
        paper_trades(policy, taken, shots[1], written, past)
        for policy, taken, written in zip(policies, shots, drafts, strict=True)
    ]
    valid = sum(reply.reply is not None for group in drafts[0].groups for reply in group)
    offered = Offered(weeks_of([shot.as_of for shot in shots[0]]), valid)
    return compared(*trades, offered, past.settings, look)


def closes_of(settings: Settings, look: Look) -> list[datetime]:
    """The session closes of a look."""
    found = sessions_between(settings.prices.calendar, look.start, look.end)
    return [moment for close in found if look.start < (moment := close.to_pydatetime()) <= look.end]


def drafted(shots: Sequence[Snapshot], past: Past) -> Drafts:
    """Draft on every snapshot, and have the valid replies scored."""
    settings, drafter, judge = past.settings, past.drafter, past.judge  # opened before the clock is started
    started = time.perf_counter()
    groups = draft(drafter, [shot.request for shot in shots], settings.gate.candidates, settings, settings.model.seed)
    places = [(i, j) for i, group in enumerate(groups) for j, reply in enumerate(group) if reply.reply is not None]
    scores: list[list[float | None]] = [[None] * len(group) for group in groups]
    ideas = [hermes.Idea(groups[i][j].text, shots[i].text) for i, j in places]
    for (i, j), score in zip(places, hermes.score(judge, ideas, settings.model.batch_size), strict=True):
        scores[i][j] = score.normalized
    return Drafts(groups, scores, (time.perf_counter() - started) / len({shot.as_of for shot in shots}))


def paper_trades(
    policy: SandboxedPolicy, shots: Sequence[Snapshot], by: Sequence[Snapshot], drafts: Drafts, past: Past
) -> pd.DataFrame:
    """What `policy` lets through, settled on paper: as `loop.rewards.reward_of` takes it, dated by the draft.

    Novelty is that of the snapshots `by`, the same for both: it is the idea that is new, not how its market is put.
    """
    policy.close()  # what answers about an idea has not seen the closes after it
    rows, vectors = [], []
    for number, (shot, seen, group, scores) in enumerate(zip(shots, by, drafts.groups, drafts.scores, strict=True)):
        for reply, score in zip(group, scores, strict=True):
            if reply.reply is None:
                continue
            idea = sketch(shot, reply.reply, score)
            passes, size = policy.passes(idea), policy.size(idea)
            if passes and size > 0:
                rows.append(idea_row(number, shot, reply.reply) | {"size": size, "latency_ms": 1000 * drafts.seconds})
                vectors.append(idea_vector(seen.vector, reply.reply).tolist())
    if not rows:
        return no_trades()
    ideas = pd.DataFrame(rows)
    ideas = ideas.assign(novelty=_novelty(ideas["as_of"], vectors, past))
    settled = settle_on_paper(ideas, past.prices, past.settings, past.as_of)
    filled = settled[settled["filled"]]
    return filled.assign(at=pd.to_datetime(filled["as_of"], utc=True), pnl=filled["size"] * filled["r"])


def _novelty(moments: pd.Series, vectors: list[list[float]], past: Past) -> pd.Series:
    """Distance of each idea to the nearest stored one of another moment, of all that are known at `as_of`."""
    novelty = pd.Series(np.nan, moments.index)
    for moment, group in moments.groupby(moments):
        where = f"as_of <= {sql_time(past.as_of)} AND as_of <> {sql_time(moment)}"
        found = past.advice.distances([vectors[place] for place in group.index], where)
        if None in found:
            raise TooLittleData("earlier ideas to measure novelty by", "none in the store", "draft some: osiris advise")
        novelty[group.index] = found
    return novelty
