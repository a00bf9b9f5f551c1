"""The gate: what is held out, how it is settled on paper, and when a challenger is promoted."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from osiris.core.ideas import Side
from osiris.drafting.snapshots import take_snapshots
from osiris.evaluation.heldout import evaluate_drafts, take_heldout_snapshots, training_window
from osiris.evaluation.paper_trading import PAPER_COLUMNS, simulate_paper_trades
from osiris.learn_check.no_skill import coin_reply
from osiris.llm.generate import Draft
from osiris.market.sample import load_sample
from tests.builders import make_workspace

NIGHT = datetime(2005, 4, 12, 6, tzinfo=UTC)
TOML = '[prices]\nsource = "local"\n[advise]\ntickers = ["AAPL", "IBM"]\n[gate]\nholdout_days = 20\nembargo_days = 5\n'


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = make_workspace(tmp_path_factory.mktemp("gate"), TOML, NIGHT)
    load_sample(workspace.bars, ["AAPL", "IBM"])
    return workspace


@pytest.mark.system
def test_held_out_prompts_begin_after_the_cut_off_and_the_embargo(workspace):
    window = training_window(workspace.settings, NIGHT)
    shots = take_heldout_snapshots(workspace.snapshots, workspace.policy, window)
    assert window.cutoff == NIGHT - timedelta(days=20)
    assert min(shot.as_of for shot in shots) > window.cutoff + timedelta(days=5)
    assert max(shot.as_of for shot in shots) <= NIGHT
    assert len(shots) == 2 * len({shot.as_of for shot in shots}) > 10


def test_on_paper_open_trades_are_marked_at_the_last_close_before_the_moment(workspace):
    as_of = datetime(2005, 3, 10, 21, tzinfo=UTC)
    bars = workspace.bars.get("IBM")
    at = bars[bars["end"] == pd.Timestamp(as_of)].iloc[0]
    values = (0, "IBM", as_of, as_of, as_of, "long", 0.6, at.close, at.close * 1.5, at.close * 0.5, 1.0, 1.0)
    idea = pd.DataFrame([values], columns=PAPER_COLUMNS)
    settled = simulate_paper_trades(idea, workspace.prices, workspace.settings, NIGHT).iloc[0]
    last = bars[bars["end"] <= pd.Timestamp(NIGHT)].iloc[-1]
    assert settled.filled
    assert settled.r == pytest.approx((last.close - at.close) / (at.close * 0.5))

    assert settled.days_open == pytest.approx((last.end - pd.Timestamp(as_of)) / pd.Timedelta(days=1))


@pytest.mark.system
def test_a_habit_is_what_earlier_decisions_would_have_made(workspace):
    moments = [bar.end.to_pydatetime() for bar in workspace.bars.get("IBM").iloc[-60:-20].itertuples()]
    shots = take_snapshots(workspace.snapshots, workspace.policy, ["IBM"], moments)
    long = coin_reply("IBM", Side.LONG)
    drafts = [[Draft(long.to_json(), long, 0.0, 1)] * 2 for _ in shots]
    as_of = workspace.bars.get("IBM").iloc[-1].end.to_pydatetime()
    found = evaluate_drafts("always long", shots, drafts, workspace.prices, workspace.settings, as_of).filled
    assert found["habit"].isna().sum() == 2  # the two replies of the first session
    assert found["habit"].dropna().to_numpy() == pytest.approx(found["r"][found["habit"].notna()].to_numpy())


def test_the_wait_for_an_entry_is_no_time_in_the_market(workspace):
    as_of = datetime(2005, 3, 10, 21, tzinfo=UTC)
    bars = workspace.bars.get("IBM")
    later = bars[bars["start"] >= pd.Timestamp(as_of)].reset_index(drop=True)
    low = later["low"].cummin()
    place = int(np.argmax(low < later["low"].iloc[:3].min()))  # the first bar below the lows of the first three
    entry = (low.iloc[place] + low.iloc[place - 1]) / 2
    values = (0, "IBM", as_of, as_of, as_of, "long", 0.6, entry, entry * 1.5, entry * 0.5, 1.0, 1.0)
    settled = simulate_paper_trades(
        pd.DataFrame([values], columns=PAPER_COLUMNS), workspace.prices, workspace.settings, NIGHT
    ).iloc[0]
    last = bars[bars["end"] <= pd.Timestamp(NIGHT)]["end"].iloc[-1]
    assert place >= 3
    assert settled.days_open == pytest.approx((last - pd.Timestamp(as_of)) / pd.Timedelta(days=1))
    assert settled.days_held == pytest.approx((last - later["end"].iloc[place - 1]) / pd.Timedelta(days=1))
