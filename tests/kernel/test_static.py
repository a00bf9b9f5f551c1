"""What a file of the policy may be made of, by its syntax alone."""

import pytest

from osiris.kernel.static import problems
from osiris.policy import shipped_files


@pytest.mark.parametrize(("name", "text"), shipped_files().items())
def test_the_shipped_policy_is_made_of_what_is_allowed(name, text):
    assert problems(text) == []


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
    assert problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "import os", "import os.path", "from os import system", "from math import *", "import math as m",
        "from . import gate", "import statistics", "from collections import abc", "x = 1", "A = [1] * 3", "A = f()",
        "print(1)", "if True:\n    A = 1", "for A in (1,): pass", "def f(a):\n  while a: pass", "def f(a):\n  return f(a)",
        "def f(a):\n  return g(a)\ndef g(a):\n  return f(a)", "def f(a):\n  return a.__class__", "def f(a):\n  return a._x",
        "def f(a):\n  a.b = 1", "def f(a):\n  return getattr(a, 'b')", "def f(a):\n  return eval(a)",
        "def f(a):\n  return max(a, key=eval)", "def f(a):\n  return '{0}'.format(a)", "def f(a):\n  return f'{a}'",
        "def f(a):\n  return 10 ** a", "def f(a):\n  return 1 << a", "def f(a):\n  return 'x' * 10000001",
        "def f(a):\n  try:\n    return a\n  except Exception:\n    return 0", "def f(a):\n  global B\n  B = a",
        "def f(a):\n  return lambda: a", "def f(a):\n  yield a", "async def f(a):\n  return a", "@f\ndef g(a):\n  return a",
        "def f(a):\n  def g():\n    return a\n  return g()", "def f(a):\n  import os\n  return os", "def sum(a):\n  return a",
        "def f(sum):\n  return sum(1)", "def f(a):\n  max = a\n  return max", "class A: pass", "class A(dict): pass",
        "class A(NamedTuple):\n  a: eval('1')", "class A(NamedTuple):\n  def f(self): return 1", "A: print(1) = 2",
        "def f(a: print(1)):\n  return a", "def f(a=open('x')):\n  return a", "def f(a) -> exit():\n  return a",
        "def f(a):\n  return (a.b)(1)", "def f(a):\n  return a[0](1)", "def f(a):\n  return a(1)",
        "def f(a):\n  return sorted(**a)", "A = 1  # noqa", "A = 1  # type: ignore", "# mypy: ignore-errors",
        "# ruff: noqa", "A = b'x'", "A = 1e999", "A = 10 ** 9", "A = 'caf\u00e9'", "A = 1\r\n", "A = (", "-" * 9000 + "1",
        "A = " + "(" * 90 + "1" + ")" * 90 + "\ndef f(a):\n  return " + "-" * 80 + "a", "def f(a):\n  assert a",
        "def f(a):\n  return (b := a)", "def f(a):\n  del a", "def f(a):\n  with a: pass", "def f(*a):\n  return [*a]",
        "def f(a):\n  return max(['code'], key=(x for x in a).gi_frame.f_builtins['exec'])", "def f(a):\n  return a.gi_frame",
        "def f(a):\n  return a.real", "MYPY = False\ndef f(a):\n  if not MYPY:\n    return a", "SEEN: list[float] = []",
        "SEEN = {}", "TYPE_CHECKING = 1", "def f(a):\n  return sorted(a, key=a[0])", "class A(NamedTuple):\n  a: " + "-" * 90 + "1",
        "def f(a):\n  match a:\n    case 1: return 2",
    ],
)  # fmt: skip
def test_whatever_reaches_further_is_refused(text):
    assert problems(text)
