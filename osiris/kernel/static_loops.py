"""Whether a function of the policy ends, and soon: no recursion, no list that its own loop makes longer, small ranges.

There is no `while`, so that only three things could run for ever: a function that comes back to itself, a loop over a
list that grows meanwhile, and loops within loops over large ranges. What follows errs on the side of refusing.
"""

import ast
from collections.abc import Iterable, Iterator

from osiris.kernel import allowed
from osiris.kernel.static_ranges import bindings, long_ranges
from osiris.kernel.static_syntax import Module, called_name, method_name, only_makes_new, root_name

Problem = tuple[int, str]
GROWING = {"add", "append", "extend", "insert"}
COPIES = {"list", "sorted", "tuple"}
NUMBERS = {"abs", "bool", "float", "int", "isinstance", "len", "round", "str"}


def endless(module: Module) -> Iterator[Problem]:
    """Everything in the functions of a file that may not end, or not soon."""
    circle = _on_a_circle(module)
    for name in circle:
        yield module.functions[name].lineno, f"recursion in {name}: write a loop"
    if circle:
        return
    for function in module.functions.values():
        yield from _grown(function, module)
        yield from long_ranges(function, module)
    depths: dict[str, int] = {}
    for name, function in module.functions.items():
        if (depth := _loops(name, module, depths)) > allowed.DEEPEST_LOOPS:
            yield function.lineno, f"{depth} loops within loops in {name}, at most {allowed.DEEPEST_LOOPS}"


def _on_a_circle(module: Module) -> list[str]:
    """Functions that come back to themselves, directly or through others, called or handed over."""
    calls = {
        name: {node.id for node in ast.walk(function) if isinstance(node, ast.Name)} & module.functions.keys()
        for name, function in module.functions.items()
    }
    for _ in calls:
        calls = {name: reached.union(*(calls[other] for other in reached)) for name, reached in calls.items()}
    return [name for name, reached in calls.items() if name in reached]


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}


def _flows(function: ast.FunctionDef) -> dict[str, set[str]]:
    """From each name to those that may hold what it holds, or a part of it, by any number of steps."""
    flows: dict[str, set[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            sources, targets = _names([node.value]), _names(node.targets)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            sources, targets = _names([node.value] if node.value else []), {root_name(node.target)}
        elif isinstance(node, ast.For | ast.comprehension):
            sources, targets = _names([node.iter]), _names([node.target])
        elif isinstance(node, ast.Call) and method_name(node) in GROWING:
            sources, targets = _names(node.args), {root_name(node.func)}
        else:
            continue
        for source in sources:
            flows.setdefault(source, set()).update(targets)
    for _ in flows:
        flows = {name: reached.union(*(flows.get(one, set()) for one in reached)) for name, reached in flows.items()}
    return flows


def _grown(function: ast.FunctionDef, module: Module) -> Iterator[Problem]:
    """Lists that a loop over them makes longer, and `+=` on what may be somebody else's list."""
    flows, fixed = _flows(function), _immutable(function, module)
    for node in ast.walk(function):
        if isinstance(node, ast.AugAssign) and not _of_numbers(node.value, fixed):
            name = root_name(node.target)
            if not isinstance(node.target, ast.Name):
                yield node.lineno, f"`{ast.unparse(node)}`: write `{ast.unparse(node.target)} = ...` in full"
            elif name not in fixed and not only_makes_new(name, function):
                yield node.lineno, f"`{ast.unparse(node)}`: begin with `{name} = 0.0`, or write `{name} = {name} + ...`"
        if not isinstance(node, ast.For):
            continue
        looped = _names(_watched(node.iter))
        for grown in sorted({*_growing(node, fixed)}):
            if looped & ({grown} | flows.get(grown, set())):
                yield node.lineno, f"a loop over what it makes longer, {grown}: write `for ... in list(...)`"


def _watched(node: ast.expr) -> list[ast.expr]:
    """What a loop goes over as it is at each step; a copy and a length are taken once."""
    if isinstance(node, ast.Call):
        if called_name(node) in COPIES | {"len"}:
            return []
        return [watched for part in ast.iter_child_nodes(node) for watched in _watched(part)]
    return [node]


def _growing(loop: ast.For, fixed: set[str]) -> Iterator[str]:
    for statement in (*loop.body, *loop.orelse):
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and method_name(node) in GROWING:
                yield root_name(node.func)
            elif isinstance(node, ast.AugAssign) and not _of_numbers(node.value, fixed):
                yield from {root_name(node.target)} - fixed


def _immutable(function: ast.FunctionDef, module: Module) -> set[str]:
    """Names that never stand for a list: constants, and those to which only numbers, texts and tuples are assigned."""
    arguments = function.args
    scalar = {
        one.arg
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        if isinstance(one.annotation, ast.Name) and one.annotation.id in ("float", "int", "bool", "str")
    }
    fixed, bound = {*module.constants} | scalar, bindings(function)
    while found := {
        name for name, values in bound.items() if name not in fixed and all(_of_numbers(one, fixed) for one in values)
    }:
        fixed |= found
    return {name for name in fixed if name not in bound or all(_of_numbers(one, fixed) for one in bound[name])}


def _of_numbers(node: ast.expr, fixed: set[str]) -> bool:
    """Whether a value is surely a number, a text or a tuple, so that `+=` with it changes no list."""
    if isinstance(node, ast.Constant | ast.JoinedStr | ast.Compare):
        return True
    if isinstance(node, ast.Name):
        return node.id in fixed
    if isinstance(node, ast.UnaryOp):
        return True
    if isinstance(node, ast.IfExp):
        return _of_numbers(node.body, fixed) and _of_numbers(node.orelse, fixed)
    if isinstance(node, ast.BinOp):
        parts = (node.left, node.right)
        if isinstance(node.op, ast.Div | ast.Pow):
            return True
        if isinstance(node.op, ast.Mult):  # a list may be multiplied, a difference of lists there is not
            fraction = any(isinstance(getattr(part, "value", None), float) for part in parts)
            return fraction or all(_of_numbers(part, fixed) or _difference(part) for part in parts)
        return isinstance(node.op, ast.Add | ast.Sub) and any(_of_numbers(part, fixed) for part in parts)
    if isinstance(node, ast.Call):
        of_math = isinstance(node.func, ast.Attribute) and root_name(node.func) == "math"
        one_sum = called_name(node) == "sum" and len(node.args) == 1 and not node.keywords
        return called_name(node) in NUMBERS or of_math or one_sum
    return False


def _difference(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)


def _loops(name: str, module: Module, depths: dict[str, int]) -> int:
    """How deep loops stand within loops in a function, those of the functions it calls included."""
    if name not in depths:
        depths[name] = _deepest(module.functions[name].body, module, depths)
    return depths[name]


def _deepest(nodes: Iterable[ast.AST], module: Module, depths: dict[str, int]) -> int:
    return max((_depth(node, module, depths) for node in nodes), default=0)


def _depth(node: ast.AST, module: Module, depths: dict[str, int]) -> int:
    inner = _deepest(ast.iter_child_nodes(node), module, depths)
    if isinstance(node, ast.Name) and node.id in module.functions:
        return _loops(node.id, module, depths)
    if isinstance(node, ast.For):
        return inner + 1
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return inner + len(node.generators)
    if isinstance(node, ast.Call) and (called_name(node) in ("map", "filter") or _has_key(node)):
        return inner + 1
    return inner


def _has_key(node: ast.Call) -> bool:
    return any(keyword.arg == "key" for keyword in node.keywords)
