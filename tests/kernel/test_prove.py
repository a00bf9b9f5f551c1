"""The proof: every check named, timed, and able to refuse."""

import pytest

from osiris.kernel.prove import prove
from osiris.kernel.repo import PolicyRepo
from osiris.kernel.sandbox import NoSandbox
from osiris.sections import Kernel
from tests.kernel.test_repo import GOOD, diff_of
from tests.kernel.test_sandbox import needs_bubblewrap

NAMES = ["size", "paths", "applies", "changes", "compiles", "static", "ruff", "types", "tests", "contracts", "hermes"]
RULES = Kernel(min_hermes=0, symbolic_seconds=0.3)
RETURN = "    return RISK"
NEW = "diff --git a/{name} b/{name}\nnew file mode {mode}\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+import os\n"


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    return PolicyRepo(tmp_path_factory.mktemp("policy") / "policy.git")


@pytest.fixture(scope="module")
def judge():
    from osiris.llm.loader import load_judge
    from osiris.settings import Settings

    return load_judge(Settings())


def proved(repo, diff, judge=None, rules=RULES):
    return prove(diff, repo.head(), repo, judge, rules)


@needs_bubblewrap
def test_an_honest_patch_passes_every_check_and_changes_nothing_yet(repo, judge):
    before = repo.head()
    proof = proved(repo, diff_of(RETURN, "    return RISK * (0.5 + confidence)"), judge)
    assert [check.name for check in proof.checks] == NAMES
    assert (proof.verdict, proof.reason) == ("proved", "")
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
        ("hermes", diff_of(RETURN, "    return RISK * confidence")),
    ],
)  # fmt: skip
def test_each_check_refuses_what_it_is_there_for_and_the_later_ones_are_not_run(repo, refused_by, diff):
    proof = proved(repo, diff)
    assert proof.verdict == "refused"
    failed = {check.name: check.detail for check in proof.checks if not check.passed}
    assert next(iter(failed)) == refused_by, failed
    assert [check.name for check in proof.checks] == NAMES
    assert all(
        "not run" in failed[name] for name in NAMES[NAMES.index("tests") :] if name in failed and name != refused_by
    )


@needs_bubblewrap
def test_the_judge_has_to_give_as_much_as_is_asked_for(repo, judge):
    diff = diff_of(RETURN, "    return RISK * confidence")
    given = proved(repo, diff, judge).hermes
    proof = proved(repo, diff, judge, RULES.model_copy(update={"min_hermes": given + 1}))
    assert proof.reason == f"hermes: {given} of 10, at least {given + 1} asked for"


def test_without_bubblewrap_nothing_is_proved(repo, monkeypatch):
    head = repo.head()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoSandbox, match="apt-get install bubblewrap"):
        prove(GOOD, head, repo, None, RULES)
