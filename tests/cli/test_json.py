"""`--json`: one value that every parser takes, alone on stdout, of every command that has it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from osiris.cli import app
from osiris.learn_check.report import check_results, summarize_edge, t_interval
from osiris.market.sample import load_sample, sample_bars
from osiris.storage.notes import parse_note
from osiris.training.datasets import AcceptedReply, write_dataset
from osiris.training.pairs import Pair
from osiris.ui.console import to_json, to_json_values
from tests.builders import MOMENT, adapter_card, idea, ideas, make_workspace, trained_adapter
from tests.kernel.test_repo import GOOD

ELSEWHERE = {"demo", "nightly", "learn-check"}
"""Minutes each: `tests/journeys` parses what they print; what they print of a check is below."""
LOCAL = '[prices]\nsource = "local"\n[advise]\ntickers = ["IBM"]\n[kernel]\ndrafter = "none"\n'
COMMANDS = {
    "advise": [],
    "status": [],
    "outcomes": ["--as-of", "2005-03-04T22:00:00+00:00"],
    "label": ["{folder}/ideas.csv", "--bars", "{folder}/bars.csv"],
    "close": ["{accepted}", "--by", "ann"],
    "lineage": ["20050226"],
    "adapters": [],
    "adapters compare": ["20050226", "20050227"],
    "adapters promote": ["20050226", "--by", "ann", "--why", "on paper"],
    "adapters demote": ["20050226", "--by", "ann", "--why", "enough"],
    "adapters pin": ["20050227"],
    "adapters unpin": [],
    "prices import": ["{folder}/new.csv"],
    "prices update": ["IBM"],
    "prices show": ["IBM"],
    "prices disputes": [],
    "pairs list": [],
    "pairs show": ["20050226", "1"],
    "prompt": ["IBM"],
    "notes import": ["{folder}/notes.csv"],
    "notes list": ["IBM"],
    "notes remove": ["{note}"],
    "models check": [],
    "models prime": [],
    "events relay": [],
    "kernel submit": ["{folder}/patch.diff", "--by", "ann"],
    "kernel prove": ["{folder}/none.diff"],
    "kernel run": ["--once"],
    "kernel log": [],
    "kernel queue": [],
    "kernel allowed": [],
    "kernel edit": ["{folder}/policy-copy"],
    "kernel show": ["nothing"],
    "kernel rollback": ["nothing"],
}
REFUSED = {"kernel prove", "kernel show", "kernel rollback", "models prime"}
"""Called so that they are refused: nothing of it is on stdout."""


def strict(text: str) -> object:
    """`text` as JSON by the letter: NaN and Infinity are none."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def with_json(group: typer.core.TyperGroup, path: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        here = f"{path}{name}"
        if any("--json" in option.opts for option in command.params):
            yield here
        if hasattr(command, "commands"):
            yield from with_json(command, f"{here} ")


def test_every_command_with_the_option_is_tried():
    assert set(with_json(typer.main.get_command(app))) == set(COMMANDS) | ELSEWHERE


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """One with an idea that was accepted, a pair, two adapters of which one has a metric that is no number."""
    folder = tmp_path_factory.mktemp("workspace")
    ws = make_workspace(folder, LOCAL)
    good, bad = ideas(2, ticker="IBM", closed_at=None)
    taken = idea(number=9, ticker="IBM", status="approved", status_at=MOMENT, shadow=False)
    ws.advice.add([good, bad, taken])
    load_sample(ws.bars, ["IBM"])
    halved = sample_bars("IBM").assign(close=sample_bars("IBM")["close"] / 2, source="other")
    ws.bars.merge("IBM", halved[halved["start"].dt.strftime("%Y-%m-%d") == "2005-03-01"])
    datasets = ws.settings.data / "datasets"
    about = write_dataset(
        datasets / "feedback-20050226.jsonl", [AcceptedReply("p", "r", taken["id"])], MOMENT, "feedback"
    )
    write_dataset(
        datasets / "pairs-20050226.jsonl", [Pair("p", "g", "b", "outcome", good["id"], bad["id"])], MOMENT, "like"
    )
    for name in ("20050226", "20050227"):
        card = adapter_card(data_hash=about["sha256"])
        ws.registry.publish(name, trained_adapter(folder / name), card)
        ws.tracking.log_adapter(
            name, "qlora", {**card, "params": {}, "history": [], "metrics": {"rows": 1.0, "loss": float("nan")}},
            datasets / "feedback-20050226.jsonl", ws.registry.path(name), ws.tracking.ensure_nightly_run(name),
        )  # fmt: skip
    (folder / "ideas.csv").write_text(
        "id,ticker,side,entry,target,stop,accepted_at\na,IBM,long,92.5,99,91,2005-02-24T21:00:00Z\nb,IBM,long,92,1,2,x\n"
    )
    (folder / "bars.csv").write_text("ticker,date,open,high,low,close\nIBM,2005-02-25,92.4,93.9,92.2,92.8\n")
    (folder / "new.csv").write_text("ticker,date,open,high,low,close\nZZZ,2005-02-24,10,11,9,10.5\n")
    (folder / "patch.diff").write_text(GOOD)
    (folder / "notes.csv").write_text("at,ticker,text\n2005-02-24T12:00:00Z,IBM,a dividend\n")
    yield ws, taken["id"]
    ws.close()


@pytest.mark.parametrize("command", COMMANDS)
def test_stdout_is_one_strict_value_or_empty_when_refused(workspace, command, monkeypatch):
    ws, accepted = workspace
    note = parse_note({"at": MOMENT.isoformat(), "ticker": "IBM", "text": "to be removed"})
    ws.notes.add([note])
    words = [word.format(folder=ws.folder, accepted=accepted, note=note.id) for word in COMMANDS[command]]
    monkeypatch.setenv("OSIRIS_WORKSPACE", str(ws.folder))
    monkeypatch.setenv("OSIRIS_CLOCK__AS_OF", MOMENT.isoformat())
    monkeypatch.setenv("OSIRIS_PRICES__YAHOO_URL", "http://127.0.0.1:1")
    ran = CliRunner().invoke(app, [*command.split(), *words, "--json"])
    if command in REFUSED:
        assert (ran.stdout, ran.exit_code) == ("", 1)
        return
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    assert isinstance(strict(ran.stdout), dict | list)


SPOILT = """
import subprocess, sys, warnings
from osiris.cli import main
warnings.warn("a library warns")

import osiris.serving.status as status
before = status.get_workspace_status
def loud(ws):
    print("a library prints")
    subprocess.run(["echo", "a program of it prints"])
    return before(ws)
status.get_workspace_status = loud
sys.argv = ["osiris", *sys.argv[1:]]
main()
"""


def test_what_libraries_and_their_programs_print_is_on_stderr(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", SPOILT, "status", "--json", "-w", tmp_path], capture_output=True, text=True, check=True
    )
    assert strict(ran.stdout)["ideas"] == 0
    for words in ("a library prints", "a program of it prints", "a library warns"):
        assert words in ran.stderr


def test_a_check_of_one_seed_has_no_interval_and_says_null():
    edge = summarize_edge([{"rise": {"mean_r": 0.3, "win_rate": 0.1, "reward_to_risk": 0.0, "valid_share": 1.0}}])
    report = {
        "edges": {"momentum": edge},
        "checks": check_results({"momentum": edge}, None),
        "alone": t_interval([1.0]),
    }
    found = strict(to_json(report))
    assert (found["edges"]["momentum"]["mean_r_low"], found["alone"]) == (None, [None, None])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float64("nan"), np.float32("inf"), pd.NaT])
def test_what_is_no_number_is_null_wherever_it_is(value):
    assert strict(to_json({"a": [value, {"b": (value,)}]})) == {"a": [None, {"b": [None]}]}


def test_what_a_report_may_hold_has_one_form():
    values = {1: np.int64(3), "at": pd.Timestamp("2005-03-01", tz="UTC"), "then": datetime(2005, 3, 1, tzinfo=UTC)}
    assert to_json_values(values) == {"1": 3, "at": "2005-03-01T00:00:00+00:00", "then": "2005-03-01T00:00:00+00:00"}
    assert to_json({"näme": True}, None) == '{"n\\u00e4me": true}'
    with pytest.raises(TypeError, match="object"):
        to_json_values({"a": object()})
