"""Ways round the static check, each in a file that is honest otherwise: `{top}` stands above `size`, `{body}` in it.

None of them needs a `try` or an import off the list, so that it is the way itself that has to be refused.
"""

SIZING_TEMPLATE = '''"""How big a position is."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

RISK = 0.01
{top}

def size(
    side: int,
    target_atr: float,
    stop_atr: float,
    confidence: float,
    hermes: float | None,
    features: Mapping[str, float],
) -> float:
    """Return the fraction of equity to put at risk."""
{body}
'''


def file_with(top: str = "", body: str = "    return RISK") -> str:
    """The file with something above `size`, and something in it."""
    return SIZING_TEMPLATE.format(top=f"{top}\n" if top else "", body=body)


def _tuple(*fields: str) -> str:
    return '\n\nclass Trend(NamedTuple):\n    """A trend."""\n\n' + "".join(f"    {one}: float\n" for one in fields)


def _at(body: str, top: str = "") -> str:
    return file_with(top, "\n".join(f"    {line}" for line in body.split("\n")))


def _and(top: str) -> str:
    return file_with(f"\n\n{top}\n")


READ = "    box = [confidence**2]\n    box.append({one})\n    return RISK if {got} else 0.0"
EVASIONS = {
    # attributes that objects of Python have, by way of a field of that name
    "a frame of a generator": file_with(_tuple("gi_frame", "f_builtins"), READ.format(one="x for x in features", got="box[1].gi_frame.f_builtins")),
    "globals of a function": file_with(_tuple("f_globals", "gi_frame"), READ.format(one="(x for x in features)", got="box[1].gi_frame.f_globals")),
    "a format method by a field": file_with(_tuple("format"), "    return float('{0}'.format(side))"),
    "a method of text by a field": file_with(_tuple("format_map"), "    return float('{a}'.format_map(features))"),
    "a method of a list by a field": file_with(_tuple("clear"), "    return RISK"),
    "a method of a coroutine by a field": file_with(_tuple("cr_frame"), "    return RISK"),
    "a traceback by a field": file_with(_tuple("tb_frame"), "    return RISK"),
    "code of a function by a field": file_with(_tuple("co_code"), "    return RISK"),
    "an exception's method by a field": file_with(_tuple("with_traceback"), "    return RISK"),
    "a cell's content by a field": file_with(_tuple("cell_contents"), "    return RISK"),
    "a property's getter by a field": file_with(_tuple("fget"), "    return RISK"),
    "a field that is private": file_with(_tuple("_fields"), "    return RISK"),
    "a field of two underscores within": file_with(_tuple("a__class__"), "    return RISK"),
    "a field that is written in other letters": file_with(_tuple("\u210aigi_frame"), "    return RISK"),
    "a field with a list to remember in": file_with("\n\nclass Trend(NamedTuple):\n    \"\"\"A trend.\"\"\"\n\n    seen: list[float] = []\n"),
    "a field whose type is a call": file_with("\n\nclass Trend(NamedTuple):\n    \"\"\"A trend.\"\"\"\n\n    slope: print('x')\n"),
    "a class body that runs something as a target": file_with("\n\nclass Trend(NamedTuple):\n    \"\"\"A trend.\"\"\"\n\n    print('x').y: float\n"),
    "a class body that runs something as an index": file_with("\n\nclass Trend(NamedTuple):\n    \"\"\"A trend.\"\"\"\n\n    exec('import os')[0]: float\n"),
    "a class body with a loop": file_with("\n\nclass Trend(NamedTuple):\n    \"\"\"A trend.\"\"\"\n\n    slope: float\n    for x in (1,):\n        y = x\n"),
    "a base that is computed": file_with("\n\nclass Trend(max(int, float)):\n    \"\"\"A trend.\"\"\"\n\n    slope: float\n"),
    "a NamedTuple of its own making": file_with("\n\ndef NamedTuple(a: str) -> str:\n    \"\"\"Not it.\"\"\"\n    return a\n"),
    "an attribute of a module": _at("return float(math.__name__ == 'x')"),
    "a module as a value": _at("box = [math]\nreturn RISK"),
    "another name for a module": _at("m = math\nreturn m.pi"),
    "a function of math off the list": _at("return float(math.factorial(999_999))"),
    "a method of a class": file_with(_tuple("slope"), "    return float(Trend._make([1.0])[0])"),
    "a method of a built-in type": _at("return float.fromhex('0x1')"),
    "a method by the type that has it": _at("a = [1.0]\nlist.append(a, 1.0)\nreturn a[0]"),
    # calling what was fetched
    "a key that is a local name": _at("run = confidence\nreturn max([1.0], key=run)"),
    "a key that is an argument": file_with("\n\ndef best(a: list[float], key: float) -> float:\n    \"\"\"Best.\"\"\"\n    return max(a, key=key)\n"),
    "a key out of a list": _at("return max([1.0], key=[abs][0])"),
    "a key that is chosen": _at("return max([1.0], key=abs if side else len)"),
    "a key that is the result of a call": _at("return max([1.0], key=max(abs, len))"),
    "a key that is a builtin off the list": _at("return max([1.0], key=print)"),
    "a key in a dict that is spread": _at("return max([1.0], **{'key': abs})"),
    "a key to a function that takes none": _at("return sum([1.0], key=abs)"),
    "a lambda that is kept": _at("run = lambda x: x\nreturn RISK"),
    "a lambda with a default": _at("return max([1.0], key=lambda x, seen=[]: x)"),
    "a lambda that calls what it is given": _at("return max([abs(1.0)], key=lambda x: x(1))"),
    "a lambda that is called at once": _at("return (lambda x: x)(RISK)"),
    "map with what is given": _at("return sum(map(features, [1.0]))"),
    "map with a builtin off the list": _at("return sum(map(eval, ['1.0']))"),
    "filter with an attribute": _at("return sum(filter(features.get, [1.0]))"),
    "a function in a list": _at("box = [abs]\nreturn RISK"),
    "a function in a tuple for isinstance": _at("return RISK if isinstance(side, (int, eval)) else 0.0"),
    "a function as an argument of another": file_with("\n\ndef twice(x: float) -> float:\n    \"\"\"Twice.\"\"\"\n    return 2 * x\n", "    return max(twice, RISK)"),
    "a call of a call": _at("return abs(1.0)(1.0)"),
    "a call of an element": _at("return features['x'](1.0)"),
    "an error as a value": _at("e = ValueError('x')\nreturn RISK"),
    "an error that is raised from another": _at("raise ValueError('x') from ValueError('y')"),
    "a text that is formatted by %": _at("return float('%999999d' % side)"),
    "an f-string with a computed width": _at("return float(len(f'{side:{side}}'))"),
    "an f-string with a long width": _at("return float(len(f'{side:999999d}'))"),
    "an f-string that reads an attribute": _at("return float(len(f'{features.__class__}'))"),
    "an f-string that calls": _at("return float(len(f'{eval(\"1\")}'))"),
    "the address of an object": _at("return float(len(str(zip([1.0], [1.0]))))"),
    "the address of a generator": _at("return float(len(str(x for x in features)))"),
    # memory between two calls
    "a default that is a list": _and("def remember(x: float, seen: list[float] = []) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a default that is an element of a tuple": _and("def remember(x: float, seen: list[float] = ([0.0],)[0]) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a default that is a slice of a list": _and("def remember(x: float, seen: list[int] = list(range(9))[:]) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a default that is a comprehension": _and("def remember(x: float, seen: list[int] = [n for n in (1, 2)]) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a default that is a sum of lists": _and("def remember(x: float, seen: list[float] = [0.0] + [1.0]) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a default that is chosen": _and("def remember(x: float, seen: list[float] = [0.0] if RISK else [1.0]) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a default that is a dict": _and("def remember(x: float, *, seen: dict[str, float] = {}) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a default that is a set": _and("def remember(x: float, seen: set[float] = {0.0}) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a default that holds a list": _and("def remember(x: float, seen: tuple[list[float], ...] = ([0.0],)) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a default that is a function": _and("def remember(x: float, run: float = abs) -> float:\n    \"\"\"Remember.\"\"\"\n    return x"),
    "a list of the file": file_with("SEEN = [0.0]\n"),
    "a list in a tuple of the file": file_with("SEEN = ([0.0], 1)\n"),
    "a dict of the file": file_with("SEEN = {'x': 0.0}\n"),
    "a comprehension of the file": file_with("SEEN = tuple(x for x in (1, 2))\n"),
    "an element of the file's tuple": file_with("A = ((1, 2), 3)\nB = A[0]\n"),
    "an attribute of a function": _at("size.seen = confidence\nreturn RISK"),
    "a changed module": _at("math.pi = 3\nreturn RISK"),
    "global": _at("global RISK\nreturn RISK"),
    "a closure": _at("def inner() -> float:\n    return RISK\nreturn inner()"),
    "nonlocal": _at("def inner() -> float:\n    nonlocal side\n    return RISK\nreturn inner()"),
    "a constant that changes in a loop": file_with("for RISK in (0.01, 0.02):\n    pass\n"),
    "a second constant of the same name": file_with("RISK = 0.02\n"),
    "a function that takes a constant's name": file_with("\n\ndef math(x: float) -> float:\n    \"\"\"Not it.\"\"\"\n    return x\n"),
    "a constant with two targets": file_with("A = B = 1\n"),
    "a constant that is unpacked": file_with("A, B = 1, 2\n"),
    "a constant by +=": file_with("A = 1\nA += 1\n"),
    "a type for what is no name": _at("features['x']: float = 1.0\nreturn RISK"),
    "a type that runs something": _at("x: print('x') = 1.0\nreturn RISK"),
    "a type that is a text": _and("def f(x: \"__import__('os')\") -> float:\n    \"\"\"F.\"\"\"\n    return RISK"),
    "a type that is a text within": _and("def f(x: list[\"__import__('os')\"]) -> float:\n    \"\"\"F.\"\"\"\n    return RISK"),
    "a result type that runs something": _and("def f(x: float) -> print('x'):\n    \"\"\"F.\"\"\"\n    return RISK"),
    # what never ends
    "a loop over a list that it makes longer": _at("seen = [1.0]\nfor x in seen:\n    seen.append(x)\nreturn RISK"),
    "such a loop by extend": _at("seen = [1.0]\nfor x in seen:\n    seen.extend([x])\nreturn RISK"),
    "such a loop by +=": _at("seen = [1.0]\nfor x in seen:\n    seen += [x]\nreturn RISK"),
    "such a loop by insert": _at("seen = [1.0]\nfor x in seen:\n    seen.insert(0, x)\nreturn RISK"),
    "such a loop by a slice": _at("seen = [1.0]\nfor x in seen:\n    seen[len(seen) :] = [x]\nreturn RISK"),
    "such a loop by a method's own name": _at("seen = [1.0]\nadd = seen.append\nfor x in seen:\n    add(x)\nreturn RISK"),
    "such a loop by another name": _at("seen = [1.0]\nother = seen\nfor x in other:\n    seen.append(x)\nreturn RISK"),
    "such a loop by two other names": _at("seen = [1.0]\na = (seen, 1)\nb = a[0]\nfor x in b:\n    seen.append(x)\nreturn RISK"),
    "such a loop by a function that gives it back": file_with("\n\ndef same(a: list[float]) -> list[float]:\n    \"\"\"Same.\"\"\"\n    return a\n", "    seen = [1.0]\n    for x in same(seen):\n        seen.append(x)\n    return RISK"),
    "such a loop by a function that makes longer": file_with("\n\ndef grow(a: list[float]) -> None:\n    \"\"\"Grow.\"\"\"\n    a.append(1.0)\n", "    return RISK"),
    "such a function by another name": file_with("\n\ndef grow(a: list[float]) -> None:\n    \"\"\"Grow.\"\"\"\n    b = a\n    b += [1.0]\n", "    return RISK"),
    "such a function by +=": file_with("\n\ndef grow(a: list[float]) -> None:\n    \"\"\"Grow.\"\"\"\n    a += [1.0]\n", "    return RISK"),
    "such a loop over enumerate": _at("seen = [1.0]\nfor _, x in enumerate(seen):\n    seen.append(x)\nreturn RISK"),
    "such a loop over zip with a star": _at("seen = [1.0]\nfor (x,) in zip(seen):\n    seen.append(x)\nreturn RISK"),
    "such a loop over a kept iterator": _at("seen = [1.0]\nkept = map(abs, seen)\nfor x in kept:\n    seen.append(x)\nreturn RISK"),
    "such a loop over itself in a list": _at("seen = [1.0]\nrows = [seen]\nfor x in rows[0]:\n    seen.append(x)\nreturn RISK"),
    "such a loop by an element": _at("rows = [[1.0]]\nfor x in rows[0]:\n    rows[0] += [x]\nreturn RISK"),
    "such a loop by a chosen list": _at("seen = [1.0]\nfor x in seen if side else [2.0]:\n    seen.append(x)\nreturn RISK"),
    "such a loop in a comprehension": _at("seen = [1.0]\nleft = [seen.append(x) for x in seen]\nreturn RISK"),
    "such a loop in its inner loop": _at("seen = [1.0]\nfor x in seen:\n    for y in (1.0, 2.0):\n        seen.append(x + y)\nreturn RISK"),
    "such a loop with a list of its own": _at("seen = [1.0]\nkept = [0.0]\nkept = seen\nfor x in kept:\n    seen.append(x)\nreturn RISK"),
    "recursion": _and("def f(x: float) -> float:\n    \"\"\"F.\"\"\"\n    return f(x)"),
    "recursion through another": _and("def f(x: float) -> float:\n    \"\"\"F.\"\"\"\n    return g(x)\n\n\ndef g(x: float) -> float:\n    \"\"\"G.\"\"\"\n    return f(x)"),
    "recursion by key": _and("def f(x: float) -> float:\n    \"\"\"F.\"\"\"\n    return max([x], key=f)"),
    "recursion by map": _and("def f(x: float) -> float:\n    \"\"\"F.\"\"\"\n    return sum(map(f, [x]))"),
    "recursion by a lambda": _and("def f(x: float) -> float:\n    \"\"\"F.\"\"\"\n    return max([x], key=lambda y: f(y))"),
    "recursion through data": _and("def f(x: float, g: float) -> float:\n    \"\"\"F.\"\"\"\n    return max([g], key=g)"),
    "a huge range": _at("for _ in range(999_999):\n    side = 1\nreturn RISK"),
    "a huge range by a constant": file_with("MANY = 999_999\n", "    return sum(RISK for _ in range(MANY))"),
    "a huge range by a product": _at("many = 1_000 * 1_000\nreturn sum(RISK for _ in range(many))"),
    "a huge range by a float": _at("return sum(RISK for _ in range(int(1e12)))"),
    "a huge range by an argument": file_with("\n\ndef f(bars: int) -> float:\n    \"\"\"F.\"\"\"\n    return sum(RISK for _ in range(bars))\n", "    return f(999 * 999 * 999)"),
    "a huge range by a named argument": file_with("\n\ndef f(bars: int = 3) -> float:\n    \"\"\"F.\"\"\"\n    return sum(RISK for _ in range(bars))\n", "    return f(bars=int(1e9))"),
    "a huge range by a handed function": file_with("\n\ndef f(bars: int) -> float:\n    \"\"\"F.\"\"\"\n    return sum(RISK for _ in range(bars))\n", "    return max(map(f, [999_999]))"),
    "a huge range by a power": _at("many = 10**4\nreturn sum(RISK for _ in range(many**4))"),
    "a long text": _at("return float(len('x' * 999_999))"),
    "a long list": _at("many = int(1e9)\nreturn float(len([0.0] * many))"),
    "loops within loops": _at("return sum(RISK for a in range(999) for b in range(999) for c in range(999) for d in range(999))"),
    "loops within loops by functions": _and("def f(x: float) -> float:\n    \"\"\"F.\"\"\"\n    return sum(x for a in range(999) for b in range(999))\n\n\ndef g(x: float) -> float:\n    \"\"\"G.\"\"\"\n    return sum(f(x) for a in range(999) for b in range(999))"),
    "a large power": _at("return float(999_999**999_999)"),
    "a large power by pow": _at("return float(pow(999_999, 999_999))"),
    "a large power by a name": _at("return float(999_999**side)"),
    # syntax nobody needs
    "a walrus in a comprehension": _at("return sum((y := x) for x in (1.0, 2.0))"),
    "a walrus that hides a builtin": _at("return RISK if (max := 1) else 0.0"),
    "a comprehension that stores into an argument": _at("return sum(1.0 for features['x'] in (1.0, 2.0))"),
    "a loop that stores into an argument": _at("for features['x'] in (1.0, 2.0):\n    pass\nreturn RISK"),
    "a comprehension whose name is a builtin": _at("return sum(abs for abs in (1.0, 2.0))"),
    "a decorator": _and("@abs\ndef f(x: float) -> float:\n    \"\"\"F.\"\"\"\n    return x"),
    "arguments with a star": _and("def f(*x: float) -> float:\n    \"\"\"F.\"\"\"\n    return RISK"),
    "arguments with two stars": _and("def f(**x: float) -> float:\n    \"\"\"F.\"\"\"\n    return RISK"),
    "a call with a star": _at("return max(*[1.0, 2.0])"),
    "match by class": _at("match features:\n    case dict(items=run):\n        return RISK\nreturn RISK"),
    "except star": _at("try:\n    return RISK\nexcept* ValueError:\n    return 0.0"),
    "with": _at("with features:\n    return RISK"),
    "a type comment": _at("x = []  # type: list[float]\nreturn RISK"),
    "a comment that silences mypy": _at("return RISK  # odd # type: ignore"),
    "an encoding": "# -*- coding: utf-7 -*-\n" + file_with(),
    "a comment for CrossHair": _at("# crosshair: off\nreturn RISK"),
    "letters that turn the line round": _at("return RISK  # \u202e neve"),
    "a name in other letters": _at("\uff45val = 1.0\nreturn \uff45val"),
    "the builtins by their name": _at("return float(__builtins__['eval']('1'))"),
    "the file's own name": _at("return float(len(__name__))"),
    "a name of two underscores": _at("__x = RISK\nreturn __x"),
    "the hash of a text": _at("return float(hash('x'))"),
    "the address of a list": _at("return float(id(features))"),
    "an import with another name": file_with("import math as m\n"),
    "an import of everything": file_with("from math import *\n"),
    "a module beside": file_with("import contracts\n"),
    "a submodule": file_with("import collections.abc\n"),
    "a relative import": file_with("from . import gate\n"),
    "an import that hides a builtin": file_with("from math import pow\n"),
    "bytes": _at("return float(len(b'x'))"),
    "a complex number": _at("return abs(1j)"),
    "del": _at("del features\nreturn RISK"),
    "a statement of the file": file_with("print('x')\n"),
    "an if of the file": file_with("if RISK:\n    A = 1\n"),
    "a text of the file that is computed": file_with("A = 'x' * 10\n"),
    "checkers see another file": file_with("TYPE_CHECKING = False\n"),
}  # fmt: skip
