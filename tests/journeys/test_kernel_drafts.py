"""A patch that a model on a server drafts, and one of the prompt: from the draft to the next ideas."""

import pytest

from osiris.config.settings import Settings
from osiris.drafting.snapshots import take_snapshots
from osiris.kernel.apply import apply_patch
from osiris.kernel.meta_loop import run_turn
from osiris.kernel.patch import patch_from_text
from osiris.llm.starter import ensure_starter
from osiris.policy import ShippedPolicy
from tests.kernel.market import (
    FOLLOW_MOMENTUM,
    LAST_CYCLE,
    draft_at,
    make_market_workspace,
    make_turning_market,
    queue_patch,
    run_end,
)
from tests.kernel.test_repo import diff_of
from tests.kernel.worker import add_judged_patch
from tests.llm.model_factories import save_trained
from tests.llm.server import transformers_server
from tests.sandbox.test_session import needs_bubblewrap

pytestmark = needs_bubblewrap
LONG = 'momentum up","side":"long","target_atr":2.0,"stop_atr":1.0,"confidence":0.6}'
ON_A_SERVER = """drafter = "model"
[model]
base = "{model}"
temperature = 0
retries = 0
[llm]
backend = "openai"
url = "{url}"
drafter = "{model}"
judge = "{judge}"
"""


@pytest.fixture(scope="module")
def by_model(tmp_path_factory):
    """The workspace after a turn in which nobody had submitted anything, the report and the ideas that came next.

    Its model goes long whatever it is shown, and drafts one patch: a risk gate that follows momentum.
    """
    folder = tmp_path_factory.mktemp("model")
    answers = {
        "and nothing else. [reply]:": diff_of(*FOLLOW_MOMENTUM, "gate.py"),
        '(0 to 1). [reply]:{"ticker":"P000","rationale":"': LONG,
    }  # fmt: skip
    model, market = save_trained(folder / "taught", answers), make_turning_market(good=LAST_CYCLE + 4, tickers=4)
    with transformers_server(tmp_path_factory.mktemp("server")) as url:
        extra = ON_A_SERVER.format(model=model, url=url, judge=ensure_starter("judge", Settings()))
        ws = make_market_workspace(folder, market, extra)
        ws.clock.set(run_end(market, LAST_CYCLE))
        report = run_turn(ws.kernel())
        for moment in market.draft_moments[LAST_CYCLE + 1 :]:
            draft_at(ws, moment)
        yield ws, model, report
        ws.close()


class TestAPatchThatAModelDrafts:
    def test_is_proved_measured_and_applied(self, by_model):
        ws, model, report = by_model
        assert (report.verdict, report.notes) == ("applied", []), report.reason
        patch = ws.patch_log.get(report.patch)
        assert (patch["by"], patch["target"], patch["live"]) == (str(model), "gate.py", True)
        assert FOLLOW_MOMENTUM[1] in ws.policy_repo.head().files["gate.py"]
        assert ws.patch_log.drafted_ids() == {report.patch}

    def test_gates_the_next_ideas(self, by_model):
        ws, _, report = by_model
        ideas = ws.advice.frame(f"patch_id = '{report.patch}'")
        gated = ideas["status"] == "gated"
        assert 0 < gated.sum() < len(ideas)
        assert (ideas["prompt"].str.contains("momentum down") == gated).all()


RIGHT = "(close[-1] - sum(close[-bars:]) / bars) / unit"
WRONG = "(sum(close[-bars:]) / bars - close[-1]) / unit"


@pytest.fixture(scope="module")
def of_the_prompt(tmp_path_factory):
    """A workspace whose gate follows a momentum with the wrong sign, after a patch that shows the right one."""
    market = make_turning_market(good=LAST_CYCLE + 4)
    ws = make_market_workspace(tmp_path_factory.mktemp("prompt"), market, extra='drafter = "none"')
    ws.clock.set(run_end(market, LAST_CYCLE))
    live, then = ws.policy_repo.head(), market.draft_moments[0]
    wrong = {name: text.replace(RIGHT, WRONG).replace(*FOLLOW_MOMENTUM) for name, text in live.files.items()}
    apply_patch(ws.patch_log, ws.policy_repo, add_judged_patch(ws.patch_log, "wrong", then), wrong, live, then)
    patch = patch_from_text("context.py", live.files["context.py"], ws.policy_repo.head(), "ann")
    queue_patch(ws, patch.diff)
    report = run_turn(ws.kernel())
    draft_at(ws, ws.now)
    yield ws, patch, report
    ws.close()


class TestAPatchOfThePrompt:
    def test_is_measured_on_drafts_of_its_own(self, of_the_prompt):
        ws, patch, report = of_the_prompt
        assert (report.patch, report.verdict) == (patch.id, "applied"), report.reason
        measured = ws.patch_log.get(patch.id)["measured"]
        assert measured["better"]
        assert (
            measured["candidate"]["latency"] != measured["incumbent"]["latency"]
        )  # drafts that are shared took as long

    def test_is_what_the_next_prompt_shows(self, of_the_prompt):
        ws, patch, _ = of_the_prompt
        ideas = ws.advice.frame(f"patch_id = '{patch.id}'")
        shown = take_snapshots(ws.snapshots, ShippedPolicy(), ws.settings.advise.tickers, [ws.now])
        assert set(ideas["prompt"]) == {shot.prompt for shot in shown}
