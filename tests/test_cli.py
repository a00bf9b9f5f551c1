"""The command line as a person meets it: a process, its output, its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from osiris.store.sample import load_sample
from tests.builders import ideas, make_workspace

OSIRIS = Path(sys.executable).with_name("osiris")


def osiris(*words, cwd, **environment):
    return subprocess.run(
        [str(OSIRIS), *words], cwd=cwd, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def refused(process):
    assert (process.returncode, process.stdout) == (2, "")
    assert "Traceback" not in process.stderr
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def folder(tmp_path):
    workspace = make_workspace(tmp_path, '[prices]\nsource = "local"\n')
    workspace.advice.add(ideas(3))
    load_sample(workspace.bars, ["IBM"])
    return tmp_path


def test_help_names_every_command(tmp_path):
    text = osiris("--help", cwd=tmp_path).stdout
    for command in ("demo", "advise", "outcomes", "nightly", "adapters", "prices", "status", "api", "review"):
        assert f"\n  {command} " in text


def test_status_reports_as_json_and_nothing_else(folder):
    report = json.loads(osiris("status", "--json", cwd=folder).stdout)
    assert (report["ideas"], report["status"]["pending"], report["served"]) == (3, 3, "base")
    assert report["tickers"] == ["IBM"]


def test_the_workspace_is_an_option_a_variable_or_here(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    by_option = osiris("status", "--json", "-w", str(folder), cwd=elsewhere)
    by_variable = osiris("status", "--json", cwd=elsewhere, OSIRIS_WORKSPACE=str(folder))
    assert json.loads(by_option.stdout)["ideas"] == json.loads(by_variable.stdout)["ideas"] == 3


def test_outcomes_at_a_moment_expire_what_nobody_decided(folder):
    process = osiris("outcomes", "--json", "--as-of", "2005-03-04T22:00:00+00:00", cwd=folder)
    report = json.loads(process.stdout)
    assert (report["expired"], report["reasons"]) == (3, {"no prices from any source": 3})


def test_prices_are_shown(folder):
    rows = json.loads(osiris("prices", "show", "IBM", "--last", "2", "--json", cwd=folder).stdout)
    assert len(rows) == 2
    assert {"start", "close", "split"} <= set(rows[0])


def test_a_good_file_is_imported(folder):
    (folder / "zzz.csv").write_text("ticker,date,open,high,low,close\nZZZ,2005-03-01,10,11,9,10.5\n")
    report = json.loads(osiris("prices", "import", "zzz.csv", "--json", cwd=folder).stdout)
    assert (report["rows"], report["tickers"]) == (1, ["ZZZ"])


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("ZZZ,2005-03-02,10,9,8,10.5", "line 3"),
        ("ZZZ,2005-03-05,10,11,9,10.5", "line 3"),
        ("ZZZ,2005-03-02,x,11,9,10", "line 3"),
    ],
    ids=["high below close", "a Saturday", "no number"],
)
def test_a_file_with_a_bad_row_is_refused_whole(folder, row, words):
    (folder / "bad.csv").write_text(f"ticker,date,open,high,low,close\nZZZ,2005-03-01,10,11,9,10.5\n{row}\n")
    assert words in refused(osiris("prices", "import", "bad.csv", cwd=folder))
    assert "ZZZ" not in json.loads(osiris("status", "--json", cwd=folder).stdout)["tickers"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prices", "import", "nowhere.csv"], "nowhere.csv"),
        (["prices", "show", "NONE"], "osiris prices import"),
        (["status", "-w", "nowhere"], "nowhere"),
        (["outcomes", "--as-of", "yesterday"], "ISO 8601"),
        (["outcomes", "--as-of", "2005-03-04T22:00:00"], "time zone"),
        (["adapters", "compare", "a", "b"], "none yet"),
        (["demo", "-w", "."], "new or empty folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_line_with_the_remedy(folder, words, said):
    assert said in refused(osiris(*words, cwd=folder))


def test_an_unknown_key_is_one_line(folder):
    (folder / "osiris.toml").write_text("[gate]\nlevl = 1\n")
    assert "gate.levl" in refused(osiris("status", cwd=folder))


def test_an_unwritable_workspace_is_one_line(tmp_path):
    assert "a folder that can be written" in refused(osiris("status", "-w", "/proc", cwd=tmp_path))


@pytest.mark.parametrize("name", ["data", "adapters", "mlruns"])
def test_a_file_where_a_folder_belongs_is_one_line(tmp_path, name):
    (tmp_path / name).write_text("not a folder")
    assert "a folder that can be written" in refused(osiris("status", cwd=tmp_path))
