"""Coins against the gate: the quick way to settle them says what the gate itself would say, and chance stays rare."""

import numpy as np
import pandas as pd
import pytest

from osiris.core.errors import BadInput
from osiris.core.ideas import Side
from osiris.drafting.snapshots import take_snapshots
from osiris.evaluation.heldout import evaluate_drafts
from osiris.learn_check.no_skill import (
    CANDIDATES_PER_PROMPT,
    RandomWalks,
    coin_reply,
    count_promotions,
    settle_both_sides,
    settled_walks,
)
from osiris.learn_check.trial import TrialPlan
from osiris.llm.generate import Draft
from osiris.market.sample import load_sample
from tests.builders import make_workspace


def test_what_coins_are_worth_is_what_the_gate_finds(tmp_path):
    workspace = make_workspace(tmp_path, '[prices]\nsource = "local"\n', "2005-05-01T06:00:00Z")
    load_sample(workspace.bars, ["AAPL", "IBM"])
    bars = workspace.bars.get("IBM")
    moments = [
        bar.end.to_pydatetime() for bar in bars[bars["end"] < pd.Timestamp("2005-05-01T00:00Z")][-40:].itertuples()
    ]
    shots = take_snapshots(workspace.snapshots, workspace.policy, ["AAPL", "IBM"], moments)
    as_of, desk = moments[-1], (workspace.prices, workspace.settings)
    long = np.random.default_rng(0).random((len(shots), CANDIDATES_PER_PROMPT)) < 0.7
    drafts = [
        [Draft("", coin_reply(shot.ticker, Side.LONG if one else Side.SHORT), 0.0, 1) for one in group]
        for shot, group in zip(shots, long, strict=True)
    ]
    quick = settle_both_sides(shots, *desk, as_of).evaluate("coins", long)
    wanted = evaluate_drafts("coins", shots, drafts, *desk, as_of)
    assert quick.metrics() == pytest.approx(wanted.metrics())
    columns = ["prompt", "ticker", "as_of", "side", "r", "filled", "days_open", "days_held", "habit"]
    pd.testing.assert_frame_equal(
        quick.trades[columns].reset_index(drop=True),
        wanted.trades[columns].reset_index(drop=True),
        check_dtype=False,
        atol=1e-6,
    )
    assert wanted.filled["habit"].notna().sum() > 100


def test_the_nights_of_a_check_fit_its_calendar_and_more_are_refused():
    plan = TrialPlan()
    assert len(RandomWalks(0, nights=plan.coin_periods).closes) > plan.coin_periods * 80
    with pytest.raises(BadInput, match="ask for fewer"):
        _ = RandomWalks(0, nights=1000).closes


def test_coins_with_a_side_bias_are_rarely_promoted_and_those_who_know_are():
    """300 comparisons, of which 3 or 4 err (three seeds, 2026-11-28); with four times the alpha 18 to 23 do.

    A mean of 4 exceeds 10 with a probability of 0.003 (Poisson), and a mean of 20 stays below with 0.01.
    """
    with settled_walks(RandomWalks(5, tickers=6, nights=100)) as (nights, settings):
        coins = [count_promotions(nights, share, settings, 1)["promoted"] for share in (0.25, 0.75, 1.0)]
        some = nights[:12]
        knows = [np.where(night.r_multiples[:, 0] > night.r_multiples[:, 1], 0.9, 0.1) for night in some]
        assert sum(coins) <= 10
        assert count_promotions(some, knows, settings, 1)["promoted"] == 12
