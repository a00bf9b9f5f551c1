"""A made-up market in which momentum pays until it turns, and a workspace on it."""

import json
from dataclasses import dataclass

import numpy as np

from osiris.core.commands import Feedback
from osiris.drafting.draft_ideas import DraftingContext, draft_ideas
from osiris.kernel.patch import patch_from_diff, patch_from_text
from osiris.labeling.settle import settle
from osiris.market.synthetic import (
    EXPECTED_ATR,
    QUIET_SESSIONS,
    RUN_SESSIONS,
    WARM_UP_BARS,
    Market,
    _draw_noise,
    _draw_quiet,
)
from osiris.review.decide import decide
from osiris.storage.patches import PatchLists
from tests.builders import make_workspace

SETTINGS = """
[advise]
tickers = {tickers}
[prices]
source = "local"
[outcomes]
max_holding_days = 1
min_age_hours = 0
[review]
deadline_hours = 100000
[rewards]
min_trades = 20
[gate]
candidates = 1
[kernel]
min_hermes = 0
symbolic_seconds = 0.3
measure_days = 260
alpha = 0.2
trial_days = {trial_days}
{extra}
"""
FOLLOW_MOMENTUM = (
    "    return confidence >= MIN_CONFIDENCE",
    '    return confidence >= MIN_CONFIDENCE and side * features.get("momentum", 0.0) > 0',
)
"""A risk gate that lets through only what goes with momentum."""
LAST_CYCLE = 5
"""The cycle after whose run patches are measured: on those of cycles 1 to 5, and not on the first ideas."""


@dataclass(frozen=True)
class TurningMarket(Market):
    """Momentum tells what comes next for the first `good` cycles, and the opposite afterwards."""

    good: int = 3

    def _steps(self, rng):
        parts = [_draw_noise(rng, 1, WARM_UP_BARS - QUIET_SESSIONS)[0]]
        for cycle in range(self.cycles):
            quiet, up = _draw_quiet(rng)
            drift = (1 if cycle < self.good else -1) * up["momentum"] * self.drift * EXPECTED_ATR
            parts += [quiet, _draw_noise(rng, 1, RUN_SESSIONS)[0] + drift / quiet.shape[1]]
        return np.concatenate(parts)


def make_turning_market(good: int, cycles: int = LAST_CYCLE + 4, tickers: int = 8) -> TurningMarket:
    """Tickers with a strong drift."""
    return TurningMarket("momentum", 5, tickers, cycles, 0.8, good)


def make_market_workspace(folder, market: Market, extra: str = "", trial_days: int = 0):
    """A workspace on the market, with ideas drafted before the first."""
    toml = SETTINGS.format(tickers=json.dumps(market.names), extra=extra, trial_days=trial_days)
    ws = make_workspace(folder, toml, market.draft_moments[0])
    for ticker, bars in market.generate_bars().items():
        ws.bars.merge(ticker, bars)
    draft_at(ws, market.draft_moments[0])
    return ws


def run_end(market: Market, cycle: int):
    """The close that ends the run of a cycle."""
    return market.closes[market.closes.index(market.draft_moments[cycle]) + RUN_SESSIONS]


def draft_at(ws, moment):
    """Draft on every ticker at a moment, by the live policy."""
    ws.clock.set(moment)
    context = DraftingContext(ws.advice, ws.prices, ws.events, ws.policy, ws.settings)
    return draft_ideas(context, ws.load_drafter(moment), None, [moment])


def trade_at(ws, market: Market, cycle: int):
    """Draft before the run of a cycle, approve all that passed, and settle it after the run."""
    moment = market.draft_moments[cycle]
    report = draft_at(ws, moment)
    for idea in ws.advice.rows(f"status = 'pending' AND as_of = TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}'", ["id"]):
        said = Feedback(
            transaction_id=idea["id"], feedback_type="approval", feedback_content={"reviewer": "ann"},
            timestamp=moment, schema_version="1.0",
        )  # fmt: skip
        decide(ws.advice, said, f"key-{idea['id']}", ws.settings, moment)
    ws.clock.set(run_end(market, cycle))
    settle(ws.advice, ws.prices, ws.events, ws.settings, ws.now)
    return report


def gate_patch(live, change=FOLLOW_MOMENTUM, by="ann"):
    """A patch of the risk gate that puts one text in the place of another."""
    before = live.files["gate.py"]
    assert change[0] in before
    return patch_from_text("gate.py", before.replace(*change), live, by)


def queue_patch(ws, diff, by="ann"):
    """Put a diff in the queue, as `osiris kernel submit` does."""
    patch = patch_from_diff(diff, ws.policy_repo.head(), ws.policy_repo, by)
    PatchLists(ws.events).push(patch.to_json())
    return patch
