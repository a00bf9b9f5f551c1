"""What a file of the policy may be made of, as data: imports, built-in functions, methods, syntax, limits.

Everything that is not listed is refused, so a new feature of Python stays out until somebody adds it here. The static
check reads no other list. `osiris kernel allowed` prints these, and the documentation repeats them (a test compares).

The lists keep out whatever reads files, opens connections, imports other modules or keeps a value between two calls.
They do not say how long code may run (`static_loops`, `static_ranges`) nor whether its answers are right.
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
"""The names that may be imported from each module; `None` for the two modules whose names are in `MEMBERS`."""
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
"""Functions that return an iterator. It has to be used up where it is made, in a loop or by one of `CONSUMERS`."""
CONSUMERS = ("all", "any", "dict", "list", "max", "min", "set", "sorted", "sum", "tuple", "enumerate", "zip", "map",
             "filter", "pairwise", "fmean", "fsum", "prod", "mean", "median", "join", "extend")  # fmt: skip
CALLBACK_BUILTINS = ("abs", "float", "int", "len", "max", "min", "sum")
"""Built-in functions that may be passed as arguments: `key=abs`, `map(float, prices)`."""
TYPES = ("bool", "dict", "float", "int", "list", "set", "str", "tuple")
READ_METHODS = ("copy", "count", "endswith", "get", "index", "items", "join", "keys", "startswith", "values")
REGRESSION_FIELDS = ("intercept", "slope")
"""The attributes of what `statistics.linear_regression` returns."""
MUTATING_METHODS = ("add", "append", "extend", "insert", "sort")
"""Methods that change their object. They are allowed on a list or set that the same function made: changing an argument
would change what the caller sees."""
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
"""For syntax that people often write: the message that says what to write instead."""
MAX_NUMBER = 1e12
"""The largest number with a fraction that a file may write; an answer has the same limit (`MAX_ANSWER_VALUE`)."""
MAX_INT = 1_000_000
"""The largest whole number. It is smaller, since a whole number can be a length or a count."""
MAX_EXPONENT = 4
"""The largest power. Whole numbers have no limit in Python, and `9**9**9` would fill the memory."""
MAX_RANGE = 1_000
"""The largest number in a `range`. Together with `MAX_LOOP_DEPTH` it keeps functions short; the limits of the session
end what is still too long."""
MAX_LOOP_DEPTH = 3
"""How many loops may stand within each other, the loops of called functions included."""
MAX_NESTING = 40
"""How deep syntax may be nested. Checkers that call themselves for each level would run out of stack."""


def _builtin_attributes() -> frozenset[str]:
    """Every attribute of the objects that code can reach without an import; no field may have such a name.

    Declaring a field gives the right to read that attribute of anything. A field named `gi_frame`, for example,
    would let a policy read the frame of a generator.
    """

    def sample() -> object:
        yield

    async def awaited() -> None: ...

    coroutine = awaited()
    coroutine.close()
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type)]
    kinds += [kind for kind in vars(types).values() if isinstance(kind, type)]
    kinds += [type(one) for one in (coroutine, sample(), {}.keys(), {}.values(), {}.items(), iter([]), iter({}))]
    attributes = {name for kind in kinds for name in dir(kind)} | set(dir(builtins)) | set(dir(types))
    # ImportError has `name` and StopIteration has `value`. Policies cannot catch errors, so both names are safe.
    return frozenset(attributes - {"name", "value"})


RESERVED_ATTRIBUTES = _builtin_attributes()


def describe_allowed() -> dict[str, str]:
    """The lists as people read them, by topic."""
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
