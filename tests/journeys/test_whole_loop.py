"""`osiris demo --json`, one night, with every real part; each test looks at what one step left behind."""

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from osiris.core.errors import WorkspaceError
from osiris.core.ideas import parse_reply
from osiris.demo.demo import DEMO_TICKERS, run_demo
from osiris.review.decide import check_deadline
from osiris.workspace import open_workspace

NIGHT = "20050412"
OSIRIS = Path(sys.executable).with_name("osiris")
AFTER = "2005-04-12T12:00:00+00:00"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("journey") / "workspace"


@pytest.fixture(scope="module")
def result(folder):
    """What the demo printed: one JSON object on stdout and nothing else there."""
    asked = ["demo", "--workspace", str(folder), "--nights", "1", "--json"]
    ran = subprocess.run([OSIRIS, *asked], cwd=folder.parent, capture_output=True, text=True, timeout=540)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def workspace(result, folder):
    workspace = open_workspace(folder, AFTER)
    yield workspace
    workspace.close()


def test_ideas_were_drafted_for_every_ticker_and_session(workspace):
    ideas = workspace.advice.frame("adapter = 'base'")
    assert sorted(ideas["ticker"].unique()) == DEMO_TICKERS
    assert ideas["prompt_id"].nunique() == 8 * len(DEMO_TICKERS)
    assert all(parse_reply(row.reply, row.ticker) for row in ideas.itertuples())
    assert ideas["hermes_score"].between(0, 1).all()
    assert (ideas["created_at"] > ideas["as_of"]).all()


def test_the_reviewer_was_heard_through_the_api(workspace, result):
    decisions = workspace.advice.feedback()
    assert {d["action"] for d in decisions} == {"approved", "edited", "rejected"}
    assert len(decisions) == 3 * 8 * len(DEMO_TICKERS)
    assert result["accepted"] == 2 * 8 * len(DEMO_TICKERS)


def test_every_candidate_has_an_outcome_and_nobody_looked_ahead(workspace):
    ideas = workspace.advice.frame("adapter = 'base'")
    assert ideas["outcome"].notna().all()
    closed = ideas[ideas["closed_at"].notna()]
    accepted = closed["status"].isin(["approved", "edited"])
    assert (closed["closed_at"] > closed["status_at"].where(accepted, closed["as_of"])).all()
    assert (closed["shadow"] == ~accepted).all()


def test_outcomes_across_the_split_are_in_the_price_basis_of_their_day(workspace):
    across = workspace.advice.rows("ticker = 'AAPL' AND closed_at > TIMESTAMP '2005-02-28 05:00:00'")
    assert across
    for row in across:
        assert row["close_price"] < 0.7 * row["entry"]
        assert abs(row["r_multiple"]) < 10


def test_a_real_subscriber_received_each_accepted_outcome_once(workspace, result):
    settled = workspace.advice.frame("event_id IS NOT NULL")
    assert result["events_received"] == len(settled) == settled["event_id"].nunique() > 0
    assert settled["published_at"].notna().all()
    assert sorted(event["event_id"] for event in workspace.events.read_outcomes()) == sorted(settled["event_id"])


def test_the_pairs_are_lines_of_three_keys_known_at_the_cut_off(workspace, result):
    path = workspace.settings.data / "datasets" / f"pairs-{NIGHT}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [len(lines)] == result["pairs"]
    assert all(list(line) == ["prompt", "good_reply", "bad_reply"] for line in lines)
    about = json.loads(path.with_suffix(".json").read_text())
    by_outcome = [link for link in about["lineage"] if link["source"] == "outcome"]
    assert len(by_outcome) > 10
    for link in by_outcome:
        good, bad = workspace.advice.get(link["good_id"]), workspace.advice.get(link["bad_id"])
        assert (good["exit_reason"], bad["exit_reason"]) == ("target", "stop")
        assert good["prompt_id"] == bad["prompt_id"]
        assert max(good["closed_at"], bad["closed_at"]).isoformat() <= about["cutoff"]


def test_both_adapters_are_on_the_shelf_and_their_tensors_differ(workspace):
    from safetensors.numpy import load_file

    assert workspace.registry.names() == [f"{NIGHT}-dpo", NIGHT]
    qlora, dpo = (
        load_file(workspace.registry.path(name) / "adapter_model.safetensors") for name in (NIGHT, f"{NIGHT}-dpo")
    )
    assert qlora.keys() == dpo.keys()
    assert any((qlora[key] != dpo[key]).any() for key in qlora)
    assert workspace.registry.validate(f"{NIGHT}-dpo").parent == NIGHT


def artifacts(workspace, run_id, folder):
    from mlflow import MlflowClient

    return [item.path for item in MlflowClient(workspace.tracking.uri).list_artifacts(run_id, folder)]


def test_mlflow_has_a_run_a_curve_a_dataset_a_page_and_a_version_of_each(workspace):
    logged = {row["name"]: row for row in workspace.tracking.adapters()}
    assert set(logged) == {NIGHT, f"{NIGHT}-dpo"}
    for row in logged.values():
        assert row["version"]
        assert "loss" in row["metrics"]
        kept = artifacts(workspace, row["run_id"], "page")
        assert all(any(name.endswith(ending) for name in kept) for ending in (".ipynb", ".html"))
        assert artifacts(workspace, row["run_id"], "dataset")
    judged = logged[f"{NIGHT}-dpo"]
    assert "heldout_valid_share" in judged["metrics"]
    assert any(name.endswith("07_compare.ipynb") for name in artifacts(workspace, judged["run_id"], "page"))


def test_the_gate_says_what_it_saw(workspace, result):
    verdict = workspace.registry.verdict(f"{NIGHT}-dpo")
    assert isinstance(verdict["promoted"], bool)
    assert (verdict["challenger"], verdict["champion"]) == (f"{NIGHT}-dpo", "base")
    assert "newest" in result["verdicts"][0]


def test_the_last_ideas_came_from_the_new_adapter(workspace, result):
    assert result["last_advise_adapter"] == f"{NIGHT}-dpo"
    assert workspace.advice.count(f"adapter = '{NIGHT}-dpo'") > 0
    assert workspace.find_served().name == f"{NIGHT}-dpo"


def osiris(folder, *words):
    ran = subprocess.run([OSIRIS, *words, "-w", str(folder)], capture_output=True, text=True, timeout=120, check=True)
    return ran.stdout


def test_the_adapters_are_listed_with_what_they_were_trained_on(result, folder):
    newest, first = json.loads(osiris(folder, "adapters", "--json"))
    assert (newest["adapter"], newest["kind"], newest["parent"], newest["served"]) == (
        f"{NIGHT}-dpo",
        "dpo",
        NIGHT,
        True,
    )
    assert (first["adapter"], first["kind"], first["parent"], first["served"]) == (NIGHT, "qlora", "base", False)
    assert 0 <= newest["heldout_win_rate"] <= 1
    assert newest["verdict"]
    text = osiris(folder, "adapters")
    assert f"{NIGHT}-dpo" in text
    assert "verdict" in text


def test_two_adapters_are_put_side_by_side(result, folder):
    found = json.loads(osiris(folder, "adapters", "compare", NIGHT, f"{NIGHT}-dpo", "--json"))
    assert found["adapters"] == [NIGHT, f"{NIGHT}-dpo"]
    assert found["params"]["beta"][0] is None
    assert "facts.parent" in osiris(folder, "adapters", "compare", NIGHT, f"{NIGHT}-dpo")


def test_the_commands_to_open_the_servers_name_this_workspace(result, folder):
    assert set(result["commands"]) == {"mlflow", "prefect", "review"}
    assert all(str(folder) in command for command in result["commands"].values())


def test_every_page_was_kept_and_none_failed(workspace, result):
    pages = sorted((workspace.settings.mlruns / "pages").glob("*.ipynb"))
    names = [page.stem.split("-", 1)[1] for page in pages]
    assert sorted(names) == ["01_advise", "01_advise", "03_outcomes", "04_qlora", "05_pairs", "06_dpo", "07_compare"]
    for page in pages:
        cells = nbformat.read(page, as_version=4).cells
        assert not any(output.output_type == "error" for cell in cells for output in cell.get("outputs", []))


def test_the_page_of_the_comparison_shows_its_three_plots_after_its_verdict(workspace, result):
    (path,) = (workspace.settings.mlruns / "pages").glob("*07_compare.html")
    text = path.read_text()
    plots = [found.start() for found in re.finditer(r'<img[^>]*src="data:image/png|<svg[^>]*width="[^"]*pt"', text)]
    assert len(plots) == 3
    assert text.index("held-out days hold") < plots[0]
    assert re.search(r"<title>[^<]*R in all\n\w+ (long|short)", text)


def test_every_page_run_left_a_prefect_artifact_that_links_it(workspace, result):
    database = sqlite3.connect(workspace.settings.data / "prefect" / "prefect.db")
    links = [data for (data,) in database.execute("SELECT data FROM artifact WHERE type = 'markdown'")]
    pages = [path.with_suffix(".html") for path in (workspace.settings.mlruns / "pages").glob("*.ipynb")]
    for page in pages:
        assert any(page.as_uri() in link for link in links), page.name
    database.close()


def test_a_page_that_runs_twice_changes_nothing(workspace, result, folder):
    from flows.notebook import run_notebook

    as_of = "2005-04-12T06:00:00+00:00"
    before = workspace.advice.rows(), workspace.registry.names(), len(workspace.tracking.adapters())
    assert run_notebook("03_outcomes", folder, {"as_of": as_of}).result["written"] == 0
    assert "published before" in run_notebook("06_dpo", folder, {"as_of": as_of}).result["note"]
    assert (workspace.advice.rows(), workspace.registry.names(), len(workspace.tracking.adapters())) == before


def test_the_newest_ideas_can_still_be_reviewed(workspace, folder):
    left = open_workspace(folder)
    newest = workspace.advice.rows("status = 'pending'")[-1]
    assert left.now == newest["as_of"]
    check_deadline(newest, left.settings, left.now)


def test_the_folder_of_a_demo_is_not_used_twice(result, folder):
    with pytest.raises(WorkspaceError, match="new or empty folder"):
        run_demo(folder)
