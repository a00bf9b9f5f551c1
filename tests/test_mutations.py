"""Every mutation can be made: its code stands once in its file, and its tests are there."""

import ast
from collections import Counter

from osiris.config.settings import PROJECT_ROOT
from tests.mutations import read_mutations

MUTATIONS = read_mutations()


def test_each_has_a_name_of_its_own():
    assert [name for name, count in Counter(one.name for one in MUTATIONS).items() if count > 1] == []


def test_the_code_of_each_stands_once_in_its_file_and_is_python_without_it_too():
    for one in MUTATIONS:
        changed = one.applied_to((PROJECT_ROOT / one.file).read_text())
        if one.file.endswith(".py"):
            ast.parse(changed)


def test_each_says_in_a_sentence_what_would_go_wrong():
    assert [one.name for one in MUTATIONS if not 3 <= len(one.why.split()) <= 25 or one.why[-1] != "."] == []


def test_the_tests_of_each_are_there():
    named = {part.split("::")[0] for one in MUTATIONS for part in one.tests.split() if part.startswith("tests/")}
    assert {path for path in named if not (PROJECT_ROOT / path).exists()} == set()
