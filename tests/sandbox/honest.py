"""What people who write policies write: each has to pass the static check, ruff and mypy as it stands.

`TOPS` stand above a function, `BODIES` in one that is given `close: Sequence[float]`, `alpha: float`, `bars: int = 20`,
`hermes: float | None` and `features: Mapping[str, float]`.
"""

FILE_TEMPLATE = '''"""Features of the market."""

{imports}

def f(
    close: Sequence[float], alpha: float, hermes: float | None, features: Mapping[str, float], bars: int = 20
) -> float:
    """Return a number."""
{body}
'''
PLAIN_IMPORT = "from collections.abc import Mapping, Sequence"


def honest_file(body: str, top: str = "", imports: str = "") -> str:
    """A file of the policy with this body, and this above it."""
    modules = [one for one in imports.split("\n") if one.startswith("import ")]
    names = sorted([PLAIN_IMPORT, *(one for one in imports.split("\n") if one.startswith("from "))])
    head = "\n".join([*sorted(modules), *names]) + "\n" + (f"\n{top}\n" if top else "")
    return FILE_TEMPLATE.format(imports=head, body="\n".join(f"    {line}" for line in body.split("\n")))


HONEST_BODIES = {
    "a mean": "return sum(close[-bars:]) / bars",
    "a loop that counts": "total = 0.0\nfor i in range(3):\n    total += close[-1 - i]\nreturn total",
    "a loop variable that is not used": "total = 0.0\nfor _ in range(3):\n    total += alpha\nreturn total",
    "a part that is not used": "low, _high = min(close), max(close)\nreturn low",
    "a private loop variable": "total = 0.0\nfor _i in range(3):\n    total += alpha\nreturn total",
    "a list with another in it": "padded = [0.0, *close]\nreturn padded[0]",
    "a sum of lists": "padded = [0.0] + list(close)\nreturn padded[0]",
    "the rest of a list": "first, *rest = close\nreturn first - sum(rest)",
    "returns by zip": "changes = [b / a - 1 for a, b in zip(close[:-1], close[1:], strict=True)]\nreturn sum(changes)",
    "the first of a list": "return list(close)[0]",
    "an f-string": "name = f\"mean_{bars}\"\nreturn features.get(name, 0.0)",
    "an f-string with a format": "name = f\"{alpha:.2f}\"\nreturn features.get(name, 0.0)",
    "isinstance": "return alpha if isinstance(hermes, float) else 0.0",
    "isinstance of two": "return alpha if isinstance(hermes, (int, float)) else 0.0",
    "map": "return sum(map(abs, close))",
    "filter with a lambda": "return sum(filter(lambda x: x > 0, close))",
    "pow": "return pow(alpha, 2)",
    "a power": "return alpha**2",
    "a square root by a power": "return alpha**0.5",
    "a lambda as key": "pairs = [(x, i) for i, x in enumerate(close)]\nbest, _ = max(pairs, key=lambda pair: pair[0])\nreturn best",
    "abs as key": "return max(close, key=abs)",
    "a list that grows": "out = [close[0]]\nfor x in close[1:]:\n    out.append(alpha * x + (1 - alpha) * out[-1])\nreturn out[-1]",
    "a typed list that grows": "out: list[float] = []\nfor x in close:\n    out.append(x)\nreturn sum(out)",
    "a list made of another that was made": "a: list[float] = []\nfor x in close:\n    a.append(x)\nb: list[float] = []\nfor x in a:\n    b.append(x)\nreturn sum(b)",
    "an average that follows": "mean = close[0]\nfor x in close[1:]:\n    mean += alpha * (x - mean)\nreturn mean",
    "a loop over the length": "total = 0.0\nfor i in range(1, len(close)):\n    total += abs(close[i] - close[i - 1])\nreturn total",
    "a loop over the last bars": "total = 0.0\nfor i in range(len(close) - bars, len(close)):\n    total += close[i]\nreturn total",
    "a loop over windows": "total = 0.0\nfor window in (5, 10, 20):\n    total += sum(close[-window:]) / window\nreturn total",
    "a count in a dict": "counts: dict[bool, int] = {}\nfor x in close:\n    up = x > close[0]\n    counts[up] = counts.get(up, 0) + 1\nreturn counts.get(True, 0) / len(close)",
    "a dict literal": "weights = {\"momentum\": 0.5, \"rsi\": 0.1}\nreturn sum(weight * features.get(name, 0.0) for name, weight in weights.items())",
    "items of the features": "return sum(value for name, value in features.items() if name != \"rsi\")",
    "a set": "known = {\"rsi\", \"momentum\"}\nreturn 1.0 if known & set(features) else 0.0",
    "break and continue": "for x in close:\n    if x < 0:\n        continue\n    if x > alpha:\n        break\nreturn alpha",
    "an error": "if not close:\n    raise ValueError(\"expected prices\")\nreturn close[-1]",
    "a chain of comparisons": "return 1.0 if 0 < alpha <= 1 else 0.0",
    "elif": "if alpha > 1:\n    return 1.0\nelif alpha > 0:\n    return alpha\nreturn 0.0",
    "any and all": "return 1.0 if any(x > 0 for x in close) and all(x >= 0 for x in close) else 0.0",
    "enumerate": "return sum(i * x for i, x in enumerate(close))",
    "sorted": "return sorted(close)[len(close) // 2]",
    "sort of a list of its own": "values = list(close)\nvalues.sort()\nreturn values[0]",
    "a large float": "return min(alpha, 1e9)",
    "a number with underscores": "return min(alpha, 10_000)",
    "none of hermes": "return alpha if hermes is None else alpha * hermes",
    "a comprehension with a condition": "return float(len([x for x in close if x > alpha]))",
    "two comprehensions": "return sum(a * b for a in close for b in close)",
    "round": "return round(alpha, 4)",
    "a slice with a step": "return sum(close[::-2])",
    "a comment with an umlaut": "# der Trend für später\nreturn alpha",
    "a comment on types": "# the kind of signal: trend following\nreturn alpha",
    "a comment on encoding": "# the encoding: of signs\nreturn alpha",
    "reversed": "for x in reversed(close):\n    if x > alpha:\n        return x\nreturn alpha",
    "clipping": "return max(0.0, min(0.02, alpha))",
    "a list of a length": "out = [0.0] * len(close)\nfor i, x in enumerate(close):\n    out[i] = x * alpha\nreturn sum(out)",
    "the sign": "return (alpha > 0) - (alpha < 0)",
    "divmod": "whole, left = divmod(alpha, 2.0)\nreturn whole + left",
    "a named condition": "is_up = close[-1] > close[0]\nreturn alpha if is_up else -alpha",
}  # fmt: skip
HONEST_FILES = {
    "math": honest_file("return math.sqrt(alpha)", imports="import math"),
    "from math": honest_file("return sqrt(alpha)", imports="from math import sqrt"),
    "math as key": honest_file("return max(close, key=math.fabs)", imports="import math"),
    "tanh, pi and a power": honest_file("return math.tanh(alpha) * math.pi + math.pow(alpha, 0.3)", imports="import math"),
    "statistics": honest_file("return statistics.fmean(close)", imports="import statistics"),
    "from statistics": honest_file("return fmean(close) / stdev(close)", imports="from statistics import fmean, stdev"),
    "variance": honest_file("return statistics.variance(close)", imports="import statistics"),
    "correlation": honest_file("return statistics.correlation(close[1:], close[:-1])", imports="import statistics"),
    "a regression": honest_file("slope, _ = statistics.linear_regression(range(len(close)), close)\nreturn slope", imports="import statistics"),
    "the slope of a regression": honest_file("return statistics.linear_regression(list(range(len(close))), close).slope", imports="import statistics"),
    "pairs": honest_file("return sum(b - a for a, b in pairwise(close))", imports="from itertools import pairwise"),
    "a quotient": honest_file("return SHARE * alpha", "SHARE = 2 / 3"),
    "a constant of a constant": honest_file("return SLOW * alpha", "FAST = 10\nSLOW = 2 * FAST"),
    "a power of a constant": honest_file("return alpha**POWER", "POWER = 2"),
    "a tuple of tuples": honest_file("return sum(weight * features.get(name, 0.0) for name, weight in WEIGHTS)", "WEIGHTS = ((\"rsi\", 0.1), (\"momentum\", 0.5))"),
    "a list as a tuple": honest_file("return sum(sum(close[-n:]) / n for n in WINDOWS)", "WINDOWS = (5, 10, 20)"),
    "a final constant": honest_file("return LIMIT * alpha", "LIMIT: Final = 0.5", "from typing import Final"),
    "a private constant": honest_file("return _LIMIT * alpha", "_LIMIT = 0.5"),
    "a helper": honest_file("return _mean(close, bars)", "\ndef _mean(values: Sequence[float], bars: int) -> float:\n    \"\"\"Return the mean.\"\"\"\n    total = 0.0\n    for i in range(bars):\n        total += values[-1 - i]\n    return total / bars\n"),
    "a helper as key": honest_file("return max(close, key=distance)", "\ndef distance(x: float) -> float:\n    \"\"\"Return the distance from 100.\"\"\"\n    return abs(x - 100)\n"),
    "an iterable": honest_file("return total(close)", "\ndef total(values: Iterable[float]) -> float:\n    \"\"\"Return the sum.\"\"\"\n    return sum(values)\n").replace("import Mapping", "import Iterable, Mapping"),
    "a tuple with names": honest_file("trend = Trend(alpha, 2)\nreturn trend.slope * trend.length", "\nclass Trend(NamedTuple):\n    \"\"\"A trend.\"\"\"\n\n    slope: float\n    length: int = 1\n", "from typing import NamedTuple"),
    "a literal": honest_file("return signed(alpha, \"up\")", "\ndef signed(x: float, way: Literal[\"up\", \"down\"]) -> float:\n    \"\"\"Return it with a sign.\"\"\"\n    return x if way == \"up\" else -x\n", "from typing import Literal"),
}  # fmt: skip
HONEST = {name: honest_file(body) for name, body in HONEST_BODIES.items()} | HONEST_FILES
