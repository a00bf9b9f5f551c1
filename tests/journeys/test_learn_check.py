"""`osiris learn-check` on one market and one seed, two nights: small, with a strong edge, every part the real one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from osiris.workspace import open_workspace

OSIRIS = Path(sys.executable).with_name("osiris")
SMALL = ["--edge", "momentum", "--seeds", "1", "--nights", "2", "--tickers", "8", "--drift", "0.4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("learn") / "trials"


@pytest.fixture(scope="module")
def result(folder):
    ran = subprocess.run(
        [OSIRIS, "learn-check", *SMALL, "--keep", str(folder), "--json"], capture_output=True, text=True, timeout=900
    )
    assert ran.returncode in (0, 1), ran.stderr
    return json.loads(ran.stdout)


def test_what_was_learned_in_two_nights_holds_on_days_that_came_after(result):
    (trial,) = result["trials"]
    newest = max(trial["rises"])
    assert trial["rises"][newest]["r_low"] > 0
    assert trial["rises"][newest]["win_rate"] > 0.05


def test_the_gate_saw_days_that_neither_training_had_seen(result, folder):
    (trial,) = result["trials"]
    workspace = open_workspace(folder / "momentum-0", trial["nights"][-1]["as_of"])
    shelf = workspace.registry
    judged = {name: verdict for name in shelf.names() if (verdict := shelf.verdict(name))}
    workspace.close()
    assert judged
    for name, verdict in judged.items():
        assert verdict["held_out"][0] > shelf.validate(name).trained_until.isoformat()


def test_the_second_night_learns_from_all_that_is_known(result):
    first, second = result["trials"][0]["nights"]
    assert second["pairs"] > 2 * first["pairs"] > 50
    assert first["ideas"] == second["ideas"] == 8 * 24 * 6


def test_where_an_adapter_comes_from_is_told_down_to_the_bars_of_a_pair(result, folder):
    def said(*words):
        asked = [OSIRIS, *words, "-w", str(folder / "momentum-0"), "--json"]
        return json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)

    night = result["trials"][0]["nights"][-1]
    (newest, *_), name = said("lineage", night["adapter"]), night["adapter"]
    assert (newest["adapter"], newest["lines"]) == (name, night["pairs"])
    pair = said("pairs", "show", name[:8], "1")
    assert (pair["good"]["outcome"], pair["bad"]["outcome"]) == ("win", "loss")
    assert pair["bars"]["good"][-1]["end"] == pair["good"]["closed_at"]
    touched = said("lineage", f"{pair['good']['ticker']}:{pair['good']['closed_at'][:10]}")
    assert name in {row["adapter"] for row in touched}


def test_each_check_says_what_was_wanted_and_what_came(result):
    assert {check["check"].partition(":")[0] for check in result["checks"]} == {"momentum"}
    assert result["passed"] == all(check["passed"] for check in result["checks"])
    assert result["no_edge"] is None
