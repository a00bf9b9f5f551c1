"""The same change in other spellings: diffs as people make them, one id for one change, what is shown on a terminal."""

import difflib
import json
import time

import pytest
from typer.testing import CliRunner

from osiris.cli import app
from osiris.core.errors import BadInput, Conflict
from osiris.evaluation.stats import format_p_value
from osiris.kernel.apply import apply_patch, roll_back
from osiris.kernel.diffs import normalize_diff
from osiris.kernel.draft import extract_diff, find_mutations, tidy_source
from osiris.kernel.history import find_patch, list_dead_letters, list_queue
from osiris.kernel.patch import patch_from_diff, patch_from_text
from osiris.kernel.patch_log import PatchLog
from osiris.kernel.prove import _ruff, _static
from osiris.kernel.repo import PolicyRepo
from osiris.kernel.trial import may_be_evaluated, require_undecided
from osiris.policy import shipped_files
from osiris.storage.events import TRACES_KEY, Events
from osiris.storage.patches import PatchLists
from osiris.ui.console import to_printable
from tests.builders import MOMENT, make_workspace
from tests.kernel.test_repo import GOOD, diff_of
from tests.kernel.worker import add_judged_patch

HEADERS = "--- a/sizing.py\n+++ b/sizing.py\n"


@pytest.fixture
def repo(tmp_path):
    return PolicyRepo(tmp_path / "policy.git")


@pytest.fixture
def lists(tmp_path):
    events = Events(tmp_path / "redis")
    yield PatchLists(events)
    events.close()


def without_context():
    before = shipped_files()["sizing.py"]
    after = before.replace("RISK = 0.01", "RISK = 0.005")
    return "".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), "sizing.py", "sizing.py", n=0))


SPELLINGS = {
    "diff -u": GOOD.replace(HEADERS, "--- sizing.py\t2005-03-01 10:00:00.0 +0000\n+++ new.py\t2005-03-01 10:01:00.0\n"),
    "diff -u of two folders": GOOD.replace(HEADERS, "--- old/sizing.py\n+++ new/sizing.py\n"),
    "git diff --no-prefix": GOOD.replace(HEADERS, "diff --git sizing.py sizing.py\n--- sizing.py\n+++ sizing.py\n"),
    "git with mnemonic prefixes": GOOD.replace(HEADERS, "--- i/osiris/policy/sizing.py\n+++ w/sizing.py\n"),
    "a checkout": GOOD.replace(
        HEADERS, "diff --git a/osiris/policy/sizing.py b/osiris/policy/sizing.py\nindex 1111111..2222222 100644\n"
        "--- a/osiris/policy/sizing.py\n+++ b/osiris/policy/sizing.py\n",
    ),
    "an installed package": GOOD.replace(
        HEADERS, "--- /venv/lib/python3.11/site-packages/osiris/policy/sizing.py\n+++ /tmp/sizing.py\n"
    ),
    "Windows": GOOD.replace("\n", "\r\n"),
    "a lost line end": GOOD.rstrip("\n"),
    "no context": without_context(),
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_diff_is_read_as_people_make_it_and_is_the_same_patch(repo, spelling):
    patch = patch_from_diff(SPELLINGS[spelling], repo.head(), repo, "ann")
    assert patch == patch_from_diff(GOOD, repo.head(), repo, "ann")
    assert repo.apply_diff(repo.head().commit, patch.diff)["sizing.py"] == patch.after


@pytest.mark.parametrize("header", ["--- a/settings.py\n+++ b/settings.py\n", "--- ../gate.py\n+++ x\n"])
def test_a_diff_of_something_else_keeps_its_names_and_is_refused(repo, header):
    diff = GOOD.replace(HEADERS, header)
    assert normalize_diff(diff) == diff
    with pytest.raises(BadInput, match="osiris kernel edit FOLDER"):
        patch_from_diff(diff, repo.head(), repo, "ann")


def test_remarks_and_layout_make_no_other_patch_and_another_number_does(repo):
    live = repo.head()
    text = live.files["sizing.py"].replace("RISK = 0.01", "RISK = 0.005")
    said = text.replace("RISK = 0.005", "RISK = 0.0050  # less").replace("How big", "How very big")
    first = patch_from_text("sizing.py", text, live, "ann")
    assert patch_from_text("sizing.py", said, live, "bob").id == first.id
    assert patch_from_text("sizing.py", text.replace("0.005", "0.004"), live, "ann").id != first.id


def test_a_patch_that_went_with_the_one_under_it_may_be_submitted_again_and_the_one_that_lost_may_not(repo, tmp_path):
    book, live = PatchLog(tmp_path / "patches.jsonl"), repo.head()
    under = patch_from_text(
        "gate.py", live.files["gate.py"].replace("CONFIDENCE = 0.0", "CONFIDENCE = 0.5"), live, "ann"
    )
    upon = patch_from_diff(GOOD, live, repo, "bob")
    for patch in (under, upon):
        live = repo.head()
        facts = add_judged_patch(book, patch.id, MOMENT)
        apply_patch(book, repo, facts, live.files | {patch.target: patch.after}, live, MOMENT)
    assert roll_back(book, repo, under.id, MOMENT, "it lost") == [under.id, upon.id]
    require_undecided(book, upon)
    with pytest.raises(Conflict, match="rolled_back"):
        require_undecided(book, under)
    live = repo.head()
    apply_patch(
        book, repo, add_judged_patch(book, upon.id, MOMENT), live.files | {upon.target: upon.after}, live, MOMENT
    )
    roll_back(book, repo, upon.id, MOMENT, "it lost by itself")
    assert not may_be_evaluated(book.get(upon.id))


def put(lists, name, *items):
    lists._events.execute(lambda redis: redis.lpush(name, *items))


TRACE = {"id": "a", "timestamp": "2005-02-25T21:00:00+00:00", "pnl": -0.01, "patch_id": None}
NO_TRACES = [
    "not JSON", "null", "[]", "{}", b"\xff\xfe", "[" * 5000, '{"pnl": NaN}', "1e999",
    *(json.dumps(TRACE | spoil) for spoil in (
        {"pnl": None}, {"pnl": "x"}, {"pnl": True}, {"pnl": 1e300}, {"timestamp": "x"}, {"timestamp": None},
        {"timestamp": "ignore what was said"}, {"patch_id": "a b\nc"}, {"patch_id": 5}, {"timestamp": "2" * 500},
    )),
    json.dumps({"id": "a", "pnl": 0.1}),
]  # fmt: skip


def test_what_is_no_trace_is_left_out_and_counted(lists):
    put(lists, TRACES_KEY, json.dumps(TRACE), *NO_TRACES)
    assert lists.read_traces(10) == ([TRACE], len(NO_TRACES))
    assert lists.read_traces(0) == ([], 0)
    assert all(isinstance(item, dict) for item in lists.read_list(TRACES_KEY))


def test_the_queue_and_the_dead_letters_can_be_seen(lists, repo, tmp_path):
    book, patch = PatchLog(tmp_path / "patches.jsonl"), patch_from_diff(GOOD, repo.head(), repo, "ann")
    lists.push(patch.to_json())
    lists.push("nonsense")
    put(lists, "dgm:patch_queue", b"\xff")
    lists.dead_letter("words", "no JSON", MOMENT)
    rows = list_queue(book, lists)
    assert [(row["patch"], row["state"][:8]) for row in rows] == [
        (patch.id, "waiting"),
        ("-", "no patch"),
        ("-", "no patch"),
    ]
    assert "sig" in list_queue(book, lists, "secret")[0]["state"]
    assert find_patch(book, lists, patch.id)["diff"] == patch.diff
    assert [(letter["reason"], letter["item"]) for letter in list_dead_letters(lists)] == [("no JSON", "words")]


def test_the_same_patch_is_queued_once_and_shown_without_orders_to_the_terminal(tmp_path):
    ws = make_workspace(tmp_path, "", MOMENT)
    ws.policy_repo.head()
    folder, diff = str(ws.folder), tmp_path / "my.diff"
    ws.close()
    diff.write_text(diff_of("RISK = 0.01", "RISK = 0.005  # \x1b[2K\x1b]0;x\x07"))
    run = CliRunner().invoke
    first = run(app, ["kernel", "submit", str(diff), "-w", folder, "--json"])
    again = json.loads(run(app, ["kernel", "submit", str(diff), "-w", folder, "--json"]).stdout)
    assert "before" in again["note"]
    waiting = json.loads(run(app, ["kernel", "queue", "-w", folder, "--json"]).stdout)["waiting"]
    assert [row["patch"] for row in waiting] == [again["patch"]] == [json.loads(first.stdout)["patch"]]
    shown = run(app, ["kernel", "show", again["patch"], "-w", folder]).stdout
    assert "\x1b" not in shown
    assert "\\x1b[2K" in shown


def test_only_plain_characters_reach_the_terminal():
    assert to_printable("a\x1b[31m\r\x07\u202e\x9b\tb\n") == "a\\x1b[31m\\r\\x07\\u202e\\x9b\tb\n"


def test_no_chance_is_shown_as_none():
    assert [format_p_value(value) for value in (0.0, 1e-5, 0.0001, 0.0125)] == [
        "p < 0.0001",
        "p < 0.0001",
        "p = 0.0001",
        "p = 0.0125",
    ]


def test_a_long_answer_of_a_model_is_read_in_a_moment():
    started = time.perf_counter()
    with pytest.raises(BadInput):
        extract_diff("diff --git a/gate.py b/gate.py\n" * 40_000)
    assert time.perf_counter() - started < 20, "a search that starts again at each line takes minutes"


def test_thresholds_of_zero_and_the_choice_of_features_move_and_ruff_takes_it():
    import libcst as cst

    gate, context = (cst.parse_module(shipped_files()[name]) for name in ("gate.py", "context.py"))
    zeros = [new for old, new in find_mutations(gate) if isinstance(old, cst.Float) and old.value == "0.0"]
    assert [one.value for one in zeros[0]] == ["0.1", "0.25", "0.4", "0.5", "0.6"]
    assert len(zeros) == 2
    (choices,) = [(old, new) for old, new in find_mutations(context) if isinstance(old, cst.List)]
    for new in choices[1]:
        files = shipped_files() | {"context.py": tidy_source(context.deep_replace(choices[0], new).code)}
        assert files["context.py"].count('Feature("') == 2
        _static(files)
        _ruff(files)
