"""What a file of the policy may be made of, by its syntax alone."""

import pytest

from osiris.config.settings import PROJECT_ROOT
from osiris.kernel.prove import _ruff, _types
from osiris.policy import shipped_files
from osiris.sandbox import allowed
from osiris.sandbox.static import find_problems
from tests.sandbox.evasions import EVASIONS, file_with
from tests.sandbox.honest import HONEST
from tests.sandbox.hostile import HOSTILE_BODIES, plain_body


@pytest.mark.parametrize(("name", "text"), shipped_files().items())
def test_the_shipped_policy_is_made_of_what_is_allowed(name, text):
    assert find_problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        '"""Doc."""\nimport math\n\nA: int = 3\n\n\ndef f(a: float) -> float:\n    """Doc."""\n    return math.exp(-a) * A\n',
        "from statistics import fmean\n\ndef f(a):\n    return fmean([x for x in a if x > 0] or [0.0])\n",
        "def f(a):\n    total = 0.0\n    for x in a:\n        total += x\n    return total\n",
        "def f(a):\n    if not a:\n        raise ValueError('no prices')\n    return sorted(a)[0] ** 2\n",
        "from typing import NamedTuple\n\nclass F(NamedTuple):\n    name: str\n    value: float\n\ndef f(a):\n    return F('a', 1)\n",
    ],
)  # fmt: skip
def test_plain_arithmetic_is_allowed(text):
    assert find_problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "import os", "import os.path", "from os import system", "from math import *", "import math as m",
        "from . import gate", "from collections import abc", "x = 1", "A = [1] * 3", "A = f()",
        "print(1)", "if True:\n    A = 1", "for A in (1,): pass", "def f(a):\n  while a: pass", "def f(a):\n  return f(a)",
        "def f(a):\n  return g(a)\ndef g(a):\n  return f(a)", "def f(a):\n  return a.__class__", "def f(a):\n  return a._x",
        "def f(a):\n  a.b = 1", "def f(a):\n  return getattr(a, 'b')", "def f(a):\n  return eval(a)",
        "def f(a):\n  return max(a, key=eval)", "def f(a):\n  return '{0}'.format(a)",
        "def f(a):\n  return 10 ** a", "def f(a):\n  return 1 << a", "def f(a):\n  return 'x' * 10000001",
        "def f(a):\n  try:\n    return a\n  except Exception:\n    return 0", "def f(a):\n  global B\n  B = a",
        "def f(a):\n  return lambda: a", "def f(a):\n  yield a", "async def f(a):\n  return a", "@f\ndef g(a):\n  return a",
        "def f(a):\n  def g():\n    return a\n  return g()", "def f(a):\n  import os\n  return os", "def sum(a):\n  return a",
        "def f(sum):\n  return sum(1)", "def f(a):\n  max = a\n  return max", "class A: pass", "class A(dict): pass",
        "class A(NamedTuple):\n  a: eval('1')", "class A(NamedTuple):\n  def f(self): return 1", "A: print(1) = 2",
        "def f(a: print(1)):\n  return a", "def f(a=open('x')):\n  return a", "def f(a) -> exit():\n  return a",
        "def f(a):\n  return (a.b)(1)", "def f(a):\n  return a[0](1)", "def f(a):\n  return a(1)",
        "def f(a):\n  return sorted(**a)", "A = 1  # noqa", "A = 1  # type: ignore", "# mypy: ignore-errors",
        "# ruff: noqa", "A = b'x'", "A = 1e999", "A = 10 ** 9", "A = 1\r\n", "A = (", "-" * 9000 + "1",
        "A = " + "(" * 90 + "1" + ")" * 90 + "\ndef f(a):\n  return " + "-" * 80 + "a", "def f(a):\n  assert a",
        "def f(a):\n  return (b := a)", "def f(a):\n  del a", "def f(a):\n  with a: pass", "def f(*a):\n  return [*a]",
        "def f(a):\n  return max(['code'], key=(x for x in a).gi_frame.f_builtins['exec'])", "def f(a):\n  return a.gi_frame",
        "def f(a):\n  return a.real", "MYPY = False\ndef f(a):\n  if not MYPY:\n    return a", "SEEN: list[float] = []",
        "SEEN = {}", "TYPE_CHECKING = 1", "def f(a):\n  return sorted(a, key=a[0])", "class A(NamedTuple):\n  a: " + "-" * 90 + "1",
        "def f(a):\n  match a:\n    case 1: return 2",
    ],
)  # fmt: skip
def test_whatever_reaches_further_is_refused(text):
    assert find_problems(text)


def test_the_file_round_the_evasions_is_honest():
    assert find_problems(file_with()) == []


@pytest.mark.parametrize("way", EVASIONS)
def test_a_way_round_the_check_is_refused(way):
    assert find_problems(EVASIONS[way])


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_policy_is_refused_for_what_it_does(name):
    assert find_problems(file_with(body=plain_body(name)))


@pytest.mark.parametrize("name", HONEST)
def test_what_people_write_is_allowed(name):
    assert find_problems(HONEST[name]) == []


@pytest.mark.system
def test_what_the_static_check_allows_has_a_spelling_that_ruff_and_mypy_take():
    files = {f"file{number}.py": text for number, text in enumerate(HONEST.values())}
    _ruff(files)
    _types(files)


@pytest.mark.parametrize(
    "name", ["gi_frame", "f_builtins", "append", "format", "mro", "cr_await", "co_consts", "cell_contents"]
)
def test_no_field_may_be_named_as_what_other_objects_have(name):
    assert name in allowed.RESERVED_ATTRIBUTES


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    while side:\n        side = 0\n    return RISK", "`while`: write `for ... in range(...)`"),
        ("    return confidence**confidence", "write math.pow(x, y)"),
        ("    a = 1.0\n    assert a\n    return a", "raise ValueError"),
        ("    return float('%d' % side)", "write an f-string"),
        ("    features.pop('x')\n    return RISK", "see `osiris kernel allowed`"),
    ],
)
def test_what_is_refused_is_told_with_what_to_write_instead(body, told):
    assert told in " ".join(find_problems(file_with(body=body)))


def test_the_page_on_the_sandbox_lists_what_is_allowed():
    page = (PROJECT_ROOT / "docs" / "explanation" / "sandbox.md").read_text(encoding="utf-8")
    for about, names in allowed.describe_allowed().items():
        assert f"| {about} | {names.replace('|', chr(92) + '|')} |" in page
