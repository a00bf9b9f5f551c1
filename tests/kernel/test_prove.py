"""The proof: every check named, timed, and able to refuse."""

import json

import pytest

from osiris.config.sections import KernelSettings, ModelSettings
from osiris.config.settings import Settings
from osiris.kernel.prove import prove_diff
from osiris.kernel.repo import PolicyRepo
from osiris.llm.loader import load_judge
from osiris.sandbox.bubblewrap import SandboxUnavailable
from osiris.sandbox.checkers import PatchRefused
from osiris.sandbox.laws import _check_literals, law_names, parse_law_results
from tests.kernel.test_repo import GOOD, diff_of
from tests.llm.model_factories import save_trained
from tests.sandbox.test_session import needs_bubblewrap

NAMES = ["size", "paths", "applies", "changes", "compiles", "static", "ruff", "types", "tests", "contracts", "hermes"]
RULES = KernelSettings(min_hermes=0, symbolic_seconds=0.3)
RETURN = "    return RISK"
SMALLER = diff_of(RETURN, "    return RISK * confidence")
NEW = "diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+import os\n"


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    return PolicyRepo(tmp_path_factory.mktemp("policy") / "policy.git")


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    """Judges by what they say of everything: a number, or a word."""
    folder = tmp_path_factory.mktemp("judges")
    return {
        said: load_judge(
            Settings(model=ModelSettings(judge=str(save_trained(folder / said, {"just the number. [reply]:": said}))))
        )
        for said in ("7", "fine")
    }


@pytest.fixture(scope="module")
def judge(judges):
    return judges["7"]


def proved(repo, diff, judge, rules=RULES):
    return prove_diff(diff, repo.head(), repo, judge, rules)


def asking(least):
    return RULES.model_copy(update={"min_hermes": least})


@needs_bubblewrap
def test_an_honest_patch_passes_every_check_and_changes_nothing_yet(repo, judge):
    before = repo.head()
    proof = proved(repo, diff_of(RETURN, "    return RISK * (0.5 + confidence)"), judge, asking(7))
    assert [check.name for check in proof.checks] == NAMES
    assert (proof.verdict, proof.reason, proof.hermes) == ("proved", "", 7)
    assert all(check.seconds >= 0 for check in proof.checks)
    assert "confidence)" in proof.files["sizing.py"]
    assert repo.head() == before


@needs_bubblewrap
@pytest.mark.parametrize(
    ("refused_by", "diff"),
    [
        ("size", diff_of(RETURN, "\n".join(["    # a remark"] * 61) + f"\n{RETURN}")),
        ("paths", "--- a/tests/test_gate.py\n+++ b/tests/test_gate.py\n@@ -1 +1 @@\n-a\n+b\n"),
        ("paths", NEW.format(name="conftest.py", mode=100644)),
        ("paths", NEW.format(name="x.pth", mode=100644)),
        ("paths", NEW.format(name="gate.py", mode=120000)),
        ("paths", "diff --git a/gate.py b/x.py\nsimilarity index 100%\nrename from gate.py\nrename to x.py\n"),
        ("paths", GOOD.replace("sizing.py", "../osiris/settings.py")),
        ("changes", GOOD + diff_of("MIN_CONFIDENCE = 0.0", "MIN_CONFIDENCE = 0.1", "gate.py")),
        ("applies", GOOD.replace("-RISK = 0.01", "-RISK = 0.07")),
        ("compiles", diff_of(RETURN, "    return RISK +")),
        ("static", diff_of(RETURN, "    import os\n    return float(os.getpid())")),
        ("static", diff_of(RETURN, "    while True:\n        pass")),
        ("ruff", diff_of(RETURN, "    unused = 1\n    return RISK")),
        ("types", diff_of(RETURN, "    return [RISK]")),
        ("tests", diff_of(RETURN, "    return 3 * RISK")),
        ("tests", diff_of(RETURN, "    return 0.0")),
        ("contracts", diff_of(RETURN, "    return 0.03 if confidence == 0.4321 else RISK")),
        ("contracts", diff_of(RETURN, "    return 0.03 if str(confidence) == \"0.4321\" else RISK")),
        ("hermes", SMALLER),
    ],
)  # fmt: skip
def test_each_check_refuses_what_it_is_there_for_and_the_later_ones_are_not_run(repo, judge, refused_by, diff):
    proof = proved(repo, diff, judge, asking(8))
    assert proof.verdict == "refused"
    failed = {check.name: check.detail for check in proof.checks if not check.passed}
    assert next(iter(failed)) == refused_by, failed
    assert [check.name for check in proof.checks] == NAMES
    assert all(
        "not run" in failed[name] for name in NAMES[NAMES.index("tests") :] if name in failed and name != refused_by
    )


@needs_bubblewrap
def test_a_judge_that_gives_no_number_refuses_where_one_is_asked_for(repo, judges):
    refused = proved(repo, SMALLER, judges["fine"], asking(1))
    assert refused.reason.startswith("hermes: the judge wrote 'fine'")
    passed = proved(repo, SMALLER, judges["fine"], asking(0))
    assert (passed.verdict, passed.hermes, passed.checks[-1].detail) == (
        "proved",
        None,
        refused.checks[-1].detail.split(", at least 1 asked for (kernel.min_hermes = 0 ")[0],
    )


def test_without_bubblewrap_nothing_is_proved(repo, monkeypatch):
    head = repo.head()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        prove_diff(GOOD, head, repo, None, RULES)


def laws_line(tag="t", laws=None):
    found = {name: [{"state": "CONFIRMED", "message": ""}] for name in law_names()} if laws is None else laws
    return json.dumps({"tag": tag, "laws": found}).encode()


def test_the_symbolic_check_has_to_tell_of_every_law_under_its_tag():
    assert len(parse_law_results(laws_line(), "t")) == len(law_names()) == 3
    some = {name: [{"state": "CONFIRMED", "message": ""}] for name in sorted(law_names())[:1]}
    empty = {name: [] for name in law_names()}
    for forged in (laws_line("u"), laws_line(laws=some), laws_line(laws=empty), laws_line(laws=[]), b"[]", b"{}", b"1"):
        with pytest.raises(ValueError, match="answer"):
            parse_law_results(forged, "t")


@needs_bubblewrap
@pytest.mark.parametrize("told", ["confidence == 0.4321", "str(confidence) == '0.4321'", "stop_atr == 7.5 and hermes"])
def test_a_limit_that_is_broken_at_a_number_of_the_policy_is_found_from_outside(repo, told):
    files = repo.head().files
    files = files | {"sizing.py": files["sizing.py"].replace(RETURN, f"    return 0.03 if {told} else RISK")}
    with pytest.raises(PatchRefused, match=r"0\.03 .*expected a fraction"):
        _check_literals(files)
    assert _check_literals(repo.head().files) > 20
