"""The way of a patch on a made-up market in which momentum pays until it turns: real models, Redis, sandbox."""

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import nbformat
import pytest

from osiris.config.settings import PROJECT_ROOT
from osiris.kernel.apply import apply_patch
from osiris.kernel.history import list_patches, summarize_rollbacks
from osiris.kernel.meta_loop import run_turn
from osiris.kernel.patch import patch_from_text
from osiris.kernel.repo import SHIPPED_MESSAGE
from osiris.policy import ShippedPolicy
from osiris.storage.events import TRACES_KEY
from osiris.storage.patches import (
    APPLIED_PATCHES_KEY,
    DEAD_LETTERS_KEY,
    PATCH_QUEUE_KEY,
    ROLLED_BACK_TRACES_KEY,
    PatchLists,
)
from tests.kernel.market import (
    FOLLOW_MOMENTUM,
    LAST_CYCLE,
    gate_patch,
    make_market_workspace,
    make_turning_market,
    queue_patch,
    run_end,
    trade_at,
)
from tests.kernel.test_repo import diff_of
from tests.sandbox.test_session import needs_bubblewrap

pytestmark = needs_bubblewrap


def osiris(ws, *arguments, **environment):
    """Run the command line on a workspace."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("osiris")), *arguments, "-w", str(ws.folder)],
        cwd=PROJECT_ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


class TestAPatchThatPays:
    @pytest.fixture(scope="class")
    def told(self, tmp_path_factory):
        """The workspace after the patch went live and one run was traded by it, and the reports of its turns."""
        market = make_turning_market(good=LAST_CYCLE + 4)
        ws = make_market_workspace(tmp_path_factory.mktemp("pays"), market, extra='drafter = "none"')
        ws.clock.set(run_end(market, LAST_CYCLE))
        patch = queue_patch(ws, gate_patch(ws.policy_repo.head()).diff)
        PatchLists(ws.events).push("nonsense")

        def move_the_branch(step):
            if step == "measuring":
                live = ws.policy_repo.head()
                moved = ws.policy_repo.commit(live.files, live.commit, SHIPPED_MESSAGE, ws.now)
                ws.policy_repo.set_live(moved, live.commit)

        given_up = run_turn(ws.kernel(), move_the_branch)
        first = run_turn(ws.kernel())
        drafted = trade_at(ws, market, LAST_CYCLE + 1)
        second = run_turn(ws.kernel())
        yield ws, patch, (given_up, first), drafted, second
        ws.close()

    def test_it_is_not_applied_to_another_policy_than_it_was_measured_against(self, told):
        _, patch, (given_up, _), *_ = told
        assert (given_up.patch, given_up.verdict, given_up.applied, given_up.waiting) == (patch.id, "proved", None, 2)
        assert "somebody else moved the live branch" in given_up.notes[-1]

    def test_it_is_proved_measured_and_applied_by_the_next_turn(self, told):
        ws, patch, (_, first), *_ = told
        known = ws.patch_log.get(patch.id)
        assert (first.patch, first.verdict, first.waiting) == (patch.id, "applied", 1)
        assert all(check["passed"] for check in known["checks"])
        measured = known["measured"]
        assert measured["better"]
        assert measured["look"] == 1  # it was looked at before, and is the same patch
        assert measured["difference"] > 0
        assert measured["low"] < measured["gain"] < measured["high"]
        assert measured["candidate"]["trades"] < measured["incumbent"]["trades"]

    def test_the_next_ideas_are_drafted_by_it_and_say_so(self, told):
        ws, patch, (_, first), drafted, _ = told
        ideas = ws.advice.frame(f"patch_id = '{patch.id}'")
        assert set(ideas["policy"]) == {first.applied}
        gated = ideas["status"] == "gated"
        assert 0 < gated.sum() == drafted.gated < len(ideas)
        against = (ideas["side"] == "long") != ideas["prompt"].str.contains("momentum up")
        assert (against == gated).all()

    def test_what_was_gated_is_settled_on_paper_and_is_no_trade(self, told):
        ws, *_ = told
        gated = ws.advice.frame("status = 'gated' AND outcome IN ('win', 'loss')")
        assert len(gated)
        assert gated["shadow"].all()
        assert gated["event_id"].isna().all()

    def test_it_stays_live_while_it_pays(self, told):
        ws, patch, _, _, second = told
        assert second.rolled_back == []
        assert ws.policy.patch_id == patch.id

    def test_each_settled_trade_is_a_trace(self, told):
        ws, patch, *_ = told
        traces = PatchLists(ws.events).read_list(TRACES_KEY)
        trades = ws.advice.frame(f"patch_id = '{patch.id}' AND event_id IS NOT NULL").set_index("id")
        mine = [trace for trace in traces if trace["patch_id"] == patch.id]
        assert {trace["id"] for trace in mine} == set(trades.index)
        for trace in mine:
            assert set(trace) == {"id", "timestamp", "pnl", "patch_id"}
            assert trace["pnl"] == pytest.approx(0.01 * trades.loc[trace["id"], "r_multiple"])

    def test_redis_has_the_applied_patch_and_the_dead_letter(self, told):
        ws, patch, (_, first), *_ = told
        lists = PatchLists(ws.events)
        (applied,) = lists.read_list(APPLIED_PATCHES_KEY)
        assert (applied["id"], applied["commit"]) == (patch.id, first.applied)
        assert [(letter["item"], letter["reason"][:7]) for letter in lists.read_list(DEAD_LETTERS_KEY)] == [
            ("nonsense", "no JSON")
        ]
        assert lists._events.execute(lambda redis: redis.llen(PATCH_QUEUE_KEY)) == 0

    def test_a_patch_that_was_judged_is_not_judged_again(self, told):
        ws, patch, *_ = told
        PatchLists(ws.events).push(patch.to_json())
        report = run_turn(ws.kernel())
        assert report.patch is None
        assert any(patch.id in note for note in report.notes)

    def test_a_patch_that_is_not_what_it_says_is_refused(self, told):
        ws, *_ = told
        for spoil in ({"target": "sizing.py"}, {"before": "A = 1\n"}, {"after": "A = 1\n"}):
            live = ws.policy_repo.head()
            odd = gate_patch(live, ("MIN_CONFIDENCE = 0.0", "MIN_CONFIDENCE = 0.1")).model_copy(update=spoil)
            PatchLists(ws.events).push(odd.to_json())
            report = run_turn(ws.kernel())
            assert (report.verdict, report.reason[:5]) == ("refused", "stale")
            assert ws.policy_repo.head() == live

    def test_a_live_policy_that_fails_is_rolled_back_by_the_next_turn(self, told):
        ws, patch, *_ = told
        live = ws.policy_repo.head()
        files = live.files | {"sizing.py": "def size(*idea):\n    return 1 / 0\n"}
        facts = {"target": "sizing.py", "by": "ann", "diff": "", "verdict": "proved", "reason": ""}
        then = ws.now - timedelta(days=2)
        ws.patch_log.record("judged", "broken", then, **facts)
        apply_patch(ws.patch_log, ws.policy_repo, {"id": "broken", **facts}, files, live, then)
        queue_patch(ws, patch_from_text("sizing.py", live.files["sizing.py"], ws.policy_repo.head(), "ann").diff)
        first, second = run_turn(ws.kernel()), run_turn(ws.kernel())
        assert "no patch was judged to the end" in first.notes[-1]
        assert "ZeroDivisionError" in first.notes[-1]
        assert (first.rolled_back, second.rolled_back) == ([], ["broken"])
        assert ws.policy_repo.head().files == live.files
        assert ws.policy.patch_id == patch.id

    def test_a_person_can_roll_it_back(self, told):
        ws, patch, *_ = told
        done = osiris(ws, "kernel", "rollback", patch.id, "--reason", "we changed our minds", "--json")
        assert json.loads(done.stdout)["rolled back"] == [patch.id]
        assert isinstance(ws.policy, ShippedPolicy)
        again = osiris(ws, "kernel", "rollback", patch.id)
        assert again.returncode == 2
        assert "expected a live patch" in again.stderr


class TestAPatchThatOnlyLookedGood:
    @pytest.fixture(scope="class")
    def told(self, tmp_path_factory):
        market = make_turning_market(good=LAST_CYCLE + 1)
        ws = make_market_workspace(tmp_path_factory.mktemp("harms"), market, extra='drafter = "none"')
        ws.clock.set(run_end(market, LAST_CYCLE))
        heard = ws.events.subscribe("patch.rolled_back")
        patch = queue_patch(ws, gate_patch(ws.policy_repo.head()).diff)
        first = osiris(ws, "kernel", "run", "--as-of", ws.now.isoformat(), "--json")  # the flow, with its page
        trade_at(ws, market, LAST_CYCLE + 1)
        second = run_turn(ws.kernel())
        yield ws, patch, json.loads(first.stdout), second, heard
        ws.close()

    def test_it_is_applied_on_its_past_and_rolled_back_on_live_outcomes(self, told):
        ws, patch, first, second, _ = told
        assert (first["patch"], first["verdict"]) == (patch.id, "applied")
        assert second.rolled_back == [patch.id]
        assert isinstance(ws.policy, ShippedPolicy)
        known = ws.patch_log.get(patch.id)
        assert known["live_reward"]["total"] < 0
        assert "live reward -" in known["reason"]

    def test_the_page_of_the_flow_shows_the_diff_the_proof_and_the_rewards_with_their_intervals(self, told):
        ws, patch, *_ = told
        (path,) = (ws.folder / "mlruns" / "pages").glob("*08_kernel*.ipynb")
        outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
        shown = "".join(output.get("text", "") or output["data"].get("text/html", "") for output in outputs)
        assert patch.diff in shown
        for words in ("contracts", "laws confirmed", patch.id, f"<td>{patch.target}</td>"):
            assert words in shown
        assert sum("image/png" in output.get("data", {}) for output in outputs) == 2

    def test_the_rollback_is_announced_with_its_traces(self, told):
        ws, patch, *_, heard = told
        message = json.loads(heard.get_message(timeout=2)["data"])
        assert message["id"] == patch.id
        traces = PatchLists(ws.events).read_list(ROLLED_BACK_TRACES_KEY)
        assert {trace["patch_id"] for trace in traces} == {patch.id}
        assert sum(trace["pnl"] for trace in traces) == pytest.approx(message["cost"])
        assert message["cost"] < 0

    def test_the_log_says_how_often_why_how_long_and_at_what_cost(self, told):
        ws, patch, *_ = told
        undone = summarize_rollbacks(ws.patch_log)
        assert (undone["applied"], undone["rolled back"], undone["share"]) == (1, 1, 1.0)
        assert undone["mean hours live"] > 24
        assert undone["made while live"] < 0
        assert patch.id in undone["reasons"][0]
        (row,) = list_patches(ws.patch_log)
        assert (row["state"], row["reward"] > 0, row["live reward"] < 0) == ("rolled_back", True, True)
        shown = osiris(ws, "kernel", "log", "--json")
        assert json.loads(shown.stdout)["rollbacks"]["rolled back"] == 1
        assert FOLLOW_MOMENTUM[1].strip() in osiris(ws, "kernel", "show", patch.id).stdout

    def test_the_next_turn_has_nothing_to_do(self, told):
        ws, *_ = told
        entries = len(ws.patch_log.entries())
        report = run_turn(ws.kernel())
        assert (report.patch, report.rolled_back, len(ws.patch_log.entries())) == (None, [], entries)

    def test_a_patch_that_is_not_better_beyond_chance_is_not_applied_nor_asked_for_again(self, told, tmp_path):
        ws, *_ = told
        live = ws.policy_repo.head()
        patch = queue_patch(ws, diff_of("RISK = 0.01", "RISK = 0.009"))
        report = run_turn(ws.kernel())
        assert (report.patch, report.verdict, report.applied) == (patch.id, "not better", None)
        assert "p = " in report.reason
        assert ws.policy_repo.head() == live
        (tmp_path / "again.diff").write_text(patch.diff)
        again = osiris(ws, "kernel", "submit", str(tmp_path / "again.diff"))
        assert again.returncode == 2
        assert "expected a patch without a verdict" in again.stderr


class TestTheCommandLine:
    @pytest.fixture(scope="class")
    def ws(self, tmp_path_factory):
        from tests.builders import make_workspace

        folder = tmp_path_factory.mktemp("cli")
        return make_workspace(folder, "[kernel]\nmin_hermes = 0\nsymbolic_seconds = 0.3\n")

    def test_an_honest_patch_is_proved_with_exit_0(self, ws, tmp_path):
        (tmp_path / "honest.diff").write_text(gate_patch(ws.policy_repo.head()).diff)
        done = osiris(ws, "kernel", "prove", str(tmp_path / "honest.diff"), "--json")
        proof = json.loads(done.stdout)
        assert (done.returncode, proof["verdict"]) == (0, "proved")
        assert {frozenset(check) for check in proof["checks"]} == {frozenset(("name", "passed", "detail", "seconds"))}

    def test_a_hostile_patch_is_refused_with_exit_1(self, ws, tmp_path):
        spy = gate_patch(
            ws.policy_repo.head(), (FOLLOW_MOMENTUM[0], f"    import os\n    print(os.environ)\n{FOLLOW_MOMENTUM[0]}")
        )
        (tmp_path / "hostile.diff").write_text(spy.diff)
        done = osiris(ws, "kernel", "prove", str(tmp_path / "hostile.diff"), "--json")
        proof = json.loads(done.stdout)
        assert (done.returncode, proof["verdict"]) == (1, "refused")
        assert "static" in [check["name"] for check in proof["checks"] if not check["passed"]]

    def test_on_a_machine_without_bubblewrap_nothing_is_proved_and_the_line_that_installs_it_is_said(
        self, ws, tmp_path
    ):
        (tmp_path / "honest.diff").write_text(gate_patch(ws.policy_repo.head()).diff)
        (tmp_path / "git").symlink_to(shutil.which("git"))
        done = osiris(ws, "kernel", "prove", str(tmp_path / "honest.diff"), PATH=str(tmp_path))
        assert done.returncode == 2
        assert "Debian: apt-get install bubblewrap libseccomp2" in done.stderr.replace("\n", " ")

    def test_what_is_no_diff_or_no_file_is_an_error_and_nothing_is_queued(self, ws, tmp_path):
        (tmp_path / "words").write_text("lower the risk")
        for name in ("words", "nowhere"):
            done = osiris(ws, "kernel", "submit", str(tmp_path / name))
            assert done.returncode == 2
            assert done.stderr.startswith("osiris: expected a unified diff")
        assert PatchLists(ws.events).queue_length() == 0
        ws.close()
