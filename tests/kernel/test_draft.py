"""Drafting by mutation: small changes of what is there, each a patch that applies."""

import random

import libcst as cst
import pytest

from osiris.core.errors import BadInput
from osiris.core.run_log import collect_warnings
from osiris.kernel.draft import draft_patch, extract_diff, find_mutations, mutate_policy
from osiris.kernel.repo import PolicyRepo
from osiris.sandbox.static import find_problems
from osiris.storage.events import TRACES_KEY
from osiris.storage.patches import DEAD_LETTERS_KEY
from tests.builders import MOMENT, make_workspace
from tests.llm.model_factories import make_tokenizer, save_llama


@pytest.fixture(scope="module")
def repo(tmp_path_factory):
    return PolicyRepo(tmp_path_factory.mktemp("policy") / "policy.git")


def test_constants_comparisons_and_the_choice_of_features_are_changed():
    tree = cst.parse_module("A = 10\n\ndef f(a):\n    if a < A:\n        return [1.5, a]\n    return [a]\n")
    found = {
        cst.Module([]).code_for_node(old).strip(): [cst.Module([]).code_for_node(n).strip() for n in new]
        for old, new in find_mutations(tree)
    }
    assert "20" in found["10"]
    assert found["< A"] == ["<= A"]
    assert found["[1.5, a]"] == ["[a]", "[1.5, ]"]


def test_a_mutation_is_a_patch_that_applies_and_reads_as_policy_code(repo):
    live, rng = repo.head(), random.Random(1)
    targets = set()
    for _ in range(40):
        patch = mutate_policy(live, set(), rng)
        assert repo.apply_diff(live.commit, patch.diff)[patch.target] == patch.after
        assert find_problems(patch.after) == []
        targets.add(patch.target)
    assert targets == {"context.py", "gate.py", "sizing.py"}


def test_what_was_judged_before_is_not_drafted_again(repo):
    known, rng = set(), random.Random(2)
    for _ in range(30):
        patch = mutate_policy(repo.head(), known, rng)
        assert patch.id not in known
        known.add(patch.id)


@pytest.mark.parametrize(
    "text",
    [
        "Here it is:\n```diff\n{diff}```\nIt pays.", "{diff}",
        "diff --git a/gate.py b/gate.py\nindex 1..2 100644\n{diff}",
    ],
)  # fmt: skip
def test_a_models_diff_is_found_in_what_it_wrote(repo, text):
    diff = "--- a/gate.py\n+++ b/gate.py\n@@ -9,3 +9,3 @@\n MIN_REWARD_TO_RISK = 0.25\n"
    diff += "-MAX_STOP_ATR = 10.0\n+MAX_STOP_ATR = 8.0\n MIN_CONFIDENCE = 0.0\n"
    assert "MAX_STOP_ATR = 8.0" in repo.apply_diff(repo.head().commit, extract_diff(text.format(diff=diff)))["gate.py"]


@pytest.fixture
def kernel_of(tmp_path):
    """Makes the kernel of a workspace whose models are of this base."""
    opened = []

    def make(base):
        toml = f'[model]\nbase = "{base}"\ntemperature = 0\n[kernel]\ndrafter = "model"\n'
        opened.append(make_workspace(tmp_path, toml, MOMENT))
        return opened[-1].kernel()

    yield make
    for ws in opened:
        ws.close()


def test_a_model_is_shown_the_file_the_traces_and_the_verdicts_and_what_it_wrote_is_kept(kernel_of, tmp_path):
    kernel = kernel_of(save_llama(tmp_path / "llama", make_tokenizer(), positions=4096))
    kernel.lists._events.execute(
        lambda redis: redis.lpush(TRACES_KEY, '{"id": "a", "timestamp": "2005-02-25", "pnl": -0.01, "patch_id": null}')
    )
    kernel.patch_log.record(
        "judged",
        "p1",
        MOMENT,
        target="gate.py",
        by="ann",
        diff="+MIN_CONFIDENCE = 0.5\n",
        verdict="refused",
        reason="tests",
    )
    with collect_warnings() as notes:
        assert draft_patch(kernel.repo, kernel.patch_log, kernel.context, kernel.lists) is None
    assert "expected a unified diff" in notes[0]
    (letter,) = kernel.lists.read_list(DEAD_LETTERS_KEY)
    assert letter["item"]
    assert "expected a unified diff" in letter["reason"]


def test_a_model_that_cannot_read_so_much_says_so(kernel_of):
    kernel = kernel_of("starter")
    with collect_warnings() as notes:
        assert draft_patch(kernel.repo, kernel.patch_log, kernel.context, kernel.lists) is None
    assert "expected a model that reads" in notes[0]
    assert kernel.lists.read_list(DEAD_LETTERS_KEY) == []


def test_words_are_no_diff():
    with pytest.raises(BadInput, match="a unified diff"):
        extract_diff("I would lower the risk.")
