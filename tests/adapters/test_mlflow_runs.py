"""Tracking: one MLflow run and one model version an adapter, whole, once, and readable by the next process."""

import json
import shutil
import subprocess
import sys

import pytest

from osiris.adapters.mlflow_runs import EXPERIMENT, REGISTERED_MODEL, Tracking, TrackingFailed
from osiris.config.settings import Settings
from osiris.core.errors import BadInput, NotFound
from osiris.serving.status import compare_logged

CARD = {
    "parent": "20050301",
    "base_hash": "b" * 64,
    "data_hash": "d" * 32,
    "recipe": "dpo",
    "recipe_hash": "r" * 32,
    "as_of": "2005-03-01T22:00:00+00:00",
}
VERDICT = {
    "promoted": False,
    "champion": "base",
    "reason": "not shown to be better",
    "metrics": {"20050306": {"mean_r": 0.1, "trades": 40}, "base": {"mean_r": 0.25}},
}
HISTORY = [{"step": step, "loss": 1.0 / step, "rewards/margins": 0.1 * step} for step in (1, 2, 3)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with a blank in its name and one logged adapter, as most tests only read."""
    folder = tmp_path_factory.mktemp("a workspace")
    logged = log(Tracking(Settings(workspace=folder)), folder, "20050301-dpo")
    return folder, logged


def log(tracking, folder, name, **changes):
    adapter = folder / "adapters" / name
    adapter.mkdir(parents=True, exist_ok=True)
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    dataset = folder / f"{name}.jsonl"
    dataset.write_text(
        "".join(json.dumps({"prompt": f"p{n}", "good_reply": "g", "bad_reply": "b"}) + "\n" for n in "12")
    )
    trained = {
        "params": {"learning_rate": 0.001, "lora.target_modules": ["o_proj"]},
        "history": HISTORY,
        "metrics": {"after.rewards/accuracies": 0.75, "seconds": 90.0},
    }
    card = trained | changes.pop("card", CARD) | {key: changes.pop(key) for key in trained if key in changes}
    facts = {"kind": "dpo", "card": card, "dataset_path": dataset, "adapter_dir": adapter}
    return tracking.log_adapter(name, **(facts | changes))


def client(tracking):
    from mlflow import MlflowClient

    return MlflowClient(tracking.uri, tracking.uri)


def test_a_run_has_params_curves_dataset_artifacts_tags_and_a_version(workspace):
    folder, logged = workspace
    tracking = Tracking(Settings(workspace=folder))
    run = client(tracking).get_run(logged.run_id)
    assert (run.info.run_name, run.info.status) == ("20050301-dpo", "FINISHED")
    assert run.data.params == {"learning_rate": "0.001", "lora.target_modules": "['o_proj']"}
    curve = client(tracking).get_metric_history(logged.run_id, "rewards/margins")
    assert [(point.step, round(point.value, 6)) for point in curve] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert run.data.metrics["after.rewards/accuracies"] == 0.75
    assert 90_000 <= run.info.end_time - run.info.start_time < 120_000
    tags = {key: run.data.tags[f"osiris.{key}"] for key in ("adapter", "parent", "base_hash", "data_hash")}
    assert tags == {"adapter": "20050301-dpo"} | {key: CARD[key] for key in ("parent", "base_hash", "data_hash")}
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.name == "dpo of 20050301-dpo"
    assert json.loads(dataset.dataset.profile)["num_rows"] == 2
    assert str(folder) in dataset.dataset.source
    for kind, file in (("adapter", "adapter_model.safetensors"), ("dataset", "jsonl")):
        (artifact,) = client(tracking).list_artifacts(logged.run_id, kind)
        assert artifact.path.endswith(file)
    (version,) = client(tracking).search_model_versions(f"name = '{REGISTERED_MODEL}'")
    assert (int(version.version), version.run_id) == (logged.version, logged.run_id)
    assert version.tags["osiris.adapter"] == "20050301-dpo"


def test_everything_lies_under_mlruns(workspace):
    folder, logged = workspace
    assert (folder / "mlruns" / "mlflow.db").is_file()
    assert (folder / "mlruns" / "artifacts" / logged.run_id / "artifacts" / "adapter").is_dir()


def test_logging_the_same_adapter_again_changes_nothing(workspace):
    folder, logged = workspace
    tracking = Tracking(Settings(workspace=folder))
    assert log(tracking, folder, "20050301-dpo", metrics={"after.rewards/accuracies": 0.1}) == logged
    assert [row["name"] for row in tracking.adapters()].count("20050301-dpo") == 1
    assert tracking.adapters()[-1]["metrics"]["after.rewards/accuracies"] == 0.75


@pytest.mark.system
def test_another_process_sees_the_same_adapters_and_writes_nothing_to_the_terminal(workspace):
    folder, logged = workspace
    script = (
        "import sys; from osiris.config.settings import Settings; from osiris.adapters.mlflow_runs import Tracking\n"
        "rows = Tracking(Settings(workspace=sys.argv[1])).adapters()\n"
        "print([row['version'] for row in rows if row['name'] == '20050301-dpo'])"
    )
    found = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    assert found.stdout == f"[{logged.version}]\n"
    assert found.stderr == ""


def test_an_unfinished_run_is_replaced(workspace):
    folder, _ = workspace
    tracking = Tracking(Settings(workspace=folder))
    experiment = client(tracking).get_experiment_by_name(EXPERIMENT).experiment_id
    broken = client(tracking).create_run(experiment, run_name="20050201", tags={"osiris.adapter": "20050201"})
    logged = log(tracking, folder, "20050201", kind="qlora")
    assert logged.run_id != broken.info.run_id
    assert client(tracking).get_run(broken.info.run_id).info.lifecycle_stage == "deleted"
    assert log(tracking, folder, "20050201", kind="qlora") == logged


def test_adapters_of_a_night_are_nested_under_its_run(workspace):
    folder, _ = workspace
    tracking = Tracking(Settings(workspace=folder))
    night = tracking.ensure_nightly_run("20050302")
    assert tracking.ensure_nightly_run("20050302") == night
    logged = log(tracking, folder, "20050302-dpo", parent_run_id=night)
    assert client(tracking).get_run(logged.run_id).data.tags["mlflow.parentRunId"] == night
    assert "night 20050302" not in [row["name"] for row in tracking.adapters()]


def test_a_page_is_attached_after_the_run_was_written(workspace, tmp_path):
    folder, _ = workspace
    tracking = Tracking(Settings(workspace=folder))
    logged = log(tracking, folder, "20050303")
    assert client(tracking).list_artifacts(logged.run_id, "page") == []
    page = tmp_path / "04_qlora.ipynb"
    page.write_text("{}")
    tracking.attach_notebook(logged.run_id, page)
    assert [artifact.path for artifact in client(tracking).list_artifacts(logged.run_id, "page")] == [
        "page/04_qlora.ipynb"
    ]


def test_a_verdict_is_added_to_the_run_once(workspace):
    folder, _ = workspace
    tracking = Tracking(Settings(workspace=folder))
    logged = log(tracking, folder, "20050306")
    for _ in range(2):
        tracking.log_verdict("20050306", {"heldout_mean_r": 0.1}, VERDICT)
    (row,) = (row for row in tracking.adapters() if row["name"] == "20050306")
    assert row["verdict"] == VERDICT
    assert row["metrics"]["heldout_mean_r"] == 0.1
    assert len(client(tracking).get_metric_history(logged.run_id, "heldout_mean_r")) == 1
    with pytest.raises(NotFound, match="20990101"):
        tracking.log_verdict("20990101", {}, {"promoted": True})


def test_what_a_run_is_and_what_the_gate_said_stand_where_mlflow_shows_them(workspace):
    folder, _ = workspace
    tracking = Tracking(Settings(workspace=folder))
    logged = log(tracking, folder, "20050307")
    told = client(tracking).get_run(logged.run_id).data.tags
    assert told["mlflow.note.content"].startswith("**20050307**, trained from 20050301 by recipe dpo")
    assert "not decided yet" in told["mlflow.note.content"]
    tracking.log_verdict("20050307", {}, VERDICT)
    told = client(tracking).get_run(logged.run_id).data.tags
    assert told["gate"] == "not shown to be better"
    assert "**Not promoted** over base: not shown to be better" in told["mlflow.note.content"]
    assert "| mean_r | 0.100 | 0.250 |\n| trades | 40 |  |" in told["mlflow.note.content"]


def test_a_training_that_failed_has_failed_in_mlflow_too_and_is_listed_with_the_reason(workspace):
    folder, _ = workspace
    tracking = Tracking(Settings(workspace=folder))
    logged = log(tracking, folder, "20050308", card=CARD | {"failed": "valid replies fell"})
    run = client(tracking).get_run(logged.run_id)
    assert run.info.status == "FAILED"
    assert "training failed" in run.data.tags["mlflow.note.content"]
    assert log(tracking, folder, "20050308") == logged
    (row,) = [row for row in tracking.adapters() if row["name"] == "20050308"]
    assert row["failed"] == "valid replies fell"


def test_a_database_that_was_not_finished_is_made_anew(tmp_path):
    database = tmp_path / "mlruns" / "mlflow.db"
    database.parent.mkdir()
    database.with_name(".mlflow.db.1").write_text("half made")
    assert log(Tracking(Settings(workspace=tmp_path)), tmp_path, "20050301").version == 1
    assert [path.name for path in database.parent.glob(".mlflow.db.*")] == []


def test_two_adapters_are_put_side_by_side(workspace):
    folder, _ = workspace
    tracking = Tracking(Settings(workspace=folder))
    log(tracking, folder, "20050304", kind="qlora", params={"learning_rate": 0.0005}, metrics={"after.loss": 0.5})
    table = compare_logged(tracking.adapters(), "20050301-dpo", "20050304")
    assert table["adapters"] == ["20050301-dpo", "20050304"]
    assert table["facts"]["kind"] == ["dpo", "qlora"]
    assert table["params"]["learning_rate"] == ["0.001", "0.0005"]
    assert table["metrics"]["after.loss"] == [None, 0.5]
    with pytest.raises(NotFound, match="20990101"):
        compare_logged(tracking.adapters(), "20050304", "20990101")


def test_a_workspace_without_runs_is_listed_without_making_a_database(tmp_path):
    assert Tracking(Settings(workspace=tmp_path)).adapters() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "", "{broken\n"])
def test_a_dataset_that_cannot_be_read_is_refused_and_no_run_begins(workspace, tmp_path, content):
    folder, _ = workspace
    tracking = Tracking(Settings(workspace=folder))
    path = tmp_path / "pairs.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=r"pairs\.jsonl"):
        log(tracking, folder, "20050305", dataset_path=path)
    assert "20050305" not in [row["name"] for row in tracking.adapters()]


def test_the_command_to_open_mlflow_is_local_and_survives_blanks_in_paths(workspace):
    import shlex

    folder, _ = workspace
    command = shlex.split(Tracking(Settings(workspace=folder)).server_command())
    assert command[command.index("--backend-store-uri") + 1] == f"sqlite:///{folder}/mlruns/mlflow.db"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[1].endswith("/mlflow")


def test_aliases_follow_what_is_served_and_what_came_last(tmp_path):
    tracking = Tracking(Settings(workspace=tmp_path))
    tracking.set_aliases({"champion": None, "challenger": None})
    for name in ("20050301-dpo", "20050302-dpo"):
        log(tracking, tmp_path, name)
    tracking.set_aliases({"champion": None, "challenger": "20050302-dpo"})
    assert client(tracking).get_registered_model(REGISTERED_MODEL).aliases == {"challenger": 2}
    tracking.set_aliases({"champion": "20050302-dpo", "challenger": "20050301-dpo"})
    assert client(tracking).get_registered_model(REGISTERED_MODEL).aliases == {"champion": 2, "challenger": 1}
    tracking.set_aliases({"champion": None, "challenger": "20050302-dpo"})
    assert client(tracking).get_registered_model(REGISTERED_MODEL).aliases == {"challenger": 2}


# -- what people do to MLflow, and to the folder it lies in ------------------------------------------------------------


@pytest.fixture
def logged(tmp_path):
    """A workspace of its own with one logged adapter."""
    folder = tmp_path / "orig"
    folder.mkdir()
    tracking = Tracking(Settings(workspace=folder))
    return folder, tracking, log(tracking, folder, "20050301-dpo")


def test_the_last_verdict_is_shown_and_no_number_that_it_did_not_measure(logged):
    _, tracking, _ = logged
    for mean in (0.2, 0.1):
        tracking.log_verdict("20050301-dpo", {"heldout_mean_r": mean, "gate_p_value": mean}, VERDICT | {"p": mean})
    assert tracking.adapters()[0]["metrics"]["heldout_mean_r"] == 0.1
    tracking.log_verdict("20050301-dpo", {"heldout_trades": 0.0}, VERDICT)
    metrics = tracking.adapters()[0]["metrics"]
    assert metrics["heldout_trades"] == 0.0
    assert {"heldout_mean_r", "gate_p_value"} & metrics.keys() == set()


def test_a_moved_and_a_copied_workspace_write_to_themselves_and_list_what_was(logged):
    folder, _, before = logged
    copy, moved = folder.with_name("a copy"), folder.with_name("100% moved?#")
    shutil.copytree(folder, copy)
    was = sorted(path for path in folder.rglob("*") if path.is_file())
    for there in (copy, moved):
        if there == moved:
            assert sorted(path for path in folder.rglob("*") if path.is_file()) == was, "the copy left it alone"
            folder.rename(moved)
        tracking = Tracking(Settings(workspace=there))
        assert [row["name"] for row in tracking.adapters()][-1] == "20050301-dpo"
        assert [one.path for one in client(tracking).list_artifacts(before.run_id, "adapter")] != []
        made = log(tracking, there, "20050302-dpo")
        assert (there / "mlruns" / "artifacts" / made.run_id / "artifacts" / "adapter").is_dir()
        (version,) = client(tracking).search_model_versions(f"run_id = '{before.run_id}'")
        assert version.source.startswith((there / "mlruns").as_uri())
    assert not folder.exists()


def test_a_deleted_experiment_run_version_or_model_is_there_again_when_it_is_needed(logged):
    _, tracking, before = logged
    name, asked = "20050301-dpo", client(tracking)
    asked.delete_experiment(asked.get_experiment_by_name(EXPERIMENT).experiment_id)
    assert tracking.log_verdict(name, {}, VERDICT) == before.run_id
    asked.delete_run(before.run_id)
    tracking.set_aliases({"champion": name})
    assert tracking.aliases() == {"champion": name}
    asked.delete_registered_model(REGISTERED_MODEL)
    assert tracking.aliases() == {}
    tracking.set_aliases({"champion": name, "challenger": None})
    assert tracking.aliases() == {"champion": name}
    asked.delete_run(before.run_id)
    assert tracking.aliases() == {"champion": name}
    night = tracking.ensure_nightly_run("20050301")
    asked.delete_run(night)
    assert tracking.ensure_nightly_run("20050301") == night


def test_what_mlflow_cannot_do_has_a_name(tmp_path):
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_text("no database")
    with pytest.raises(TrackingFailed, match="MLflow to answer"):
        Tracking(Settings(workspace=tmp_path)).adapters()
