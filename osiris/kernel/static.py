"""What a patched file may be made of, seen from its syntax tree alone: nothing is run.

Allowed are a docstring, imports off a short list, constants, plain functions and `NamedTuple` classes; in functions,
arithmetic on what they are given, with loops over what is there already. Everything that reaches further is refused by
name: other imports, attributes and calls off the lists, names that begin with an underscore, `while`, recursion, `try`,
decorators, global state, and comments that would switch a check off.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

IMPORTS = {
    "math": None,
    "statistics": {"fmean", "mean", "median", "pstdev", "stdev"},
    "collections.abc": {"Mapping", "Sequence"},
    "typing": {"NamedTuple"},
}
BUILTINS = {
    "abs", "all", "any", "bool", "dict", "enumerate", "float", "int", "len", "list", "max", "min", "range", "reversed",
    "round", "set", "sorted", "str", "sum", "tuple", "zip", "ValueError",
}  # fmt: skip
SEEN_BY_CHECKERS = {"MYPY", "TYPE_CHECKING"}
METHODS = {"append", "count", "extend", "get", "index", "items", "keys", "values"}
FORBIDDEN = (
    ast.While, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await, ast.With, ast.Try, ast.TryStar, ast.Global,
    ast.Nonlocal, ast.Delete, ast.Lambda, ast.Yield, ast.YieldFrom, ast.Match, ast.NamedExpr, ast.Starred, ast.Import,
    ast.ImportFrom, ast.ClassDef, ast.FormattedValue, ast.JoinedStr, ast.Assert,
)  # fmt: skip
SWITCHES = re.compile(r"noqa|type:|mypy|ruff|pyright|pylint|fmt:|isort|crosshair|coding[:=]", re.I)
MOST_NESTED, MOST_NUMBER = 40, 1_000_000


def problems(text: str) -> list[str]:
    """What is wrong with a file of the policy, `line: what`, in order; empty for a file that may be."""
    if any(ord(character) > 126 or (character < " " and character != "\n") for character in text):
        return ["0: characters other than printable ASCII and line ends"]
    try:
        tree = ast.parse(text)
        comments = [
            token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
        ]
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        return [f"{getattr(error, 'lineno', 0) or 0}: it does not parse: {error}"]
    if _depth(tree) > MOST_NESTED:
        return ["0: nesting that is too deep"]
    found = [
        (one.start[0], f"a comment that would switch a check off: {one.string}")
        for one in comments
        if SWITCHES.search(one.string)
    ]
    found += _of_module(tree)
    return [f"{line}: {what}" for line, what in sorted(set(found))]


def _of_module(tree: ast.Module) -> Iterator[tuple[int, str]]:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    imported = {
        alias.asname or alias.name.split(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    constants = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    known = set(functions) | classes | imported | constants
    fields = frozenset(
        inner.target.id
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for inner in node.body
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name)
    )
    for number, node in enumerate(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _of_import(node)
        elif isinstance(node, ast.ClassDef):
            yield from _of_class(node, known)
        elif isinstance(node, ast.FunctionDef):
            yield from _of_function(node, known, fields)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from _of_constant(node, known)
        elif not (number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield node.lineno, f"a statement of the module that does something ({type(node).__name__})"
    for name in _on_a_circle(functions):
        yield functions[name].lineno, f"recursion in {name}"


def _of_import(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name not in IMPORTS or IMPORTS[alias.name] is not None or alias.asname:
                yield node.lineno, f"import {alias.name}"
    else:
        allowed = IMPORTS.get(node.module or "", set()) or set()
        for alias in node.names:
            if node.level or alias.name not in allowed or alias.asname:
                yield node.lineno, f"from {'.' * node.level}{node.module or ''} import {alias.name}"


def _of_class(node: ast.ClassDef, known: set[str]) -> Iterator[tuple[int, str]]:
    bases = [ast.dump(base) for base in node.bases]
    if bases != [ast.dump(ast.Name("NamedTuple", ast.Load()))] or node.keywords or node.decorator_list:
        yield node.lineno, f"class {node.name}, which is no plain NamedTuple"
    if node.name in BUILTINS or node.name.startswith("_"):
        yield node.lineno, f"the name {node.name}"
    for inner in node.body:
        documents = isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant)
        if not documents and not (isinstance(inner, ast.AnnAssign) and inner.value is None):
            yield inner.lineno, f"something in class {node.name} that is no field"
        elif isinstance(inner, ast.AnnAssign):
            yield from _of_uses(inner.annotation, known, set())


def _of_constant(node: ast.Assign | ast.AnnAssign, known: set[str]) -> Iterator[tuple[int, str]]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    named = [one.id for one in targets if isinstance(one, ast.Name) and re.fullmatch(r"[A-Z][A-Z0-9_]*", one.id)]
    if len(named) < len(targets) or SEEN_BY_CHECKERS & {*named}:
        yield node.lineno, "an assignment in the module that is no CONSTANT"
    literal = (ast.Constant, ast.Tuple, ast.UnaryOp, ast.USub, ast.Load)
    if node.value is None or not all(isinstance(part, literal) for part in ast.walk(node.value)):
        yield node.lineno, "a constant that is no number, text or tuple of them"
    if isinstance(node, ast.AnnAssign):
        yield from _of_uses(node.annotation, known, set())
    yield from _of_numbers(node)


def _of_function(function: ast.FunctionDef, known: set[str], fields: frozenset[str]) -> Iterator[tuple[int, str]]:
    if function.decorator_list or function.name in BUILTINS or function.name.startswith("_"):
        yield function.lineno, f"def {function.name}: a decorator, or a name that is taken"
    own = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    own |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for name in sorted(own & (known | BUILTINS)):
        yield function.lineno, f"{name} bound anew in {function.name}"
    for part in ast.iter_child_nodes(function):
        yield from _of_uses(part, known, own, fields)
    yield from _of_numbers(function)


def _of_uses(
    root: ast.AST, known: set[str], own: set[str], fields: frozenset[str] = frozenset()
) -> Iterator[tuple[int, str]]:
    """What an expression or statement uses that it may not; `known` are names of the module, `own` of the function."""
    for node in ast.walk(root):
        line = getattr(node, "lineno", 0)
        if isinstance(node, (*FORBIDDEN, ast.FunctionDef)):
            yield line, type(node).__name__
        elif isinstance(node, ast.Name | ast.arg):
            name = node.id if isinstance(node, ast.Name) else node.arg
            if name.startswith("_") or name in SEEN_BY_CHECKERS or name not in own | known | BUILTINS:
                yield line, f"the name {name}"
        elif isinstance(node, ast.Attribute):
            of_math = isinstance(node.value, ast.Name) and node.value.id == "math" and "math" in known - own
            if node.attr.startswith("_") or not (of_math or node.attr in METHODS | fields):
                yield line, f"the attribute {node.attr}"
            if not isinstance(node.ctx, ast.Load):
                yield line, f"an assignment to .{node.attr}"
        elif isinstance(node, ast.Call):
            yield from _of_call(node, known, own)


def _of_call(node: ast.Call, known: set[str], own: set[str]) -> Iterator[tuple[int, str]]:
    called = node.func
    if isinstance(called, ast.Name):
        if called.id in own or called.id not in known | BUILTINS:
            yield node.lineno, f"a call of {called.id}"
    elif isinstance(called, ast.Attribute):
        of_math = isinstance(called.value, ast.Name) and called.value.id == "math" and "math" in known
        if not of_math and called.attr not in METHODS:
            yield node.lineno, f"a call of .{called.attr}()"
    else:
        yield node.lineno, "a call of what is no name"
    for keyword in node.keywords:
        if keyword.arg is None or (keyword.arg == "key" and not isinstance(keyword.value, ast.Name)):
            yield node.lineno, "a call with ** or with a key that is no name"


def _of_numbers(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Numbers that make work out of nothing."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant):
            value = inner.value
            if isinstance(value, bytes | complex) or (isinstance(value, int | float) and not abs(value) <= MOST_NUMBER):
                yield inner.lineno, "a constant that is too large, or of a kind that no policy needs"
        elif isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.LShift | ast.MatMult):
            yield inner.lineno, type(inner.op).__name__
        elif isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Pow) and not _small(inner.right):
            yield inner.lineno, "a power that is no small constant"


def _small(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and abs(node.value) <= 4


def _depth(node: ast.AST) -> int:
    deepest, waiting = 0, [(node, 0)]
    while waiting:
        one, depth = waiting.pop()
        deepest = max(deepest, depth)
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(one)]
    return deepest


def _on_a_circle(functions: dict[str, ast.FunctionDef]) -> list[str]:
    """Functions that come back to themselves, directly or through others."""
    calls = {
        name: {node.id for node in ast.walk(function) if isinstance(node, ast.Name)} & functions.keys()
        for name, function in functions.items()
    }
    for _ in calls:
        calls = {name: reached.union(*(calls[other] for other in reached)) for name, reached in calls.items()}
    return [name for name, reached in calls.items() if name in reached]
