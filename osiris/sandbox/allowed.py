"""What a file of the policy may be made of, as data: imports, built-in functions, methods, syntax, limits.

`osiris kernel allowed` prints these lists, docs/kernel.md repeats them (a test compares), and the static check reads
nothing else. Everything that is not listed is refused.
"""

import ast
import builtins
import types

IMPORTS = {
    "math": None,
    "statistics": None,
    "collections.abc": ("Iterable", "Mapping", "Sequence"),
    "itertools": ("pairwise",),
    "typing": ("Final", "Literal", "NamedTuple"),
}
"""Modules, with what may be imported from each; `None` for the two whose functions are listed in `MEMBERS`."""
MEMBERS = {
    "math": (
        "acos", "asin", "atan", "atan2", "ceil", "copysign", "cos", "cosh", "degrees", "dist", "e", "erf", "erfc",
        "exp", "expm1", "fabs", "floor", "fmod", "fsum", "hypot", "inf", "isclose", "isfinite", "isinf", "isnan",
        "log", "log10", "log1p", "log2", "nan", "pi", "pow", "prod", "radians", "sin", "sinh", "sqrt", "tan", "tanh",
        "tau", "trunc",
    ),
    "statistics": (
        "correlation", "covariance", "fmean", "geometric_mean", "harmonic_mean", "linear_regression", "mean", "median",
        "median_high", "median_low", "pstdev", "pvariance", "quantiles", "stdev", "variance",
    ),
}  # fmt: skip
BUILTINS = (
    "abs", "all", "any", "bool", "dict", "divmod", "enumerate", "filter", "float", "int", "isinstance", "len", "list",
    "map", "max", "min", "pow", "range", "reversed", "round", "set", "sorted", "str", "sum", "tuple", "zip",
)  # fmt: skip
LAZY_ITERATORS = ("enumerate", "filter", "map", "pairwise", "reversed", "zip")
"""Give one element after the other, and are used up where they are made: in a loop or by one of `CONSUMERS`."""
CONSUMERS = ("all", "any", "dict", "list", "max", "min", "set", "sorted", "sum", "tuple", "enumerate", "zip", "map",
             "filter", "pairwise", "fmean", "fsum", "prod", "mean", "median", "join", "extend")  # fmt: skip
CALLBACK_BUILTINS = ("abs", "float", "int", "len", "max", "min", "sum")
"""Built-in functions that may be handed over: `key=abs`, `map(float, prices)`."""
TYPES = ("bool", "dict", "float", "int", "list", "set", "str", "tuple")
READ_METHODS = ("copy", "count", "endswith", "get", "index", "items", "join", "keys", "startswith", "values")
REGRESSION_FIELDS = ("intercept", "slope")
"""Of `linear_regression`."""
MUTATING_METHODS = ("add", "append", "extend", "insert", "sort")
"""Methods that change what they are called on: a list or set that the same function made."""
STATEMENTS = (
    ast.AnnAssign, ast.Assign, ast.AugAssign, ast.Break, ast.Continue, ast.Expr, ast.For, ast.If, ast.Pass, ast.Raise,
    ast.Return,
)  # fmt: skip
EXPRESSIONS = (
    ast.Attribute, ast.BinOp, ast.BoolOp, ast.Call, ast.Compare, ast.Constant, ast.Dict, ast.DictComp,
    ast.FormattedValue, ast.GeneratorExp, ast.IfExp, ast.JoinedStr, ast.Lambda, ast.List, ast.ListComp, ast.Name,
    ast.Set, ast.SetComp, ast.Slice, ast.Starred, ast.Subscript, ast.Tuple, ast.UnaryOp,
)  # fmt: skip
OPERATORS = (ast.Add, ast.BitAnd, ast.BitOr, ast.Div, ast.FloorDiv, ast.Mod, ast.Mult, ast.Pow, ast.Sub)
AUXILIARY_NODES = (
    ast.arg, ast.arguments, ast.boolop, ast.cmpop, ast.comprehension, ast.expr_context, ast.keyword, ast.unaryop,
    *OPERATORS,
)  # fmt: skip
SUGGESTIONS: dict[type[ast.AST], str] = {
    ast.While: "`while`: write `for ... in range(...)`, which ends",
    ast.FunctionDef: "a function within a function: write it as a function of the file, beside the others",
    ast.ClassDef: "a class within a function: write it beside the functions, as a NamedTuple",
    ast.AsyncFunctionDef: "`async`: write a plain function",
    ast.Import: "an import within a function: write it at the top of the file",
    ast.ImportFrom: "an import within a function: write it at the top of the file",
    ast.With: "`with`: there is nothing to open; compute from the arguments",
    ast.Try: "`try`: ask before, as in `if loss == 0:`",
    ast.Global: "`global`: nothing is kept between two calls; use arguments and results",
    ast.Nonlocal: "`nonlocal`: nothing is kept between two calls; use arguments and results",
    ast.Delete: "`del`: leave it",
    ast.Match: "`match`: write `if` and `elif`",
    ast.Assert: "`assert`: write `if ...: raise ValueError('...')`",
    ast.NamedExpr: "`:=`: assign on a line of its own",
    ast.Yield: "`yield`: return a list",
    ast.YieldFrom: "`yield from`: return a list",
    ast.LShift: "`<<`: write a multiplication",
    ast.MatMult: "`@`: write a sum over `zip(...)`",
}
"""What people write, and what to write instead."""
MAX_NUMBER, MAX_INT, MAX_EXPONENT = 1e12, 1_000_000, 4
MAX_RANGE, MAX_LOOP_DEPTH, MAX_NESTING = 1_000, 3, 40
"""Largest number in a `range`, loops within loops (called functions included), syntax within syntax."""


def _builtin_attributes() -> frozenset[str]:
    """What objects have as attributes that code can get hold of without an import: no field may be named so."""

    def sample() -> object:
        yield

    async def awaited() -> None: ...

    coroutine = awaited()
    coroutine.close()
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type)]
    kinds += [kind for kind in vars(types).values() if isinstance(kind, type)]
    kinds += [type(one) for one in (coroutine, sample(), {}.keys(), {}.values(), {}.items(), iter([]), iter({}))]
    found = {name for kind in kinds for name in dir(kind)} | set(dir(builtins)) | set(dir(types))
    return frozenset(found - {"name", "value"})  # those of ImportError and StopIteration, which nothing can catch


RESERVED_ATTRIBUTES = _builtin_attributes()


def describe_allowed() -> dict[str, str]:
    """The lists as people read them: what it is about, and what is allowed."""
    members = {f"from {name} or {name}.": ", ".join(names) for name, names in MEMBERS.items()}
    imports = {f"from {name}": ", ".join(names) for name, names in IMPORTS.items() if names}
    return {
        "imports": "import math, import statistics, and from these and three others the names below",
        **members,
        **imports,
        "module": "a docstring, imports, CONSTANTS (numbers, texts, tuples of them, sums of numbers), functions, "
        "NamedTuple classes",
        "statements": "=, +=, if, for, break, continue, pass, return, raise ValueError(...)",
        "expressions": "+ - * / // %, ** with a small constant (else math.pow), comparisons, and, or, not, in, "
        "if else, indices and slices, lists, tuples, sets, dicts, comprehensions, f-strings, [*a, b]",
        "built-in functions": ", ".join(BUILTINS),
        "methods": ", ".join(READ_METHODS),
        "methods of a list or set that the same function made": ", ".join(MUTATING_METHODS),
        "handed over (key=, map, filter)": f"a lambda, a function of the file, or {', '.join(CALLBACK_BUILTINS)}",
        "limits": f"numbers up to {MAX_NUMBER:g} (whole ones {MAX_INT}), {MAX_RANGE} in a range, "
        f"{MAX_LOOP_DEPTH} loops within loops, powers up to {MAX_EXPONENT}",
        "not": "; ".join(dict.fromkeys(SUGGESTIONS.values())),
    }
