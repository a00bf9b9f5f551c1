"""Synthetic markets: generated daily bars in which one feature of the prompt, or none, predicts the next sessions.

A ticker alternates between quiet stretches and runs. Ideas are to be drafted at the last close of a quiet stretch. The
three features of the prompt then point up or down independently of each other: fair coins, by rejection sampling. One
of them sets the drift of the run. There are no gaps, splits or days without bars, so that only this edge and chance
decide an outcome.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.market.calendars import closes_between, daily_frame
from osiris.policy.context import MOMENTUM_BARS, RSI_BARS
from osiris.policy.contracts import WARM_UP_BARS

Edge = Literal["momentum", "reversal", "none"]
EDGES: tuple[Edge, ...] = get_args(Edge)
EDGE_FEATURES = ("momentum", "rsi", "last")
EDGE_RULES: dict[Edge, tuple[str, int]] = {"momentum": ("momentum", 1), "reversal": ("last", -1), "none": ("last", 0)}
"""The predictive feature, and whether the run follows it (1), goes against it (-1) or ignores it (0)."""
QUIET_SESSIONS = 25
"""Sessions of a quiet stretch; it holds all bars that the features use."""
RUN_SESSIONS = 12
"""Sessions of the run after a quiet stretch."""
SESSION_VOLATILITY = 0.015
"""Standard deviation of a session's log return."""
STEPS_PER_SESSION = 16
"""Steps of the path within a session."""
FIRST_PRICE = 100.0
EXPECTED_ATR = 1.32 * SESSION_VOLATILITY
"""The expected ATR, as a share of the price."""
PATHS_PER_DRAW = 64
"""Quiet stretches that are drawn at once, until one of them has the wanted directions."""
SYNTHETIC_CALENDAR = "XNYS"
SYNTHETIC_START = datetime(2001, 1, 2, tzinfo=UTC)
SYNTHETIC_SOURCE = "planted"  # stored with the bars, so it keeps its old name


@dataclass(frozen=True)
class Market:
    """A synthetic market; `drift` is that of a run, in ATR a session; each ticker has `cycles` moments for drafts."""

    edge: Edge
    seed: int
    tickers: int
    cycles: int
    drift: float

    @property
    def names(self) -> list[str]:
        """The tickers."""
        return [f"P{number:03d}" for number in range(self.tickers)]

    @property
    def session_count(self) -> int:
        """Sessions of every ticker."""
        return WARM_UP_BARS - QUIET_SESSIONS + self.cycles * (QUIET_SESSIONS + RUN_SESSIONS)

    @cached_property
    def closes(self) -> list[datetime]:
        """The close of every session, UTC."""
        # Two days a session are enough, since five sessions take seven days; 20 days more cover a few holidays.
        closes = closes_between(
            SYNTHETIC_CALENDAR, SYNTHETIC_START, SYNTHETIC_START + timedelta(days=2 * self.session_count + 20)
        )
        return [moment.to_pydatetime() for moment in closes[: self.session_count]]

    @property
    def draft_moments(self) -> list[datetime]:
        """The moments at which ideas are to be drafted: the last close before each run."""
        return [self.closes[WARM_UP_BARS - 1 + cycle * (QUIET_SESSIONS + RUN_SESSIONS)] for cycle in range(self.cycles)]

    def generate_bars(self) -> dict[str, pd.DataFrame]:
        """Daily bars by ticker, in the format of `osiris.market.calendars`; the same seed gives the same bars."""
        rng = np.random.default_rng([self.seed, EDGES.index(self.edge)])
        dates = pd.DatetimeIndex([close.date() for close in self.closes])
        return {
            name: daily_frame(dates, _bars(self._steps(rng)), SYNTHETIC_CALENDAR, SYNTHETIC_SOURCE)
            for name in self.names
        }

    def _steps(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Log returns within the sessions of one ticker, shape (session_count, STEPS_PER_SESSION)."""
        feature, sign = EDGE_RULES[self.edge]
        parts = [_draw_noise(rng, 1, WARM_UP_BARS - QUIET_SESSIONS)[0]]
        for _ in range(self.cycles):
            quiet, directions = _draw_quiet(rng)
            drift = sign * directions[feature] * self.drift * EXPECTED_ATR
            parts += [quiet, _draw_noise(rng, 1, RUN_SESSIONS)[0] + drift / STEPS_PER_SESSION]
        return np.concatenate(parts)


def _draw_noise(rng: np.random.Generator, count: int, sessions: int) -> NDArray[np.float64]:
    """Steps without drift of the price, shape (count, sessions, STEPS_PER_SESSION)."""
    # Minus half the variance: the expected price, not the expected log price, stays where it is.
    return rng.normal(
        -(SESSION_VOLATILITY**2) / 2 / STEPS_PER_SESSION,
        SESSION_VOLATILITY / np.sqrt(STEPS_PER_SESSION),
        (count, sessions, STEPS_PER_SESSION),
    )


def _draw_quiet(rng: np.random.Generator) -> tuple[NDArray[np.float64], dict[str, int]]:
    """The steps of a quiet stretch and the directions of its features: 1 up, -1 down.

    The steps have the shape (QUIET_SESSIONS, STEPS_PER_SESSION).
    """
    wanted = rng.choice((-1, 1), len(EDGE_FEATURES))
    while True:
        steps = _draw_noise(rng, PATHS_PER_DRAW, QUIET_SESSIONS)
        closes = np.exp(steps.sum(axis=2).cumsum(axis=1))
        last = closes[:, -1]
        signs = np.sign(
            [last - closes[:, -MOMENTUM_BARS:].mean(1), last - closes[:, -RSI_BARS - 1], last - closes[:, -2]]
        )
        # `signs` has the shape (3 features, PATHS_PER_DRAW); the first path with all wanted signs is taken.
        fitting = np.flatnonzero((signs == wanted[:, None]).all(axis=0))
        if len(fitting):
            return steps[fitting[0]], dict(zip(EDGE_FEATURES, wanted.tolist(), strict=True))


def _bars(steps: NDArray[np.float64]) -> pd.DataFrame:
    """Open, high, low and close of each session of a path; a session opens at the close of the session before it."""
    # Each window has the last step of the session before and those of its own: shape (sessions, STEPS_PER_SESSION + 1).
    path = np.concatenate([[0.0], steps.ravel()]).cumsum()
    inside = np.lib.stride_tricks.sliding_window_view(path, STEPS_PER_SESSION + 1)[::STEPS_PER_SESSION]
    values = (FIRST_PRICE * np.exp([inside[:, 0], inside.max(1), inside.min(1), inside[:, -1]])).round(4)
    return pd.DataFrame(dict(zip(("open", "high", "low", "close"), values, strict=True)))
