"""What a function of the policy may use: syntax, names, attributes and calls, each from the lists in `allowed`.

What it keeps out: everything that is not listed, values that survive a call (defaults, arguments that are changed, kept
functions and iterators), and output of unbounded size (powers, format widths).

What it does not keep out: code that does not end (see `static_loops`), and wrong results.
"""

import ast
from collections.abc import Callable, Iterator
from typing import Any

from osiris.sandbox import allowed
from osiris.sandbox.static_scope import Scope
from osiris.sandbox.static_syntax import (
    PolicyModule,
    Problem,
    called_name,
    check_annotation,
    max_magnitude,
    method_name,
    operator_text,
    root_name,
)


def check_function(function: ast.FunctionDef, module: PolicyModule) -> Iterator[Problem]:
    """Find everything in a function that is not allowed."""
    arguments = function.args
    if function.decorator_list:
        yield function.lineno, "a decorator: write a plain function"
    if arguments.vararg or arguments.kwarg:
        yield function.lineno, "*args or **kwargs: name the arguments"
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    for one in given:
        yield from check_annotation(one.annotation, module)
    yield from check_annotation(function.returns, module)
    for default in (*arguments.defaults, *(one for one in arguments.kw_defaults if one)):
        if not _is_constant(default, module):
            yield default.lineno, f"the default `{ast.unparse(default)}`, which outlives a call: write a constant"
    parameters = {one.arg for one in given}
    yield from _UseChecker(function, module, parameters).check()


def _is_constant(node: ast.expr, module: PolicyModule) -> bool:
    if isinstance(node, ast.Tuple):
        return all(_is_constant(part, module) for part in node.elts)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_number(node.operand, module)
    if isinstance(node, ast.BinOp):
        by_zero = isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant) and not node.right.value
        both = _is_number(node.left, module) and _is_number(node.right, module) and not by_zero
        return both and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return abs(node.value) <= max_magnitude(node.value)
    if isinstance(node, ast.Constant):
        return node.value is None or isinstance(node.value, str)
    return isinstance(node, ast.Name) and node.id in module.constants


def _is_number(node: ast.expr, module: PolicyModule) -> bool:
    if isinstance(node, ast.Name):
        return isinstance(module.constants.get(node.id), int | float)
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and _is_constant(node, module)


class _UseChecker(Scope):
    """Checks each node of one function with the method for its kind; the methods yield messages without a line."""

    def check(self) -> Iterator[Problem]:
        reserved = self.module.names() | {*allowed.BUILTINS, *allowed.TYPES, "ValueError"}
        for name in sorted(self.local_names):
            if name in reserved:
                yield self.function.lineno, f"{name} as a name of its own: it stands for something else in this file"
            elif name.startswith("__") or not name.isascii():
                yield self.function.lineno, f"the name {name}"
        handlers: dict[type[ast.AST], Callable[[Any], Iterator[str]]] = {
            ast.Name: self._name, ast.Attribute: self._attribute, ast.Call: self._call, ast.Constant: self._constant,
            ast.BinOp: self._operation, ast.AugAssign: self._operation, ast.Lambda: self._lambda,
            ast.Raise: self._raise, ast.Subscript: self._subscript, ast.FormattedValue: self._formatted,
            ast.GeneratorExp: self._check_iterator, ast.Starred: self._starred, ast.AnnAssign: self._annotated,
            ast.Expr: self._expression, ast.Dict: self._dict, ast.comprehension: self._comprehension,
        }  # fmt: skip
        for node in self.nodes:
            if id(node) in self.annotation_ids:
                continue
            if not isinstance(node, (*allowed.STATEMENTS, *allowed.EXPRESSIONS, *allowed.AUXILIARY_NODES)):
                message = allowed.SUGGESTIONS.get(type(node), f"{type(node).__name__}, which policies do without")
                yield getattr(node, "lineno", self.function.lineno), message
            elif handler := handlers.get(type(node)):
                yield from ((getattr(node, "lineno", self.function.lineno), message) for message in handler(node))

    def _name(self, node: ast.Name) -> Iterator[str]:
        name, parent = node.id, self.parent(node)
        if isinstance(node.ctx, ast.Store) or name in self.local_names or name in self.module.constants:
            return
        called = isinstance(parent, ast.Call) and parent.func is node
        if name in self.module.modules:
            if not (isinstance(parent, ast.Attribute) and parent.attr in allowed.MEMBERS[name]):
                yield f"{name} by itself: write one of its functions, see `osiris kernel allowed`"
        elif name in self.module.names() | {*allowed.BUILTINS, "ValueError"}:
            plain = name in self.module.imported and name in ("pi", "e", "tau", "inf", "nan")
            if not called and not plain and not self.may_be_passed(node):
                yield f"{name} as a value: call it, or hand it over as key= of sorted, min or max"
        else:
            yield f"the name {name}: it is neither an argument, nor of this file, nor in `osiris kernel allowed`"

    def _attribute(self, node: ast.Attribute) -> Iterator[str]:
        parent = self.parent(node)
        called = isinstance(parent, ast.Call) and parent.func is node
        if not isinstance(node.ctx, ast.Load):
            yield f"an assignment to .{node.attr}: make a new value"
        elif self.is_module_member(node):
            constant = node.attr in ("pi", "e", "tau", "inf", "nan")
            if called if constant else not (called or self.may_be_passed(node)):
                yield f"{ast.unparse(node)}: " + ("write it without ()" if constant else "call it, it is a function")
        elif isinstance(node.value, ast.Name) and node.value.id in self.module.modules:
            yield f"{node.value.id}.{node.attr}: see `osiris kernel allowed`"
        elif called:
            if node.attr not in (*allowed.READ_METHODS, *allowed.MUTATING_METHODS):
                yield f"the method .{node.attr}(): see `osiris kernel allowed`"
        elif node.attr not in self.module.fields | {*allowed.REGRESSION_FIELDS}:
            yield f"the attribute .{node.attr}: there are only fields of NamedTuples of this file"

    def _call(self, node: ast.Call) -> Iterator[str]:
        called = node.func
        if isinstance(called, ast.Name) and called.id in self.local_names:
            yield f"a call of {called.id}, which is a value: call functions by their own names"
        elif not isinstance(called, ast.Name | ast.Attribute):
            yield f"a call of `{ast.unparse(called)}`: call functions by their own names"
        elif isinstance(called, ast.Name) and called.id in self.module.types | self.module.constants.keys():
            yield f"a call of {called.id}"
        yield from self._call_arguments(node)
        yield from self._call_of_builtin(node)
        if called_name(node) in allowed.LAZY_ITERATORS:
            yield from self._check_iterator(node)
        if isinstance(called, ast.Attribute) and called.attr in allowed.MUTATING_METHODS:
            yield from self._mutating(node, called)

    def _call_arguments(self, node: ast.Call) -> Iterator[str]:
        if any(keyword.arg is None for keyword in node.keywords):
            yield "** in a call: name the arguments"
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            yield "* in a call: name the arguments"
        for keyword in node.keywords:
            if keyword.arg == "key" and not self.may_be_passed(keyword.value):
                yield f"key={ast.unparse(keyword.value)}: a lambda, a function of this file, or one of those allowed"

    def _call_of_builtin(self, node: ast.Call) -> Iterator[str]:
        name = called_name(node)
        if name in ("map", "filter") and not (node.args and self._may_be_first(node.args[0], name)):
            yield f"{name} with what is no function of this file and none of those allowed"
        if name == "isinstance" and not (len(node.args) == 2 and self._has_types(node)):
            yield "isinstance with what is no type, as in isinstance(x, float)"
        if name == "pow" and not (len(node.args) == 2 and not node.keywords and self.is_small_exponent(node.args[1])):
            yield "pow of what is no small constant: write math.pow(x, y)"
        if name == "ValueError" and not isinstance(self.parent(node), ast.Raise):
            yield "ValueError as a value: write `raise ValueError('...')`"

    def _may_be_first(self, node: ast.expr, name: str) -> bool:
        return self.may_be_passed(node) or (name == "filter" and isinstance(node, ast.Constant) and node.value is None)

    def _has_types(self, node: ast.Call) -> bool:
        second = node.args[1]
        kinds = second.elts if isinstance(second, ast.Tuple) else [second]
        return bool(kinds) and all(self.may_be_passed(kind) for kind in kinds)

    def _mutating(self, node: ast.Call, method: ast.Attribute) -> Iterator[str]:
        base, name = method.value, method.attr
        if not isinstance(self.parent(node), ast.Expr):
            yield f".{name}() within an expression: write it on a line of its own"
        if not isinstance(base, ast.Name) or not self.is_own_container(base.id):
            yield f".{name}() on what this function did not make itself: begin with list(...)"

    def _constant(self, node: ast.Constant) -> Iterator[str]:
        value = node.value
        if isinstance(value, bytes | complex) or value is Ellipsis:
            yield f"{ast.unparse(node)}: write numbers and texts"
        elif isinstance(value, int | float) and not abs(value) <= max_magnitude(value):
            yield f"the number {ast.unparse(node)}, at most {max_magnitude(value):g}"

    def _operation(self, node: ast.BinOp | ast.AugAssign) -> Iterator[str]:
        right = node.right if isinstance(node, ast.BinOp) else node.value
        if not isinstance(node.op, allowed.OPERATORS):
            return  # the operator is a node of its own, and is refused there
        if isinstance(node.op, ast.Pow) and not self.is_small_exponent(right):
            yield "a power that is no small constant: write math.pow(x, y), or math.sqrt(x)"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            left = node.left
            if isinstance(left, ast.JoinedStr) or (isinstance(left, ast.Constant) and isinstance(left.value, str)):
                yield "% on a text: write an f-string"
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id in self.parameters:
            yield f"{node.target.id} {operator_text(node)}: give the result a new name"

    def _lambda(self, node: ast.Lambda) -> Iterator[str]:
        arguments = node.args
        if arguments.defaults or arguments.kw_defaults or arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
            yield "a lambda with more than plain arguments"
        if not self.may_be_passed(node):
            yield "a lambda that is kept: write a function, or hand it over as key= of sorted, min or max"

    def _raise(self, node: ast.Raise) -> Iterator[str]:
        if node.cause or not (isinstance(node.exc, ast.Call) and called_name(node.exc) == "ValueError"):
            yield "`raise` of something else than ValueError('...')"

    def _subscript(self, node: ast.Subscript) -> Iterator[str]:
        if isinstance(node.ctx, ast.Store):
            if isinstance(node.slice, ast.Slice | ast.Tuple):
                yield "an assignment to a slice: make a new list"
            if not isinstance(self.parent(node), ast.Assign | ast.AugAssign):
                yield "an element among several targets, or as that of a loop: use names, and assign one by one"
            if not self.is_own_container(root_name(node)):
                yield f"an assignment into {root_name(node)}, which this function did not make: begin with list(...)"

    def _formatted(self, node: ast.FormattedValue) -> Iterator[str]:
        spec = node.format_spec
        texts = spec.values if isinstance(spec, ast.JoinedStr) else []
        written = [str(part.value) for part in texts if isinstance(part, ast.Constant)]
        plain = len(written) == len(texts) and all(len(text) <= 6 for text in written)
        if not plain or any(sum(character.isdigit() for character in text) > 3 for text in written):
            yield "a long or computed format in an f-string: write one such as {x:.2f}"

    def _check_iterator(self, node: ast.expr) -> Iterator[str]:
        parent = self.parent(node)
        looped = isinstance(parent, ast.For | ast.comprehension) and parent.iter is node
        consumed = isinstance(parent, ast.Call) and node in parent.args and (
            (called_name(parent) or method_name(parent)) in allowed.CONSUMERS
        )  # fmt: skip
        if not looped and not consumed:
            yield f"`{ast.unparse(node)[:40]}` kept as it is: write list(...) round it"

    def _starred(self, node: ast.Starred) -> Iterator[str]:
        if not isinstance(self.parent(node), ast.List | ast.Tuple | ast.Set | ast.Call):
            yield "* here"

    def _annotated(self, node: ast.AnnAssign) -> Iterator[str]:
        if not isinstance(node.target, ast.Name) or not node.simple:
            yield "a type for what is no plain name"
        yield from (message for _, message in check_annotation(node.annotation, self.module))

    def _expression(self, node: ast.Expr) -> Iterator[str]:
        is_document = node is self.function.body[0] and isinstance(node.value, ast.Constant)
        if not is_document and not (
            isinstance(node.value, ast.Call) and method_name(node.value) in allowed.MUTATING_METHODS
        ):
            yield f"`{ast.unparse(node)[:40]}`, whose result is not used"

    def _dict(self, node: ast.Dict) -> Iterator[str]:
        if None in node.keys:
            yield "** in a dict: write dict(...) and assign"

    def _comprehension(self, node: ast.comprehension) -> Iterator[str]:
        if node.is_async:
            yield "`async`"
        if not all(isinstance(part, ast.Name | ast.Tuple | ast.Store) for part in ast.walk(node.target)):
            yield "a comprehension over what is no name"
