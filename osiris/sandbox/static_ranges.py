"""How long the ranges of a policy may be: at most `MAX_RANGE`, or the length of an existing list.

For example, `range(20)`, `range(len(prices))` and `range(min(n, 100))` are allowed. `range(n)` is allowed only if every
call in the file passes a small `n`. Repetitions such as `[0.0] * n` have the same limit.

What it keeps out: a loop or a list whose length a number could make huge. Where it cannot tell, it refuses. What it
does not: loops over lists, whose lengths depend on what the caller passes.
"""

import ast
from collections.abc import Iterator
from copy import copy

from osiris.sandbox import allowed
from osiris.sandbox.static_syntax import PolicyModule, Problem, all_arguments, called_name

MAX_LENGTH_FACTOR = 10
"""`range(10 * len(prices))` is still allowed."""
MAX_TRACE_STEPS = 500
"""How often a name may be followed to its source, in a file. Where each name is assigned from two others, the steps
double with each name."""
LOOP_TARGET = ast.List([], ast.Load())
"""Stands for the value of a loop's target. It is compared by identity, so it has to differ from `UNKNOWN_VALUE`."""
UNKNOWN_VALUE = ast.List([], ast.Load())
"""Stands for any other value that is not known. A list, since a list is no small number."""


def check_ranges(function: ast.FunctionDef, module: PolicyModule) -> Iterator[Problem]:
    """Find ranges and repetitions of a function that may be long."""
    hint = f"write min(..., {allowed.MAX_RANGE})"
    numbers = _SmallInts(function, module)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and called_name(node) == "range":
            for part in (*node.args, *(keyword.value for keyword in node.keywords)):
                if not numbers.is_small(part):
                    yield node.lineno, f"a range to `{ast.unparse(part)}`, which may be large: {hint}"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for sequence, times in ((node.left, node.right), (node.right, node.left)):
                if _is_sequence(sequence) and not numbers.is_small(times):
                    yield node.lineno, f"`{ast.unparse(node)[:40]}`, which may be long: {hint}"


def _is_sequence(node: ast.expr) -> bool:
    displays = ast.List | ast.Tuple | ast.JoinedStr | ast.ListComp
    return isinstance(node, displays) or isinstance(getattr(node, "value", None), str)


class _SmallInts:
    """Which whole numbers of a function are certainly small.

    A name is followed to whatever is assigned to it, and an argument to every call in the file. `visited` holds the
    (function, name) pairs that are being followed, so that a circle ends. `in_sum` says whether the number is part of a
    sum: `n = n + 1` on a circle grows, `a = b; b = a` does not.
    """

    def __init__(
        self, function: ast.FunctionDef, module: PolicyModule, visited: frozenset[tuple[str, str]] = frozenset()
    ):
        self.function, self.module, self.visited, self.in_sum = function, module, visited, False
        self.assigned = bindings(function)
        self.arguments = {one.arg for one in all_arguments(function.args)}
        self.lambdas = {
            one.arg for node in ast.walk(function) if isinstance(node, ast.Lambda) for one in all_arguments(node.args)
        }
        self.augmented = {
            node.target.id
            for node in ast.walk(function)
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
        }

    def _copy_within(self, name: str = "", *, grows: bool = False) -> "_SmallInts":
        """A copy for following `name` further, or for the parts of a sum (`grows`)."""
        inner = copy(self)
        inner.visited = self.visited | {(self.function.name, name)} if name else self.visited
        inner.in_sum = self.in_sum or grows
        return inner

    def is_small(self, node: ast.expr) -> bool:
        """Whether a number is certainly small, or bounded by a length."""
        if isinstance(node, ast.Constant):
            return _is_short(node.value)
        if isinstance(node, ast.Name):
            return self._is_small_name(node.id)
        if isinstance(node, ast.UnaryOp):
            return self.is_small(node.operand)
        if isinstance(node, ast.IfExp):
            return self.is_small(node.body) and self.is_small(node.orelse)
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.FloorDiv | ast.Mod) and isinstance(node.right, ast.Constant | ast.Name):
                return self.is_small(node.left if isinstance(node.op, ast.FloorDiv) else node.right)
            if isinstance(node.op, ast.Mult):
                return self._is_small_product(node)
            inner = self._copy_within(grows=True)
            return isinstance(node.op, ast.Add | ast.Sub) and inner.is_small(node.left) and inner.is_small(node.right)
        if isinstance(node, ast.Call):
            parts = [self.is_small(part) for part in node.args]
            called = called_name(node)
            min_is_small = called == "min" and any(parts) and not node.keywords
            max_is_small = called == "max" and bool(parts) and all(parts) and not node.keywords
            return called == "len" or min_is_small or max_is_small
        return False

    def _is_small_product(self, node: ast.BinOp) -> bool:
        """Whether a product is one of constants and small, or a small multiple of a length."""
        left, right = self._value(node.left), self._value(node.right)
        if left is not None and right is not None:
            return _is_short(left * right)
        few = any(value is not None and abs(value) <= MAX_LENGTH_FACTOR for value in (left, right))
        lengths = [part for part, value in ((node.left, left), (node.right, right)) if value is None]
        return few and all(isinstance(part, ast.Call) and called_name(part) == "len" for part in lengths)

    def _value(self, node: ast.expr) -> int | None:
        value = self.module.constants.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
        return value if isinstance(value, int) else None

    def _is_small_name(self, name: str) -> bool:
        if name in self.module.constants:
            return _is_short(self.module.constants[name])
        self.module.steps += 1
        if self.module.steps > MAX_TRACE_STEPS or name in self.augmented:
            return False
        if (self.function.name, name) in self.visited:  # a circle: its value comes from another assignment
            return not self.in_sum
        inner = self._copy_within(name)
        if name in self.lambdas or (
            name in self.assigned and name in self.arguments and not inner.is_small_argument(name)
        ):
            return False
        if name in self.assigned:
            looped = any(value is LOOP_TARGET for value in self.assigned[name])
            values = [value for value in self.assigned[name] if value is not LOOP_TARGET]
            return all(map(inner.is_small, values)) and inner.has_small_loops(name, must=looped)
        return inner.is_small_argument(name)

    def has_small_loops(self, name: str, must: bool = False) -> bool:
        """Whether all loops that bind `name` go over small ranges or constants; with `must` there is such a loop."""
        loops = [node for node in ast.walk(self.function) if isinstance(node, ast.For | ast.comprehension)]
        sources = [node.iter for node in loops if isinstance(node.target, ast.Name) and node.target.id == name]
        return all(map(self._iterates_small, sources)) and (bool(sources) or not must)

    def _iterates_small(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call):
            return called_name(node) == "range"  # `check_ranges` checks the range itself
        if isinstance(node, ast.Tuple | ast.List):
            return all(self.is_small(part) for part in node.elts)
        constant = self.module.constants.get(node.id) if isinstance(node, ast.Name) else None
        return isinstance(constant, tuple) and all(map(_is_short, constant))

    def is_small_argument(self, name: str) -> bool:
        """Whether every call in the file passes a small number for an argument, as does its default."""
        arguments = self.function.args
        positional = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
        every = [*positional, *(one.arg for one in arguments.kwonlyargs)]
        if name not in every:
            return False
        defaults = dict(zip(positional[::-1], arguments.defaults[::-1], strict=False))
        defaults |= {
            one.arg: value for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value
        }
        if name in defaults and not self.is_small(defaults[name]):
            return False
        for caller in self.module.functions.values():
            caller_numbers = _SmallInts(caller, self.module, self.visited)
            calls = [node for node in ast.walk(caller) if isinstance(node, ast.Call)]
            for node in calls:
                if called_name(node) != self.function.name:
                    continue
                named = {keyword.arg: keyword.value for keyword in node.keywords}
                named |= dict(zip(positional, node.args, strict=False))
                if name in named and not caller_numbers.is_small(named[name]):
                    return False
            uses = [node for node in ast.walk(caller) if isinstance(node, ast.Name) and node.id == self.function.name]
            if len(uses) > sum(called_name(node) == self.function.name for node in calls):
                return False  # it is also passed as key= or to map, which call it with unknown values
        return True


def _is_short(value: object) -> bool:
    return value is None or (isinstance(value, int) and abs(value) <= allowed.MAX_RANGE)


def bindings(function: ast.FunctionDef) -> dict[str, list[ast.expr]]:
    """The values that are assigned to each name: `LOOP_TARGET` for a loop, `UNKNOWN_VALUE` for an unpacking.

    In `fast, slow = 5, 20` both values are known.
    """
    assigned: dict[str, list[ast.expr]] = {}
    known_targets: set[int] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for one, value in _assigned(target, node.value):
                    assigned.setdefault(one.id, []).append(value)
                    known_targets.add(id(one))
        elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            known_targets.add(id(node.target))
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
            assigned.setdefault(node.target.id, []).append(LOOP_TARGET)
            known_targets.add(id(node.target))
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in known_targets:
            assigned.setdefault(node.id, []).append(UNKNOWN_VALUE)
    return assigned


def _assigned(target: ast.expr, value: ast.expr) -> list[tuple[ast.Name, ast.expr]]:
    """The names that an assignment binds, each with its value, as far as the syntax shows them."""
    if isinstance(target, ast.Name):
        return [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        if any(isinstance(part, ast.Starred) for part in (*target.elts, *value.elts)):
            return []
        pairs = zip(target.elts, value.elts, strict=True)
        return [(one, part) for one, part in pairs if isinstance(one, ast.Name)]
    return []
