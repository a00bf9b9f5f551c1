"""MLflow is told what it could not be told before, from cards, datasets and verdicts."""

import pytest

from osiris.adapters.mlflow_runs import Tracking
from osiris.adapters.registry import AdapterRegistry
from osiris.core.run_log import collect_warnings
from osiris.training.datasets import AcceptedReply, write_dataset
from osiris.training.mlflow_sync import log_missing
from tests.builders import MOMENT, adapter_card, make_settings, trained_adapter

NAME = "20050301"
VERDICT = {"promoted": False, "champion": "base", "reason": "no", "metrics": {NAME: {"mean_r": 0.1}}, "p_value": 0.4}


@pytest.fixture
def settings(tmp_path):
    return make_settings(tmp_path)


@pytest.fixture
def shelf(tmp_path, settings):
    """An adapter that was trained, judged and demoted while MLflow was away."""
    shelf = AdapterRegistry(settings.adapters, lambda: "b" * 64)
    dataset = settings.data / "datasets" / f"feedback-{NAME}.jsonl"
    write_dataset(dataset, [AcceptedReply("p", "r", "a")], MOMENT, "feedback")
    card = adapter_card(params={"lora.r": 16}, metrics={"rows": 1.0}, history=[{"step": 1, "loss": 0.5}])
    shelf.publish(NAME, trained_adapter(tmp_path / "a"), card)
    shelf.record_verdict(NAME, VERDICT)
    shelf.demote(NAME, "ann", "shorts only", MOMENT)
    return shelf


def test_an_adapter_and_its_verdict_are_logged_by_the_next_night(shelf, settings):
    tracking = Tracking(settings)
    with collect_warnings() as notes:
        for _ in range(2):
            log_missing(shelf, tracking, settings)
    (row,) = tracking.adapters()
    assert (row["params"], row["metrics"]["heldout_mean_r"], row["metrics"]["gate_p_value"]) == (
        {"lora.r": "16"},
        0.1,
        0.4,
    )
    assert row["verdict"] == VERDICT, "the gate's own, without a person's word"
    assert notes == []


def test_what_mlflow_cannot_be_told_is_a_note(shelf, settings):
    settings.mlruns.mkdir()
    (settings.mlruns / "mlflow.db").write_text("no database")
    with collect_warnings() as notes:
        log_missing(shelf, Tracking(settings), settings)
    assert "MLflow lacks it until the next nightly run" in notes[0]
