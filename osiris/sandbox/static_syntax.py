"""What the parts of the static check share: the names of a file, types, and small questions about syntax.

By itself it keeps out only types that are more than names of types: a checker evaluates a type written as text.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from osiris.sandbox import allowed

Problem = tuple[int, str]


@dataclass
class PolicyModule:
    """The names of a file by what they stand for. `constants` maps to values, and to `None` for a refused constant."""

    modules: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    constants: dict[str, object] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    steps: int = 0
    """How often `static_ranges` followed a name to its source in this file. It refuses after `MAX_TRACE_STEPS`."""

    def names(self) -> set[str]:
        """All names but the fields."""
        return {*self.modules, *self.imported, *self.types, *self.classes, *self.constants, *self.functions}


def check_annotation(node: ast.expr | None, module: PolicyModule) -> Iterator[Problem]:
    """Check a type: names of types, `X[...]`, `X | None`. A text is refused, since checkers evaluate it."""
    if node is None:
        return
    types = {*allowed.TYPES, *module.types, *module.classes}
    literals = [part for part in ast.walk(node) if _is_literal(part) and "Literal" in module.types]
    values = {id(inner) for part in literals if _is_literal_value(part.slice) for inner in ast.walk(part.slice)}
    for part in ast.walk(node):
        if id(part) in values:
            continue
        if isinstance(part, ast.Name):
            good = part.id in types
        elif isinstance(part, ast.Constant):
            good = part.value is None or part.value is Ellipsis
        else:
            good = isinstance(part, ast.Subscript | ast.BinOp | ast.BitOr | ast.Tuple | ast.List | ast.Load)
        if not good:
            yield node.lineno, f"the type {ast.unparse(node)}: write names of types, as in list[float] or float | None"
            return


def _is_literal(node: ast.AST) -> TypeGuard[ast.Subscript]:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"


def _is_literal_value(node: ast.expr) -> bool:
    """Whether `Literal[...]` holds numbers and texts only. Python evaluates whatever else stands there."""
    if isinstance(node, ast.Tuple):
        return all(map(_is_literal_value, node.elts))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, int | str | None)


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    """Every argument of a function or lambda: positional, by keyword, with a star."""
    return [part for part in ast.walk(arguments) if isinstance(part, ast.arg)]


def called_name(node: ast.Call) -> str:
    """The name that is called; empty for a method."""
    return node.func.id if isinstance(node.func, ast.Name) else ""


def method_name(node: ast.Call) -> str:
    """The method that is called; empty for a function."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is only a text: a docstring of a file, function or constant."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def max_magnitude(value: int | float) -> float:
    """The largest number of its kind that a policy may write."""
    return allowed.MAX_INT if isinstance(value, int) else allowed.MAX_NUMBER


def operator_text(node: ast.AugAssign) -> str:
    """The operator as it is written, as in `+=`."""
    return ast.unparse(node)[len(ast.unparse(node.target)) :].split()[0]


def transitive_closure(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Maps each name to all names that can be reached from it in one or more steps."""
    closure: dict[str, set[str]] = {}
    for name in edges:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            new = edges.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        closure[name] = seen
    return closure


def root_name(node: ast.expr) -> str:
    """The name that an attribute or index begins with: `a` for `a.b[0]`; `result` where it begins with no name."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else "result"


def _creates_container(node: ast.expr) -> bool:
    displays = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    if isinstance(node, ast.BinOp):  # as in [0.0] * n
        return isinstance(node.left, ast.List)
    return isinstance(node, displays) or (
        isinstance(node, ast.Call) and called_name(node) in ("list", "dict", "set", "sorted")
    )


def is_new_container(name: str, function: ast.FunctionDef) -> bool:
    """Whether a name always stands for a list, dict or set that the function made itself.

    Every place that stores the name has to be a plain assignment (counted by `assignments`). A loop, an unpacking or a
    comprehension may bind it to somebody else's list.
    """
    values: list[ast.expr] = []
    stored = 0
    assignments = 0
    for node in ast.walk(function):
        stored += isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) or len(targets) != 1:
            continue
        if isinstance(targets[0], ast.Name) and targets[0].id == name:
            assignments += 1
            values += [node.value] if node.value is not None and not isinstance(node, ast.AugAssign) else []
    return stored == assignments and bool(values) and all(map(_creates_container, values))
