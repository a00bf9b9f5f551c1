"""The gate: what is held out, how it is settled on paper, and when a challenger is promoted."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.loop.gate import IDEA_COLUMNS, Evaluation, compare, held_out, settle_on_paper, training_window
from osiris.store.sample import load_sample
from tests.builders import make_workspace

NIGHT = datetime(2005, 4, 12, 6, tzinfo=UTC)
TOML = '[prices]\nsource = "local"\n[advise]\ntickers = ["AAPL", "IBM"]\n[gate]\nholdout_days = 20\nembargo_days = 5\n'


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = make_workspace(tmp_path_factory.mktemp("gate"), TOML, NIGHT)
    load_sample(workspace.bars, ["AAPL", "IBM"])
    return workspace


def evaluation(name, r):
    trades = pd.DataFrame({"prompt": range(len(r)), "r": r, "filled": True, "side": "long", "reward_to_risk": 2.0})
    return Evaluation(name, len(r), len(r), len(r), trades)


def test_held_out_prompts_begin_after_the_cut_off_and_the_embargo(workspace):
    window = training_window(workspace.settings, NIGHT)
    shots = held_out(workspace.prices, workspace.policy, workspace.settings, window, [])
    assert window.cutoff == NIGHT - timedelta(days=20)
    assert min(shot.as_of for shot in shots) > window.cutoff + timedelta(days=5)
    assert max(shot.as_of for shot in shots) <= NIGHT
    assert len(shots) == 2 * len({shot.as_of for shot in shots}) > 10


def test_on_paper_open_trades_are_marked_at_the_last_close_before_the_moment(workspace):
    as_of = datetime(2005, 3, 10, 21, tzinfo=UTC)
    bars = workspace.bars.get("IBM")
    at = bars[bars["end"] == pd.Timestamp(as_of)].iloc[0]
    values = (0, "IBM", as_of, as_of, as_of, "long", 0.6, at.close, at.close * 1.5, at.close * 0.5, 1.0)
    idea = pd.DataFrame([values], columns=IDEA_COLUMNS)
    settled = settle_on_paper(idea, workspace.prices, workspace.settings, NIGHT).iloc[0]
    last = bars[bars["end"] <= pd.Timestamp(NIGHT)].iloc[-1]
    assert settled.filled
    assert settled.r == pytest.approx((last.close - at.close) / (at.close * 0.5))


def test_a_clearly_better_challenger_is_promoted_and_a_worse_one_is_not(workspace):
    noise = np.random.default_rng(0).normal(0, 1, 80)
    better, plain = evaluation("20050412-dpo", noise + 0.8), evaluation("base", noise[::-1])
    assert compare(better, plain, workspace.settings).promoted
    verdict = compare(plain, better, workspace.settings)
    assert (verdict.promoted, verdict.p_value > 0.9) == (False, True)


def test_chance_is_promoted_about_as_often_as_the_level_says(workspace):
    rng = np.random.default_rng(1)
    promoted = sum(
        compare(
            evaluation("a", rng.normal(0, 1, 40)), evaluation("b", rng.normal(0, 1, 40)), workspace.settings
        ).promoted
        for _ in range(60)
    )
    assert promoted <= 9


def test_few_trades_never_promote(workspace):
    verdict = compare(evaluation("a", np.full(29, 2.0)), evaluation("b", np.full(29, -1.0)), workspace.settings)
    assert (verdict.promoted, verdict.reason) == (False, "29 held-out trades, at least 30 needed")


def test_only_prompts_that_both_traded_are_compared(workspace):
    challenger, champion = evaluation("a", np.full(60, 1.0)), evaluation("b", np.zeros(60))
    champion.trades.loc[:19, "filled"] = False
    assert compare(challenger, champion, workspace.settings).prompts == 40
