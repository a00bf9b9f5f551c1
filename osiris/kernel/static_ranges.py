"""How long the ranges of a policy may be: at most `LONGEST_RANGE`, or the length of something that is there."""

import ast
from collections.abc import Iterator

from osiris.kernel import allowed
from osiris.kernel.static_syntax import Module, called_name

Problem = tuple[int, str]
ENTRIES = ("features", "passes", "size")
"""Are called from outside, with prices and numbers."""


def long_ranges(function: ast.FunctionDef, module: Module) -> Iterator[Problem]:
    """Ranges and repetitions of a function that may be long."""
    most = f"write min(..., {allowed.LONGEST_RANGE})"
    look = _Sizes(function, module)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and called_name(node) == "range":
            for part in (*node.args, *(keyword.value for keyword in node.keywords)):
                if not look.small(part):
                    yield node.lineno, f"a range to `{ast.unparse(part)}`, which may be large: {most}"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for many, times in ((node.left, node.right), (node.right, node.left)):
                if _many(many) and not look.small(times):
                    yield node.lineno, f"`{ast.unparse(node)[:40]}`, which may be long: {most}"


def _many(node: ast.expr) -> bool:
    sequence = ast.List | ast.Tuple | ast.JoinedStr | ast.ListComp
    return isinstance(node, sequence) or isinstance(getattr(node, "value", None), str)


class _Sizes:
    """Which whole numbers of a function are surely small."""

    def __init__(self, function: ast.FunctionDef, module: Module, asked: frozenset[tuple[str, str]] = frozenset()):
        self.function, self.module, self.asked, self.bound = function, module, asked, bindings(function)

    def small(self, node: ast.expr) -> bool:
        """Whether a number is surely a small one, or bounded by a length."""
        if isinstance(node, ast.Constant):
            return _short(node.value)
        if isinstance(node, ast.Name):
            return self._named(node.id)
        if isinstance(node, ast.UnaryOp):
            return self.small(node.operand)
        if isinstance(node, ast.IfExp):
            return self.small(node.body) and self.small(node.orelse)
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.FloorDiv | ast.Mod) and isinstance(node.right, ast.Constant | ast.Name):
                return self.small(node.left)
            both = isinstance(node.op, ast.Add | ast.Sub)
            return both and self.small(node.left) and self.small(node.right)
        if isinstance(node, ast.Call):
            parts = [self.small(part) for part in node.args]
            called = called_name(node)
            return (
                called == "len" or (called == "min" and any(parts)) or (called == "max" and bool(parts) and all(parts))
            )
        return False

    def _named(self, name: str) -> bool:
        if name in self.module.constants:
            return _short(self.module.constants[name])
        if (self.function.name, name) in self.asked:  # on a circle, which begins somewhere else
            return True
        inner = _Sizes(self.function, self.module, self.asked | {(self.function.name, name)})
        if name in self.bound:
            return all(inner.small(value) for value in self.bound[name]) and inner.small_loops(name)
        return inner.given(name) or inner.small_loops(name, must=True)

    def small_loops(self, name: str, must: bool = False) -> bool:
        """Whether a target of loops counts small ranges or goes over small constants; with `must` there is a loop."""
        loops = [node for node in ast.walk(self.function) if isinstance(node, ast.For | ast.comprehension)]
        over = [node.iter for node in loops if isinstance(node.target, ast.Name) and node.target.id == name]
        return all(map(self._counts, over)) and (bool(over) or not must)

    def _counts(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call):
            return called_name(node) == "range"  # itself looked at
        if isinstance(node, ast.Name):
            node = ast.Constant(self.module.constants.get(node.id))
        if isinstance(node, ast.Tuple | ast.List):
            return all(self.small(part) for part in node.elts)
        return isinstance(node, ast.Constant) and isinstance(node.value, tuple) and all(map(_short, node.value))

    def given(self, name: str) -> bool:
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
        if name in defaults and not self.small(defaults[name]):
            return False
        for caller in self.module.functions.values():
            look = _Sizes(caller, self.module, self.asked)
            calls = [node for node in ast.walk(caller) if isinstance(node, ast.Call)]
            for node in calls:
                if called_name(node) != self.function.name:
                    continue
                named = {keyword.arg: keyword.value for keyword in node.keywords}
                named |= dict(zip(positional, node.args, strict=False))
                if name in named and not look.small(named[name]):
                    return False
            handed = [node for node in ast.walk(caller) if isinstance(node, ast.Name) and node.id == self.function.name]
            if len(handed) > sum(called_name(node) == self.function.name for node in calls):
                return False  # as key= or by map: with what is not known
        return True


def _short(value: object) -> bool:
    return value is None or (isinstance(value, int) and abs(value) <= allowed.LONGEST_RANGE)


def bindings(function: ast.FunctionDef) -> dict[str, list[ast.expr]]:
    """What is assigned to each name; a target of a loop or an unpacking is bound to what is not known."""
    bound: dict[str, list[ast.expr]] = {}
    single = set()
    for node in ast.walk(function):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in targets:
                if isinstance(target, ast.Name):
                    bound.setdefault(target.id, []).append(node.value)
                    single.add(id(target))
        elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            single.add(id(node.target))
    unknown = ast.List([], ast.Load())
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in single:
            bound.setdefault(node.id, []).append(unknown)
    return bound
