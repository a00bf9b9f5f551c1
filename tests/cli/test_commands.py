"""The command line as a person meets it: its output, its exit status. One command of each kind is a process."""

import json

import pytest

from osiris.core.files import exclusive_lock
from osiris.market.sample import load_sample, sample_bars
from tests.builders import MOMENT, idea, ideas, make_workspace
from tests.cli.command_line import run_here as osiris
from tests.cli.command_line import run_process


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
    for command in "demo advise outcomes nightly adapters prices status api review label close events".split():  # noqa: SIM905
        assert f"\n  {command} " in text


def test_status_reports_as_json_and_nothing_else(folder):
    report = json.loads(run_process("status", "--json", cwd=folder).stdout)
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


@pytest.mark.parametrize("words", [["-v", "outcomes"], ["outcomes", "-v"]], ids=" ".join)
def test_the_log_of_a_run_is_written_to_stderr_when_asked_for(folder, words):
    process = run_process(*words, "--json", cwd=folder)
    assert json.loads(process.stdout)["looked_at"] == 3
    assert "INFO osiris.labeling.settle: settled 3 of 3 ideas" in process.stderr.splitlines()[-1]


def test_prices_are_shown(folder):
    rows = json.loads(osiris("prices", "show", "IBM", "--last", "2", "--json", cwd=folder).stdout)
    assert len(rows) == 2
    assert {"start", "close", "split"} <= set(rows[0])


def test_a_good_file_is_imported(folder):
    (folder / "zzz.csv").write_text("ticker,date,open,high,low,close\nZZZ,2005-03-01,10,11,9,10.5\n")
    report = json.loads(osiris("prices", "import", "zzz.csv", "--json", cwd=folder).stdout)
    assert (report["rows"], report["tickers"]) == (1, ["ZZZ"])


def test_a_file_that_needs_options_is_imported_with_them(folder):
    (folder / "prices.csv").write_text("Date;Open;High;Low;Close\n1/3/2005;10,250;11,000;9,125;10,500\n")
    assert "--decimal" in refused(osiris("prices", "import", "prices.csv", cwd=folder))
    assert "--ticker" in refused(osiris("prices", "import", "prices.csv", "--decimal", ",", cwd=folder))
    words = ["--ticker", "YYY", "--date-format", "%d/%m/%Y", "--decimal", ",", "--delimiter", ";", "--json"]
    report = json.loads(osiris("prices", "import", "prices.csv", *words, cwd=folder).stdout)
    assert (report["rows"], report["tickers"]) == (1, ["YYY"])
    (row,) = json.loads(osiris("prices", "show", "YYY", "--json", cwd=folder).stdout)
    assert (row["start"][:10], row["open"]) == ("2005-03-01", 10.25)


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
    assert "gate.levl" in refused(run_process("status", cwd=folder))


def test_an_unwritable_workspace_is_one_line(tmp_path):
    assert "a folder that can be written" in refused(osiris("status", "-w", "/proc", cwd=tmp_path))


@pytest.mark.parametrize("name", ["data", "adapters", "mlruns"])
def test_a_file_where_a_folder_belongs_is_one_line(tmp_path, name):
    (tmp_path / name).write_text("not a folder")
    assert "a folder that can be written" in refused(osiris("status", cwd=tmp_path))


IDEAS = """id,ticker,side,entry,target,stop,accepted_at
a,IBM,long,92.5,93.5,91.5,2005-02-24T21:00:00Z
b,IBM,long,92.5,91.0,91.5,2005-02-24T21:00:00Z
"""
BARS = "ticker,date,open,high,low,close\nIBM,2005-02-25,92.4,93.9,92.2,92.8\n"


class TestLabel:
    @pytest.fixture
    def files(self, tmp_path):
        (tmp_path / "ideas.csv").write_text(IDEAS)
        (tmp_path / "bars.csv").write_text(BARS)
        return tmp_path

    def test_labels_are_printed_as_csv_and_bad_rows_beside_them(self, files):
        process = run_process("label", "ideas.csv", "--bars", "bars.csv", cwd=files)
        assert process.returncode == 1
        assert process.stdout.splitlines() == [
            "id,outcome,exit_reason,close_price,closed_at,r_multiple,ambiguous",
            "a,win,target,93.5,2005-02-25T21:00:00+00:00,1.0,False",
        ]
        assert process.stderr.startswith("osiris: line 3 of ideas.csv: expected side and levels")

    def test_labels_are_one_json_object(self, files):
        process = osiris("label", "ideas.csv", "--bars", "bars.csv", "--json", cwd=files)
        found = json.loads(process.stdout)
        assert (found["counts"], found["labels"][0]["outcome"]) == ({"win": 1}, "win")
        assert [(row["line"], row["file"]) for row in found["bad"]] == [(3, "ideas.csv")]

    def test_labels_are_written_and_counted(self, files):
        (files / "ideas.csv").write_text("".join(IDEAS.splitlines(keepends=True)[:2]))
        for bars in ("bars.csv", ".", "."):  # the ideas, and the labels of a run before, are no bars
            process = osiris("label", "ideas.csv", "--bars", bars, "-o", "out.csv", cwd=files)
            assert (process.returncode, process.stderr) == (0, "")
        assert "labelled" in process.stdout
        assert (files / "out.csv").read_text().splitlines()[1].startswith("a,win,target,93.5,")

    def test_a_file_that_is_not_there_is_one_line(self, files):
        assert "nowhere.csv" in refused(osiris("label", "nowhere.csv", "--bars", "bars.csv", cwd=files))


def test_a_trade_is_asked_to_close(folder):
    name = accepted(folder)
    closed = json.loads(osiris("close", name, "--price", "101", "--by", "ann", "--json", cwd=folder).stdout)
    assert (closed["id"], closed["close_asked_price"], closed["close_asked_by"]) == (name, 101.0, "ann")
    assert "by ann" in refused(osiris("close", name, "--price", "99", cwd=folder))
    assert "the id of an idea" in refused(osiris("close", "nobody", cwd=folder))


def accepted(folder):
    workspace = make_workspace(folder, '[prices]\nsource = "local"\n')
    row = idea(number=9, status="approved", status_at=MOMENT, shadow=False)
    workspace.advice.add([row])
    workspace.close()
    return row["id"]


def test_events_are_shown_a_line_each(folder):
    workspace = make_workspace(folder, '[prices]\nsource = "local"\n')
    workspace.events.publish_outcomes([{"event_id": "e", "id": "i", "outcome": "win", "closed_at": "2005-03-01"}])
    process = osiris("events", "tail", "--from-start", "--count", "1", cwd=folder)
    assert json.loads(process.stdout)["id"] == "i"
    assert json.loads(osiris("events", "relay", "--json", cwd=folder).stdout) == {"published": 0, "notes": []}
    workspace.close()


def test_a_second_outcome_run_is_refused(folder):
    workspace = make_workspace(folder, '[prices]\nsource = "local"\n')
    with exclusive_lock(workspace.settings.data / "outcomes.lock", "outcome run"):
        assert "the only outcome run" in refused(osiris("outcomes", cwd=folder))


def test_a_dispute_is_listed_until_a_person_confirms_the_stored_bar(folder):
    workspace = make_workspace(folder)
    halved = sample_bars("IBM").assign(close=sample_bars("IBM")["close"] / 2, source="other")
    workspace.bars.merge("IBM", halved[halved["start"].dt.strftime("%Y-%m-%d") == "2005-03-01"])
    listed = osiris("prices", "disputes", "--json", cwd=folder)
    assert (listed.returncode, [(row["ticker"], row["day"]) for row in json.loads(listed.stdout)]) == (
        1, [("IBM", "2005-03-01")],
    )  # fmt: skip
    assert "2005-03-05" in refused(osiris("prices", "confirm", "IBM", "2005-03-05", cwd=folder))
    assert json.loads(osiris("status", "--json", cwd=folder).stdout)["disputed_bars"] == 1
    assert "stands" in osiris("prices", "confirm", "ibm", "2005-03-01", cwd=folder).stdout
    assert osiris("prices", "disputes", cwd=folder).returncode == 0
