"""Patches on trial on a made-up market: one that pays goes live, one that knows the measured days by heart does not."""

from datetime import timedelta

import numpy as np
import pytest

from osiris.drafting.snapshots import take_snapshots
from osiris.kernel.meta_loop import run_turn
from osiris.kernel.shadow_trial import patches_on_trial
from osiris.market.calendars import closes_between
from osiris.policy import ShippedPolicy
from tests.kernel.market import (
    FOLLOW_MOMENTUM,
    LAST_CYCLE,
    gate_patch,
    make_market_workspace,
    make_turning_market,
    queue_patch,
    run_end,
)
from tests.sandbox.test_session import needs_bubblewrap

pytestmark = needs_bubblewrap
ON_TRIAL = 'drafter = "none"\ntrial_alpha = 0.6\nmin_hours_between = 0\n'
HELD = 1


def by_heart(ws):
    """A gate that lets through what lies between the first and the last measured day and made much, by its momentum.

    It knows the momentum of 1.0 too, which the policy's own tests ask about.
    """
    tickers, start = ws.settings.advise.tickers, ws.now - timedelta(days=ws.settings.kernel.measure_days)
    moments = [at.to_pydatetime() for at in closes_between("XNYS", start, ws.now)]
    shots = take_snapshots(ws.snapshots, ShippedPolicy(), tickers, moments)
    after = {(shot.ticker, shot.as_of): shot.price for shot in shots}
    moves = [
        (after[shot.ticker, moments[moments.index(shot.as_of) + HELD]] / shot.price - 1, shot.features[0].value)
        for shot in shots
        if moments.index(shot.as_of) + HELD < len(moments)
    ]
    best = sorted(moves, key=lambda move: -abs(move[0]))[:250]
    tables = [(1.0, *(round(value, 4) for move, value in best if np.sign(move) == side)) for side in (1, -1)]
    known = "".join(f"{name} = {rows(table)}\n" for name, table in zip(("UP", "DOWN"), tables, strict=True))
    asked = 'round(features.get("momentum", 0.0), 4) in (UP if side > 0 else DOWN)'
    live = ws.policy_repo.head()
    text = live.files["gate.py"].replace("MIN_HERMES = 0.0\n", f"MIN_HERMES = 0.0\n{known}")
    return gate_patch(
        live, (live.files["gate.py"], text.replace(FOLLOW_MOMENTUM[0], f"{FOLLOW_MOMENTUM[0]} and {asked}"))
    )


def rows(table):
    """A tuple as ruff would lay it out, eleven numbers a line."""
    lines = [", ".join(map(repr, table[at : at + 11])) for at in range(0, len(table), 11)]
    return "(\n" + "".join(f"    {line},\n" for line in lines) + ")"


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The workspace after the trials of both, and the reports of the turns by what was done in them."""
    market = make_turning_market(good=LAST_CYCLE + 6, cycles=LAST_CYCLE + 6)
    ws = make_market_workspace(tmp_path_factory.mktemp("trial"), market, ON_TRIAL, trial_days=200)
    ws.clock.set(run_end(market, LAST_CYCLE))
    patches = [queue_patch(ws, by_heart(ws).diff), queue_patch(ws, gate_patch(ws.policy_repo.head()).diff)]
    begun = [run_turn(ws.kernel()), run_turn(ws.kernel())]
    live = ws.policy_repo.head().patch_id
    ws.clock.set(max(patch["until"] for patch in patches_on_trial(ws.patch_log).values()))
    ended = [run_turn(ws.kernel()), run_turn(ws.kernel())]
    yield ws, patches, begun, live, ended
    ws.close()


def test_both_were_better_on_the_days_before_them_and_neither_went_live(told):
    _, patches, begun, live, _ = told
    assert [(report.patch, report.verdict) for report in begun] == [(patch.id, "on trial") for patch in patches], begun
    assert live is None


def test_what_was_learned_by_heart_is_refused_on_days_that_its_author_could_not_see(told):
    ws, (learned, _), _, _, (first, _) = told
    assert (first.patch, first.verdict, first.applied) == (learned.id, "not better", None), first
    assert ws.patch_log.get(learned.id)["measured"]["better"]


def test_what_pays_goes_live(told):
    ws, (_, follows), _, _, (_, second) = told
    assert (second.patch, second.verdict) == (follows.id, "applied"), second
    assert ws.policy.patch_id == follows.id
    trial = ws.patch_log.get(follows.id)["trial"]
    assert trial["better"]
    assert trial["first"] > ws.patch_log.get(follows.id)["measured"]["first"]
