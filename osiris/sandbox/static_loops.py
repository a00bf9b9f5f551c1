"""Whether a function of the policy ends, and soon: no recursion, no loop that lengthens its own list, small ranges.

Since `while` is refused, three things could run for ever: a function that calls itself, a loop over a list that grows
meanwhile, and nested loops over large ranges. This module keeps out the first two and too many nested loops;
`static_ranges` keeps out the large ranges. Where it cannot tell, it refuses.

What it does not keep out: code that is slow within these limits. The session ends that after its time.
"""

import ast
from collections.abc import Iterable, Iterator

from osiris.sandbox import allowed
from osiris.sandbox.static_ranges import bindings, check_ranges
from osiris.sandbox.static_syntax import (
    PolicyModule,
    Problem,
    called_name,
    is_new_container,
    method_name,
    operator_text,
    root_name,
    transitive_closure,
)

GROWING_METHODS = {"add", "append", "extend", "insert"}
COPYING_BUILTINS = {"list", "sorted", "tuple"}
SCALAR_TYPES = {"float", "int", "bool"}
NON_NUMERIC_FUNCTIONS = {"linear_regression", "median_high", "median_low", "pairwise", "prod", "quantiles"}
"""Functions of `math`, `statistics` and `itertools` that may return a list, or an element of one."""
NUMERIC_BUILTINS = {"abs", "bool", "float", "int", "isinstance", "len", "round", "str"}
"""Built-in functions that never return a list."""


def check_termination(module: PolicyModule) -> Iterator[Problem]:
    """Everything in the functions of a file that may not end, or may take too long."""
    recursive = _recursive_functions(module)
    for name in recursive:
        yield module.functions[name].lineno, f"recursion in {name}: write a loop"
    if recursive:  # the checks below follow calls, and would themselves not end
        return
    for function in module.functions.values():
        yield from _check_growth(function, module)
        yield from check_ranges(function, module)
    depths: dict[str, int] = {}
    for name, function in module.functions.items():
        if (depth := _loop_depth(name, module, depths)) > allowed.MAX_LOOP_DEPTH:
            yield function.lineno, f"{depth} loops within loops in {name}, at most {allowed.MAX_LOOP_DEPTH}"


def _recursive_functions(module: PolicyModule) -> list[str]:
    """Functions that reach themselves, directly or through other functions, by a call or passed as an argument."""
    calls = {
        name: {node.id for node in ast.walk(function) if isinstance(node, ast.Name)} & module.functions.keys()
        for name, function in module.functions.items()
    }
    return [name for name, reachable in transitive_closure(calls).items() if name in reachable]


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}


def _flows(function: ast.FunctionDef) -> dict[str, set[str]]:
    """Maps each name to the names that may later hold its value or a part of it, after any number of assignments."""
    flows: dict[str, set[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            sources, targets = _names([node.value]), _names(node.targets)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            sources, targets = _names([node.value] if node.value else []), {root_name(node.target)}
        elif isinstance(node, ast.For | ast.comprehension):
            sources, targets = _names([node.iter]), _names([node.target])
        elif isinstance(node, ast.Call) and method_name(node) in GROWING_METHODS:
            sources, targets = _names(node.args), {root_name(node.func)}
        else:
            continue
        for source in sources:
            flows.setdefault(source, set()).update(targets)
    return transitive_closure(flows)


def _check_growth(function: ast.FunctionDef, module: PolicyModule) -> Iterator[Problem]:
    """Find loops that lengthen the list they go over, and `+=` on a list that the function may not have made."""
    flows = _flows(function)
    fixed = _immutable_names(function, module)
    numeric = _immutable_names(function, module, texts=False)
    for node in ast.walk(function):
        if isinstance(node, ast.AugAssign) and not _is_harmless(node, numeric, module):
            name, sign = root_name(node.target), operator_text(node).removesuffix("=")
            if not isinstance(node.target, ast.Name):
                yield node.lineno, f"`{ast.unparse(node)}`: write `{ast.unparse(node.target)} = ...` in full"
            elif name not in fixed and not is_new_container(name, function):
                yield node.lineno, f"`{ast.unparse(node)}`, which may change a list: write `{name} = {name} {sign} ...`"
        if not isinstance(node, ast.For):
            continue
        looped = _names(_iterated_live(node.iter))
        for grown in sorted({*_growing_names(node, fixed, numeric, module)}):
            if looped & ({grown} | flows.get(grown, set())):
                yield node.lineno, f"a loop over what it makes longer, {grown}: write `for ... in list(...)`"


def _iterated_live(node: ast.AST) -> list[ast.AST]:
    """What a loop reads anew at each step: not a copy, as in `list(prices)`, nor a length, which are taken once."""
    if isinstance(node, ast.Call):
        if called_name(node) in COPYING_BUILTINS | {"len"}:
            return []
        return [live for part in ast.iter_child_nodes(node) for live in _iterated_live(part)]
    return [node]


def _is_harmless(node: ast.AugAssign, numeric: set[str], module: PolicyModule) -> bool:
    """Whether `+=` and its like change no list, whatever the target is: `*= 0.5`, for one, fails on a list."""
    if isinstance(node.op, ast.Mult):
        fraction = isinstance(node.value, ast.Constant) and isinstance(node.value.value, float)
        return fraction or (isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Div))
    changing = isinstance(node.op, ast.Add | ast.BitAnd | ast.BitOr | ast.Sub)
    return not changing or _is_numeric(node.value, numeric, module, False)


def _growing_names(loop: ast.For, fixed: set[str], numeric: set[str], module: PolicyModule) -> Iterator[str]:
    for statement in (*loop.body, *loop.orelse):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and method_name(node) in GROWING_METHODS:
                yield root_name(node.func)
            elif isinstance(node, ast.AugAssign) and not _is_harmless(node, numeric, module):
                yield from {root_name(node.target)} - fixed


def _immutable_names(function: ast.FunctionDef, module: PolicyModule, *, texts: bool = True) -> set[str]:
    """Names that never stand for a list: constants, and names to which only numbers are assigned.

    With `texts` also names that stand for texts and tuples.
    """
    arguments = function.args
    kinds = SCALAR_TYPES | {"str"} if texts else SCALAR_TYPES
    given: list[tuple[str, ast.expr | None]] = [
        (one.arg, one.annotation) for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    ]
    typed = [
        (node.target.id, node.annotation)
        for node in ast.walk(function)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    given += typed  # mypy, which is one of the proof's checks, holds each name to its type
    scalar = {name for name, kind in given if isinstance(kind, ast.Name) and kind.id in kinds}
    known = {name for name, value in module.constants.items() if texts or isinstance(value, int | float)}
    assigned = bindings(function)

    def are_numbers(name: str) -> bool:
        return all(_is_numeric(one, fixed, module, texts) for one in assigned[name])

    # Each round may show more names to be numbers, since a name is assigned from others. It ends as names run out.
    fixed = known | scalar
    while added := {name for name in assigned if name not in fixed and are_numbers(name)}:
        fixed |= added
    declared = {name for name, _ in typed} & scalar
    return {name for name in fixed if name not in assigned or name in declared or are_numbers(name)}


def _is_numeric(node: ast.expr, fixed: set[str], module: PolicyModule, texts: bool = True) -> bool:
    """Whether a value is certainly a number, so `+=` with it changes no list; with `texts` also a text or tuple."""
    if isinstance(node, ast.Constant):
        return texts or not isinstance(node.value, str)
    if isinstance(node, ast.JoinedStr):
        return texts
    if isinstance(node, ast.Compare | ast.UnaryOp):
        return True
    if isinstance(node, ast.Name):
        return node.id in fixed
    if isinstance(node, ast.IfExp):
        return all(_is_numeric(part, fixed, module, texts) for part in (node.body, node.orelse))
    if isinstance(node, ast.BinOp):
        parts = (node.left, node.right)
        if isinstance(node.op, ast.Div | ast.Pow):
            return True
        if isinstance(
            node.op, ast.Mult
        ):  # a list can be multiplied; `-` is an error on lists, so a difference is a number
            fraction = any(isinstance(getattr(part, "value", None), float) for part in parts)
            return fraction or all(_is_numeric(part, fixed, module, texts) or _is_difference(part) for part in parts)
        added = isinstance(node.op, ast.Add | ast.Sub)
        return added and any(_is_numeric(part, fixed, module, texts) for part in parts)
    return isinstance(node, ast.Call) and _returns_number(node, fixed, module, texts)


def _returns_number(node: ast.Call, fixed: set[str], module: PolicyModule, texts: bool) -> bool:
    called = called_name(node)
    if called in ("max", "min"):
        several = len(node.args) > 1 and all(_is_numeric(part, fixed, module, texts) for part in node.args)
        return several and not node.keywords
    if called == "sum":
        return len(node.args) == 1 and not node.keywords
    if called in module.functions:
        returns = module.functions[called].returns
        return isinstance(returns, ast.Name) and returns.id in SCALAR_TYPES
    if isinstance(node.func, ast.Attribute) and root_name(node.func) in ("math", "statistics"):
        name = node.func.attr
    else:
        name = called if called in module.imported else ""
    return (called in NUMERIC_BUILTINS and (texts or called != "str")) or (
        bool(name) and name not in NON_NUMERIC_FUNCTIONS
    )


def _is_difference(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)


def _loop_depth(name: str, module: PolicyModule, depths: dict[str, int]) -> int:
    """How deep loops are nested in a function, including the loops of functions that it calls."""
    if name not in depths:
        depths[name] = _deepest(module.functions[name].body, module, depths)
    return depths[name]


def _deepest(nodes: Iterable[ast.AST], module: PolicyModule, depths: dict[str, int]) -> int:
    return max((_depth(node, module, depths) for node in nodes), default=0)


def _depth(node: ast.AST, module: PolicyModule, depths: dict[str, int]) -> int:
    inner = _deepest(ast.iter_child_nodes(node), module, depths)
    if isinstance(node, ast.Name) and node.id in module.functions:
        return _loop_depth(node.id, module, depths)
    if isinstance(node, ast.For):
        return inner + 1
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return inner + len(node.generators)
    if isinstance(node, ast.Call) and (called_name(node) in ("map", "filter") or _has_key(node)):
        return inner + 1
    return inner


def _has_key(node: ast.Call) -> bool:
    return any(keyword.arg == "key" for keyword in node.keywords)
