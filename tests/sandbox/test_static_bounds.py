"""The static check itself ends, whatever it reads, and what it lets through ends too."""

import json
import textwrap
import time
from types import SimpleNamespace

import pytest

from osiris.kernel.history import list_queue
from osiris.kernel.patch import parse_patch
from osiris.kernel.prove import _run_check
from osiris.policy import shipped_files
from osiris.sandbox.laws import literal_numbers
from osiris.sandbox.static import find_problems
from tests.sandbox.evasions import file_with
from tests.sandbox.honest import honest_file

SHIPPED = shipped_files()["sizing.py"]
TERMS, DIGITS = "+".join(["0"] * 1000), "0x" + "F" * 3600


def at(body, top=""):
    return find_problems(file_with(top, textwrap.indent(textwrap.dedent(body).strip(), "    ")))


class TestWhatPythonGivesUpOn:
    @pytest.mark.parametrize("number", [TERMS, DIGITS])
    def test_a_patch_of_it_has_an_id_and_is_listed(self, number):
        after = SHIPPED.replace("0.01", number)
        item = json.dumps({"target": "sizing.py", "before": SHIPPED, "after": after, "diff": "x"})
        (row,) = list_queue(SimpleNamespace(patches=dict), SimpleNamespace(list_queue=lambda: [item]))
        assert row["patch"] == parse_patch(item).id

    @pytest.mark.parametrize("number", [TERMS, DIGITS])
    def test_it_is_refused_in_a_line(self, number):
        for body in (f"return float({number})", f"return RISK * len(list(range({number})))"):
            (told,) = {line.split(": ", 1)[1] for line in at(body)}
            assert "nesting that is too deep" in told or "a whole number of so many digits" in told

    @pytest.mark.parametrize("default", ["0x" + "F" * 300, "b'x'", "1j", "...", "1e999", "99999999999"])
    def test_a_default_is_a_constant_like_others(self, default):
        text = file_with().replace("side: int,", f"bars: int = {default},\n    side: int = 1,")
        assert find_problems(text)

    def test_laws_read_every_number_that_there_is(self):
        assert literal_numbers({"gate.py": "A = 0x" + "F" * 300, "sizing.py": "B = 0.25"}) == [0.25]

    def test_a_check_that_cannot_read_a_file_fails_and_stops_no_turn(self):
        def check():
            raise RecursionError("maximum recursion depth exceeded")

        found = _run_check("static", check)
        assert not found.passed
        assert "RecursionError: maximum recursion depth exceeded" in found.detail


class TestTheCheckEnds:
    """Names that double each other, chains and functions in a row: each took minutes or days."""

    def seconds(self, body, top=""):
        began = time.process_time()
        found = at(body, top)
        return time.process_time() - began, found

    def test_names_that_double_each_other(self):
        rows = "\n".join(["a0 = 1", *(f"a{i} = a{i - 1} + a{i - 1}" for i in range(1, 26))])
        took, found = self.seconds(f"{rows}\nreturn float(sum(1 for _ in range(a25)))")
        assert found
        assert took < 10

    def test_a_chain_of_names(self):
        took, _ = self.seconds(
            "a0 = [confidence]; " + "; ".join(f"a{i} = a{i - 1}" for i in range(1, 400)) + "\nreturn RISK"
        )
        assert took < 10

    def test_functions_in_a_row(self):
        def one(i):
            return f"def f_{i}(n: int) -> int:\n    return f_{i - 1}(n) + f_{i - 1}(n)\n"

        top = "def f_0(n: int) -> int:\n    return len(list(range(n)))\n" + "\n\n".join(map(one, range(1, 30)))
        took, _ = self.seconds("return float(f_29(1))", top)
        assert took < 10


@pytest.mark.parametrize(
    "body",
    [
        'seen = ["a"]\nfor _ in seen:\n    seen += "b"\nreturn RISK',
        "seen = [1.0]\nfor _ in seen:\n    seen += MORE\nreturn RISK",
        "many = 1\nfor _ in range(6):\n    many *= 1_000\nreturn float(len(list(range(many))))",
        "many = 5\nfor _ in range(60):\n    many = many + many\nreturn float(len(list(range(many))))",
        "many = 500\nreturn float(len(list(range(min(5, many * many, key=lambda n: -n)))))",
        "return float(len(list(range(-5 % 1_000_000))))",
        "for _ in range(900):\n    for many in range(900):\n        x = range(many * many)\nreturn RISK",
        "return float(sum(1 for _ in range(1_000 * 1_000)))",
        "seen = [1.0]\nfor _ in seen:\n    seen += statistics.median_low([[1.0]])\nreturn RISK",
        "left = set(features)\nmore = left\nmore -= left\nreturn RISK",
        "return lengthened(10_000_000)",
    ],
)
def test_what_may_not_end_soon_is_refused(body):
    top = (
        "MORE = (1.0,)\n\ndef lengthened(n: int) -> float:\n    n = max(n, 1)\n    return float(len(list(range(n))))\n"
    )
    assert at(body, top if "lengthened" in body else "MORE = (1.0,)")


HONEST = {
    "windows": "total = 0.0\nfor window in (5, 10, 20):\n    for i in range(window):\n        total += close[-1 - i]\nreturn total",
    "two lengths": "fast, slow = 5, 20\nreturn sum(close[-1 - i] for i in range(fast)) / sum(close[-1 - i] for i in range(slow))",
    "twice a constant": "return float(sum(1 for _ in range(2 * BARS)))",
    "twice a length": "return float(len([0.0] * (2 * len(close))))",
    "the relative strength index": (
        "gain, loss = 0.0, 0.0\nfor before, now in pairwise(close[-bars:]):\n    change = now - before\n"
        "    if change > 0:\n        gain += change\n    else:\n        loss -= change\nreturn gain / (gain + loss or 1.0)"
    ),
    "a product with what there is": "size = max(0.0, alpha)\nif hermes is not None:\n    size *= hermes / 10\nreturn size",
    "less of a feature": 'score = alpha\nscore -= features.get("rsi", 0.0)\nreturn score',
    "a typed total": "total: float = g(close)\ntotal += close[0]\nreturn total",
    "what a function returns": "total = g(close)\ntotal += close[0]\nreturn total",
    "a mean and more": "total = fmean(close)\ntotal += alpha\nreturn total",
    "a text that grows": 'text = "a"\nfor _ in range(3):\n    text += "b"\nreturn float(len(text))',
}
TOP = 'BARS = 10\n"""Of a window."""\n\n\ndef g(close: Sequence[float]) -> float:\n    """Return the first."""\n    return close[0]\n'
IMPORTS = "from itertools import pairwise\nfrom statistics import fmean"


@pytest.mark.parametrize("name", HONEST)
def test_what_quants_write_is_allowed(name):
    used = "\n".join(line for line in IMPORTS.split("\n") if line.split()[-1] in HONEST[name])
    assert find_problems(honest_file(HONEST[name], TOP, used)) == []


@pytest.mark.parametrize("kind", ["Literal[1, -1]", 'Literal["up", "down"] | None', 'tuple[Literal["a"], ...]'])
def test_a_type_may_be_one_of_some_values(kind):
    top = f'def h(side: {kind}) -> float:\n    """Return nothing."""\n    return 0.0\n'
    assert find_problems(honest_file("return alpha", top, "from typing import Literal")) == []


@pytest.mark.parametrize("kind", ['Literal[__builtins__["eval"]]', "Literal[print]", "Literal[alpha]"])
def test_but_not_of_whatever_can_be_evaluated(kind):
    top = f'def h(side: {kind}) -> float:\n    """Return nothing."""\n    return 0.0\n'
    assert find_problems(honest_file("return alpha", top, "from typing import Literal"))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return math.pi()", "math.pi: write it without ()"),
        ("x = math.sqrt\nreturn RISK", "math.sqrt: call it"),
        ("v = [1.0, 2.0]\nv[0], v[1] = v[1], v[0]\nreturn v[0]", "among several targets"),
        ("rows = list(features.values())\nmore = rows\nmore *= 2\nreturn RISK", "write `more = more * ...`"),
    ],
)
def test_refusals_name_what_was_written(body, told):
    assert told in " ".join(at(body))
