"""Adapters without skill: how often the gate promotes one that tosses coins, however biased the coins are.

Prices are random walks without drift that share a part of their returns. The champion goes long on half of the prompts,
the challenger more or less often, and neither knows anything. Each nightly run has its own held-out days. So the runs
are independent, and every comparison is a first look, which may err with probability `gate.alpha` / 2.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.config.settings import Settings
from osiris.core.errors import BadInput
from osiris.core.ideas import Reply, Side
from osiris.drafting.snapshot import ATR_BARS, Snapshot, true_range
from osiris.evaluation import heldout
from osiris.evaluation.gate import compare_adapters
from osiris.evaluation.paper_trading import PAPER_COLUMNS, simulate_paper_trades, to_paper_row
from osiris.evaluation.side_bias import earlier_indices
from osiris.learn_check.report import promoted_share
from osiris.market.calendars import closes_between, daily_frame
from osiris.market.provider import BarProvider
from osiris.market.synthetic import FIRST_PRICE, SESSION_VOLATILITY, STEPS_PER_SESSION, SYNTHETIC_CALENDAR
from osiris.workspace import Workspace, open_workspace

FIRST_WALK_SESSION = datetime(1990, 1, 2, tzinfo=UTC)
"""The first session of a walk; from here on a calendar has some 9,000 sessions."""
LONG_SHARES = (0.25, 0.5, 0.75, 1.0)
"""The challengers' chances of going long: biased to short, even, biased to long, always long."""
TARGET_ATR = 1.5
STOP_ATR = 1.0
WARM_UP_SESSIONS = 20
"""Sessions before the first prompt, more than the ATR needs."""
CANDIDATES_PER_PROMPT = 2


@dataclass(frozen=True)
class RandomWalks:
    """Correlated daily bars without drift: `nights` stretches of `sessions` held-out sessions each, one after another.

    `overnight` is the share of the variance between the sessions. Because of it, prices may jump over entries and
    stops.
    """

    seed: int
    tickers: int = 20
    correlation: float = 0.4
    overnight: float = 0.25
    nights: int = 100
    sessions: int = 80

    @cached_property
    def closes(self) -> list[datetime]:
        """The close of every session, UTC."""
        count = WARM_UP_SESSIONS + self.nights * self.sessions
        # the factor leaves room for weekends and holidays: two days for each session, and 20 more
        found = closes_between(
            SYNTHETIC_CALENDAR, FIRST_WALK_SESSION, FIRST_WALK_SESSION + pd.Timedelta(days=2 * count + 20)
        )
        if len(found) < count:
            raise BadInput(
                f"nightly runs for which {SYNTHETIC_CALENDAR} has {count} sessions", f"{len(found)}", "ask for fewer"
            )
        return [moment.to_pydatetime() for moment in found[:count]]

    def bars(self) -> dict[str, pd.DataFrame]:
        """Daily bars by ticker, in the format of `osiris.market.calendars`."""
        rng = np.random.default_rng([self.seed, self.tickers])
        shape = len(self.closes), 1 + STEPS_PER_SESSION
        common = rng.normal(0, 1, shape)
        dates = pd.DatetimeIndex([close.date() for close in self.closes])
        return {
            f"W{number:03d}": daily_frame(
                dates, _ohlc(self._steps(common, rng.normal(0, 1, shape))), SYNTHETIC_CALENDAR, "walk"
            )
            for number in range(self.tickers)
        }

    def _steps(self, common: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log returns of one ticker, shape (sessions, 1 + STEPS_PER_SESSION): the overnight step, then those within."""
        mixed = np.sqrt(self.correlation) * common + np.sqrt(1 - self.correlation) * own
        variance = SESSION_VOLATILITY**2 * np.array(
            [self.overnight] + [(1 - self.overnight) / STEPS_PER_SESSION] * STEPS_PER_SESSION
        )
        # half the variance is taken off, so that the expected price (not its logarithm) has no drift
        return mixed * np.sqrt(variance) - variance / 2


@dataclass(frozen=True)
class SettledPrompts:
    """Held-out prompts whose outcomes are known for both sides, so that any coins can be evaluated at once.

    `sides` has two rows for each prompt, settled by the gate's own function: first all prompts long, then all short.
    Prompts are ordered by session, and within a session by ticker; a session has `tickers` of them.
    """

    sides: pd.DataFrame
    tickers: int

    @property
    def prompt_count(self) -> int:
        """The number of prompts."""
        return len(self.sides) // 2

    @cached_property
    def r_multiples(self) -> NDArray[np.float64]:
        """R multiple of each prompt, long and short, shape (prompts, 2); NaN where the entry was not reached."""
        return np.where(self.sides["filled"], self.sides["r"], np.nan).reshape(2, -1).T

    def evaluate(self, name: str, long: NDArray[np.bool_]) -> heldout.Evaluation:
        """The evaluation of a model that goes `long` on these candidates, shape (prompts, candidates)."""
        prompts, candidates = long.shape
        # row p of `sides` is prompt p long, row p + prompts is the same prompt short
        rows = (np.arange(prompts)[:, None] + prompts * ~long).ravel()
        habit = np.repeat(self._habit(long), candidates)
        return heldout.Evaluation(name, prompts, long.size, long.size, self.sides.take(rows).assign(habit=habit))

    def _habit(self, long: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The mean R on each prompt, shape (prompts,), if decided like the earlier sessions on its ticker."""
        shares = long.mean(axis=1).reshape(-1, self.tickers)
        earlier = [np.full(self.tickers, np.nan)]
        earlier += [shares[earlier_indices(place)].mean(axis=0) for place in range(1, len(shares))]
        # shape (prompts, 2): the share s of earlier longs becomes the weights (s, 1 - s) of long and short
        weights = np.concatenate(earlier)[:, None] * [1, -1] + [0, 1]
        known = np.isfinite(self.r_multiples)
        found = np.where(known, self.r_multiples * weights, 0.0).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return found / np.where(known, weights, 0.0).sum(axis=1)


def settle_both_sides(
    snapshots: Sequence[Snapshot], prices: BarProvider, settings: Settings, as_of: datetime
) -> SettledPrompts:
    """Settle every prompt long and short at `as_of`; `snapshots` are ordered by session, then by ticker."""
    ideas = [
        to_paper_row(number, snapshot, coin_reply(snapshot.ticker, side))
        for side in (Side.LONG, Side.SHORT)
        for number, snapshot in enumerate(snapshots)
    ]
    settled = simulate_paper_trades(pd.DataFrame(ideas, columns=PAPER_COLUMNS), prices, settings, as_of)
    return SettledPrompts(settled, len({snapshot.ticker for snapshot in snapshots}))


def coin_reply(ticker: str, side: Side) -> Reply:
    """The reply of a coin: a side, always with the same target and stop."""
    return Reply(ticker=ticker, rationale="a coin", side=side, target_atr=TARGET_ATR, stop_atr=STOP_ATR, confidence=0.5)


def compare_coins(
    walks: RandomWalks, long_shares: Sequence[float] = LONG_SHARES, step: Callable[[str], None] = lambda what: None
) -> list[dict[str, float]]:
    """For each share of longs, how many nightly runs promoted the challenger, with Wilson's 95 % interval."""
    with settled_walks(walks) as (nights, settings):
        found = []
        for share in long_shares:
            step(f"{share:.0%} long against 50 %")
            found.append({"long_share": share} | count_promotions(nights, share, settings, walks.seed))
    return [{"correlation": walks.correlation, "tickers": walks.tickers} | one for one in found]


@contextmanager
def settled_walks(walks: RandomWalks) -> Iterator[tuple[list[SettledPrompts], Settings]]:
    """The held-out prompts of each nightly run of `walks`, settled in a temporary workspace, and its settings."""
    with local_workspace(walks.closes[-1]) as workspace:
        bars = walks.bars()
        for ticker, frame in bars.items():
            workspace.bars.merge(ticker, frame)
        settings = workspace.settings
        yield (
            [
                settle_both_sides(snapshots, workspace.prices, settings, as_of)
                for snapshots, as_of in _held_out_snapshots(walks, bars)
            ],
            settings,
        )


@contextmanager
def local_workspace(as_of: datetime) -> Iterator[Workspace]:
    """An empty temporary workspace at the moment `as_of` that fetches no prices."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "osiris.toml").write_text('[prices]\nsource = "local"\n')
        with closing(open_workspace(folder, as_of)) as workspace:
            yield workspace


def count_promotions(
    nights: Sequence[SettledPrompts],
    chance_of_long: float | Sequence[NDArray[np.float64]],
    settings: Settings,
    seed: int,
) -> dict[str, float]:
    """In each nightly run compare a challenger with even coins; how many were promoted, with Wilson's 95 % interval.

    `chance_of_long` is the challenger's: a number for all prompts, or for each run an array of shape (prompts,).
    """
    rng = np.random.default_rng([seed, len(nights), CANDIDATES_PER_PROMPT])
    promoted = tested = 0
    for number, night in enumerate(nights):
        chance = chance_of_long if isinstance(chance_of_long, float) else chance_of_long[number][:, None]
        challenger, even = (
            night.evaluate(name, rng.random((night.prompt_count, CANDIDATES_PER_PROMPT)) < share)
            for name, share in (("challenger", chance), ("even", 0.5))
        )
        verdict = compare_adapters(challenger, even, settings)
        promoted, tested = promoted + verdict.promoted, tested + (verdict.p_value is not None)
    return promoted_share(promoted, len(nights)) | {"tested": tested}


def _held_out_snapshots(walks: RandomWalks, bars: dict[str, pd.DataFrame]) -> Iterator[tuple[list[Snapshot], datetime]]:
    """The prompts of each nightly run, and the moment at which they are settled."""
    atrs = {ticker: _atr(frame) for ticker, frame in bars.items()}
    for night in range(walks.nights):
        places = range(WARM_UP_SESSIONS + night * walks.sessions, WARM_UP_SESSIONS + (night + 1) * walks.sessions)
        snapshots = [
            _walk_snapshot(ticker, walks.closes[place], frame["close"].iloc[place], atrs[ticker][place])
            for place in places[:-1]
            for ticker, frame in bars.items()
        ]
        yield snapshots, walks.closes[places[-1]]


def _atr(frame: pd.DataFrame) -> NDArray[np.float64]:
    """The ATR at every bar, shape (bars,); NaN for the first `ATR_BARS`."""
    high, low, close = (frame[name].to_numpy(np.float64) for name in ("high", "low", "close"))
    means = pd.Series(true_range(high, low, close)).rolling(ATR_BARS).mean()
    # the first bar has no close before it, hence no true range
    return np.concatenate([[np.nan], means.to_numpy()])


def _walk_snapshot(ticker: str, as_of: datetime, price: float, atr: float) -> Snapshot:
    return Snapshot(ticker, as_of, as_of, float(price), float(atr), (), "", f"{ticker} {as_of:%Y-%m-%d}", "")


def _ohlc(steps: NDArray[np.float64]) -> pd.DataFrame:
    """Open, high, low, close of each session; the first of its `steps` leads from the close before to the open."""
    path = steps.ravel().cumsum().reshape(steps.shape)
    values = FIRST_PRICE * np.exp([path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1]])
    return pd.DataFrame(dict(zip(("open", "high", "low", "close"), values.round(6), strict=True)))
