"""Measuring: what would the candidate have earned where the incumbent was, on the same past bars and ideas?

Both describe the same past closes. Where their prompts are the same, the same replies are gated and sized by both;
else each is drafted anew, by the same model from the same seed. What passes is settled on paper by the outcome kernel,
as the gate of adapters does it, and rewarded by `loop.rewards`. The candidate, in its sandbox, knows nothing of this.

The difference of the rewards is tested by a paired bootstrap of whole weeks: trades of one week share their market. The
k-th patch of people that is measured on much the same days is given level / 2 / (k (k + 1)), as the gate of adapters
does it; the kernel's own drafts count by themselves and have the other half, so that they leave people theirs.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from osiris.calendars import sessions_between
from osiris.errors import TooLittleData
from osiris.kernel.live import SandboxedPolicy
from osiris.kernel.sandbox import CandidateFailed
from osiris.llm import hermes
from osiris.llm.generate import Draft, draft
from osiris.llm.models import AnyDrafter, AnyJudge
from osiris.loop.advise import idea_vector, sketch, take_snapshots
from osiris.loop.context import Snapshot
from osiris.loop.gate import idea_row, settle_on_paper
from osiris.loop.looks import level_of
from osiris.loop.prices import PriceDesk
from osiris.loop.rewards import Reward, by_week, components, reward_of, week_of, weighted
from osiris.settings import Settings
from osiris.store.advice import AdviceStore
from osiris.store.tables import sql_time

RESAMPLES, LEAST_WEEKS = 99_999, 8


@dataclass(frozen=True)
class Measurement:
    """The rewards of both, their difference with a 95 % interval, and whether it is better beyond chance.

    `level` is that of this look, `least` the gain that is worth a patch, `weeks` how many weeks were resampled.
    """

    candidate: Reward
    incumbent: Reward
    difference: float
    low: float
    high: float
    p_value: float
    level: float
    least: float
    look: int
    weeks: int
    first: datetime
    last: datetime

    @property
    def better(self) -> bool:
        """Whether the patch may be applied."""
        return self.difference >= self.least and self.p_value < self.level

    def as_dict(self) -> dict[str, Any]:
        """The measurement as JSON takes it."""
        moments = {"first": self.first.isoformat(), "last": self.last.isoformat()}
        return asdict(self) | moments | {"better": self.better}


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


def measure(candidate: SandboxedPolicy, incumbent: SandboxedPolicy, past: Past, look: int) -> Measurement:
    """Compare two policies on the past; `look` counts, from 1, those of the same kind on much the same days.

    Raises `TooLittleData` when there is too little to judge any patch by, `CandidateFailed` when the candidate fails.
    """
    moments = past_closes(past.settings, past.as_of)
    shots = [
        take_snapshots(past.prices, policy, past.settings.advise.tickers, moments, [])
        for policy in (candidate, incumbent)
    ]
    if not shots[0]:
        raise TooLittleData(f"bars in the {past.settings.kernel.measure_days} days before", "none", "import prices")
    first = drafted(shots[0], past)
    same = [shot.prompt for shot in shots[0]] == [shot.prompt for shot in shots[1]]
    drafts = [first, first if same else drafted(shots[1], past)]
    trades = [
        paper_trades(policy, taken, shots[1], written, past)
        for policy, taken, written in zip((candidate, incumbent), shots, drafts, strict=True)
    ]
    return compared(*trades, past.settings, look)


def past_closes(settings: Settings, as_of: datetime) -> list[datetime]:
    """The session closes of the days on which a patch is measured at `as_of`."""
    start = as_of - timedelta(days=settings.kernel.measure_days)
    return [moment.to_pydatetime() for moment in sessions_between(settings.prices.calendar, start, as_of)]


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
            if passes:
                rows.append(idea_row(number, shot, reply.reply) | {"size": size, "latency_ms": 1000 * drafts.seconds})
                vectors.append(idea_vector(seen.vector, reply.reply).tolist())
    if not rows:
        return pd.DataFrame(columns=["at", "pnl", "novelty", "latency_ms"])
    ideas = pd.DataFrame(rows)
    ideas = ideas.assign(novelty=_novelty(ideas["as_of"], vectors, past))
    settled = settle_on_paper(ideas, past.prices, past.settings, past.as_of)
    filled = settled[settled["filled"]]
    return filled.assign(at=pd.to_datetime(filled["as_of"], utc=True), pnl=filled["size"] * filled["r"])


def compared(candidate: pd.DataFrame, incumbent: pd.DataFrame, settings: Settings, look: int) -> Measurement:
    """The paired bootstrap of whole weeks.

    Raises `TooLittleData` when the incumbent has too few trades, `CandidateFailed` when the candidate alone has.
    """
    rules = settings.rewards
    before = reward_of(incumbent, rules)
    if len(candidate) < rules.min_trades:
        raise CandidateFailed(f"{rules.min_trades} trades that it lets through", str(len(candidate)), "loosen it")
    rewards = [reward_of(candidate, rules), before]
    dated = [week_of(trades["at"]) for trades in (candidate, incumbent)]
    weeks = pd.date_range(min(map(min, dated)), max(map(max, dated)), freq="7D")
    sums = [by_week(trades, of, weeks) for trades, of in zip((candidate, incumbent), dated, strict=True)]

    def difference(drawn: np.ndarray, axis: int) -> np.ndarray:
        places = np.moveaxis(drawn, axis, 0)
        mine, theirs = (weighted(components(one, places, rules), rules) for one in sums)
        return mine - theirs

    if len(weeks) < LEAST_WEEKS:
        raise TooLittleData(f"trades in {LEAST_WEEKS} weeks or more", f"{len(weeks)}", "measure on more days")
    found = bootstrap(
        (np.arange(len(weeks)),), difference, n_resamples=RESAMPLES, batch=1000, method="percentile", vectorized=True,
        rng=np.random.default_rng(settings.model.seed),
    )  # fmt: skip
    samples = found.bootstrap_distribution
    p_value = (1 + np.count_nonzero(~(samples > 0))) / (1 + len(samples))  # a sample without trades is not better
    low, high = np.nanpercentile(samples, [2.5, 97.5])
    ends = min(candidate["at"].min(), incumbent["at"].min()), max(candidate["at"].max(), incumbent["at"].max())
    return Measurement(
        *rewards, difference=rewards[0].total - rewards[1].total, low=float(low), high=float(high),
        p_value=float(p_value),
        level=level_of(look, settings.kernel.level / 2), least=settings.kernel.min_gain,
        look=look, weeks=len(weeks),
        first=ends[0].to_pydatetime(), last=ends[1].to_pydatetime(),
    )  # fmt: skip


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
