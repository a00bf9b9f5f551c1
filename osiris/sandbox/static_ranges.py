"""How long the ranges of a policy may be: at most `LONGEST_RANGE`, or the length of something that is there."""

import ast
from collections.abc import Iterator
from copy import copy

from osiris.sandbox import allowed
from osiris.sandbox.static_syntax import PolicyModule, all_arguments, called_name

Problem = tuple[int, str]
MAX_LENGTH_FACTOR = 10
"""So many times a length is as good as a length."""
MAX_TRACE_STEPS = 500
"""Of looking where numbers come from: names that double each other would take for ever."""
LOOP_TARGET, UNKNOWN_VALUE = ast.List([], ast.Load()), ast.List([], ast.Load())
"""What a target of a loop, and of whatever else is not known, is bound to."""


def check_ranges(function: ast.FunctionDef, module: PolicyModule) -> Iterator[Problem]:
    """Ranges and repetitions of a function that may be long."""
    hint = f"write min(..., {allowed.MAX_RANGE})"
    numbers = _SmallInts(function, module)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and called_name(node) == "range":
            for part in (*node.args, *(keyword.value for keyword in node.keywords)):
                if not numbers.is_small(part):
                    yield node.lineno, f"a range to `{ast.unparse(part)}`, which may be large: {hint}"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for many, times in ((node.left, node.right), (node.right, node.left)):
                if _is_sequence(many) and not numbers.is_small(times):
                    yield node.lineno, f"`{ast.unparse(node)[:40]}`, which may be long: {hint}"


def _is_sequence(node: ast.expr) -> bool:
    sequence = ast.List | ast.Tuple | ast.JoinedStr | ast.ListComp
    return isinstance(node, sequence) or isinstance(getattr(node, "value", None), str)


class _SmallInts:
    """Which whole numbers of a function are surely small."""

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
        """The same look at the same function from within the question for `name`, or from within a sum."""
        inner = copy(self)
        inner.visited = self.visited | {(self.function.name, name)} if name else self.visited
        inner.in_sum = self.in_sum or grows
        return inner

    def is_small(self, node: ast.expr) -> bool:
        """Whether a number is surely a small one, or bounded by a length."""
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
            least = called == "min" and any(parts) and not node.keywords
            most = called == "max" and bool(parts) and all(parts) and not node.keywords
            return called == "len" or least or most
        return False

    def _is_small_product(self, node: ast.BinOp) -> bool:
        """Constants whose product is small, and a small multiple of a length."""
        known = [self._value(part) for part in (node.left, node.right)]
        if None not in known:
            return _is_short(known[0] * known[1])
        few = any(value is not None and abs(value) <= MAX_LENGTH_FACTOR for value in known)
        lengths = [part for part, value in zip((node.left, node.right), known, strict=True) if value is None]
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
        if (self.function.name, name) in self.visited:  # on a circle, which begins somewhere else, unless it adds up
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
        """Whether a target of loops counts small ranges or goes over small constants; with `must` there is a loop."""
        loops = [node for node in ast.walk(self.function) if isinstance(node, ast.For | ast.comprehension)]
        over = [node.iter for node in loops if isinstance(node.target, ast.Name) and node.target.id == name]
        return all(map(self._iterates_small, over)) and (bool(over) or not must)

    def _iterates_small(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call):
            return called_name(node) == "range"  # itself looked at
        if isinstance(node, ast.Name):
            node = ast.Constant(self.module.constants.get(node.id))
        if isinstance(node, ast.Tuple | ast.List):
            return all(self.is_small(part) for part in node.elts)
        return isinstance(node, ast.Constant) and isinstance(node.value, tuple) and all(map(_is_short, node.value))

    def is_small_argument(self, name: str) -> bool:
        """Whether every call in the file gives an argument that is small."""
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
            look = _SmallInts(caller, self.module, self.visited)
            calls = [node for node in ast.walk(caller) if isinstance(node, ast.Call)]
            for node in calls:
                if called_name(node) != self.function.name:
                    continue
                named = {keyword.arg: keyword.value for keyword in node.keywords}
                named |= dict(zip(positional, node.args, strict=False))
                if name in named and not look.is_small(named[name]):
                    return False
            handed = [node for node in ast.walk(caller) if isinstance(node, ast.Name) and node.id == self.function.name]
            if len(handed) > sum(called_name(node) == self.function.name for node in calls):
                return False  # as key= or by map: with what is not known
        return True


def _is_short(value: object) -> bool:
    return value is None or (isinstance(value, int) and abs(value) <= allowed.MAX_RANGE)


def bindings(function: ast.FunctionDef) -> dict[str, list[ast.expr]]:
    """What is assigned to each name; a target of a loop is bound to `LOOPED`, one of an unpacking to `UNKNOWN`.

    Of `fast, slow = 5, 20` each is known.
    """
    assigned: dict[str, list[ast.expr]] = {}
    single = set()
    for node in ast.walk(function):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in targets:
                for one, value in _assigned(target, node.value):
                    assigned.setdefault(one.id, []).append(value)
                    single.add(id(one))
        elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            single.add(id(node.target))
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name):
            assigned.setdefault(node.target.id, []).append(LOOP_TARGET)
            single.add(id(node.target))
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in single:
            assigned.setdefault(node.id, []).append(UNKNOWN_VALUE)
    return assigned


def _assigned(target: ast.expr, value: ast.expr) -> list[tuple[ast.Name, ast.expr]]:
    """Which names an assignment gives which values, as far as that is written there."""
    if isinstance(target, ast.Name):
        return [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        if any(isinstance(part, ast.Starred) for part in (*target.elts, *value.elts)):
            return []
        pairs = zip(target.elts, value.elts, strict=True)
        return [(one, part) for one, part in pairs if isinstance(one, ast.Name)]
    return []
