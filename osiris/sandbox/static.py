"""The static check: it reads the syntax tree of a patched file and refuses what is not allowed. Nothing is run.

A file consists of a docstring, imports, CONSTANTS, functions and `NamedTuple` classes, and binds each name once. This
module checks the file as a whole. `static_uses` checks what functions use, `static_loops` how long they may run, and
all lists are in `allowed`.

What the check keeps out: imports, attributes and calls that are not listed, values that survive a call, comments that
direct a checker, letters that look like others, and code that may not end. It knows what is allowed and refuses the
rest, so a new feature of Python is refused until somebody has thought about it.

What it does not keep out: a mistake in this check (the sandbox is the second line of defence), code that is slow within
the limits, and a wrong answer.
"""

import ast
import builtins
import io
import re
import tokenize
from collections.abc import Iterator
from typing import TypeGuard

from osiris.sandbox import allowed
from osiris.sandbox.static_loops import check_termination
from osiris.sandbox.static_syntax import PolicyModule, Problem, check_annotation, is_docstring, max_magnitude
from osiris.sandbox.static_uses import check_function

CHECKER_DIRECTIVES = re.compile(
    r"#\s*(?:type|mypy|ruff|flake8|isort|fmt|yapf|pyright|pylint|crosshair)\s*:|\bnoqa\b|\bcrosshair\s*[:=]", re.I
)
ENCODING_COMMENT = re.compile(r"coding[:=]", re.I)
CONSTANT_NAME = re.compile(r"_?[A-Z][A-Z0-9_]*")
CLASS_NAME = re.compile(r"_?[A-Z][A-Za-z0-9]*")
FUNCTION_NAME = re.compile(r"_?[a-z][a-z0-9_]*")
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")
MAX_WRITABLE_INT = 10**18
"""Larger whole numbers are refused before the other checks, whose messages quote the code. Python does not write a
number of more than 4,300 digits, so such a message would itself raise an error."""
CHECKER_CONSTANTS = {"MYPY", "TYPE_CHECKING"}


def find_problems(text: str) -> list[str]:
    """What is wrong with a file of the policy, as `line: problem`, in order; empty for an allowed file."""
    unprintable = [character for character in text if not (character.isprintable() or character == "\n")]
    if unprintable:
        return [f"0: {_describe_character(unprintable[0])}: write printable characters, spaces and plain line ends"]
    try:
        tree = ast.parse(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        return [f"{getattr(error, 'lineno', 0) or 0}: it does not parse: {error}"]
    if line := _line_too_deep(tree):
        return [f"{line}: nesting that is too deep: give parts of it names"]
    if numbers := [node for node in ast.walk(tree) if _has_too_many_digits(node)]:
        return [f"{node.lineno}: a whole number of so many digits: at most {allowed.MAX_INT:,}" for node in numbers]
    problems = [*_check_tokens(tokens), *_check_module(tree)]
    return [f"{line}: {message}" for line, message in sorted(set(problems))]


def _describe_character(character: str) -> str:
    return {"\t": "a tab", "\r": "a carriage return"}.get(character, f"the character U+{ord(character):04X}")


def _check_tokens(tokens: list[tokenize.TokenInfo]) -> Iterator[Problem]:
    for token in tokens:
        line, text = token.start[0], token.string
        # A comment may switch a checker off, and one in the first two lines may change how the file is read.
        if token.type == tokenize.COMMENT and (
            CHECKER_DIRECTIVES.search(text) or (line <= 2 and ENCODING_COMMENT.search(text))
        ):
            yield line, f"a comment that a checker takes as an order, {text!r}: say it in other words"
        elif token.type not in (tokenize.COMMENT, tokenize.STRING) and not text.isascii():
            yield line, f"a name that is not ASCII, {text!r}: only comments and texts may hold such letters"


def _check_module(tree: ast.Module) -> Iterator[Problem]:
    module = PolicyModule()
    problems: list[Problem] = []
    for number, node in enumerate(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            problems += _check_import(node, module)
        elif isinstance(node, ast.ClassDef):
            problems += _check_class(node, module)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            problems += _check_constant(node, module)
        elif isinstance(node, ast.FunctionDef):
            problems += _check_name(node, node.name, FUNCTION_NAME, module)
            module.functions[node.name] = node
        elif not (
            is_docstring(node) and (number == 0 or isinstance(tree.body[number - 1], ast.Assign | ast.AnnAssign))
        ):
            problems.append((node.lineno, "a statement outside functions: there are only CONSTANTS and functions"))
    yield from problems
    # Only now, since a function may use names that the file binds after it.
    for function in module.functions.values():
        yield from check_function(function, module)
    yield from check_termination(module)


def _check_name(node: ast.stmt, name: str, form: re.Pattern[str], module: PolicyModule) -> Iterator[Problem]:
    if not form.fullmatch(name) or "__" in name or name in CHECKER_CONSTANTS or name in dir(builtins):
        yield node.lineno, f"the name {name}: CONSTANT, function_name and ClassName are how names are written"
    if name in module.names():
        yield node.lineno, f"{name} a second time: each name of the file stands for one thing"


def _check_import(node: ast.Import | ast.ImportFrom, module: PolicyModule) -> Iterator[Problem]:
    for alias in node.names:
        name, members = alias.name, None
        source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if isinstance(node, ast.ImportFrom):
            members = allowed.IMPORTS.get(source, ()) or allowed.MEMBERS.get(source, ())
        good = name in allowed.MEMBERS if members is None else name in members and not getattr(node, "level", 0)
        if not good or alias.asname:
            written = ast.unparse(node)
            yield node.lineno, f"`{written}`: see `osiris kernel allowed` for what may be imported, and under its name"
            continue
        yield from _check_name(node, name, re.compile(r"\w+"), module) if name not in allowed.BUILTINS else ()
        if name in allowed.BUILTINS:
            yield node.lineno, f"`{ast.unparse(node)}`: it would hide the built-in {name}; write math.{name}"
        kind = module.modules if members is None else module.types if source in _TYPE_MODULES else module.imported
        kind.add(name)


_TYPE_MODULES = ("collections.abc", "typing")


def _check_class(node: ast.ClassDef, module: PolicyModule) -> Iterator[Problem]:
    plain = [ast.dump(base) for base in node.bases] == [ast.dump(ast.Name("NamedTuple", ast.Load()))]
    if not plain or "NamedTuple" not in module.types or node.keywords or node.decorator_list:
        yield node.lineno, f"class {node.name}: write `class {node.name}(NamedTuple):` without decorators"
    yield from _check_name(node, node.name, CLASS_NAME, module)
    for number, inner in enumerate(node.body):
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            yield from check_annotation(inner.annotation, module)
            yield from _check_field(inner, inner.target.id, module)
        elif not (number == 0 and is_docstring(inner)):
            yield inner.lineno, f"something in class {node.name} that is no field, as in `slope: float`"
    module.classes.add(node.name)


def _check_field(node: ast.AnnAssign, name: str, module: PolicyModule) -> Iterator[Problem]:
    """Check a field's name. Declaring it allows reading it of any object, so no other object may have such a name."""
    if name in allowed.RESERVED_ATTRIBUTES or not FIELD_NAME.fullmatch(name) or "__" in name:
        yield (
            node.lineno,
            f"a field named {name}, which other objects of Python have too: write {name.strip('_')}_of_it",
        )
    if node.value is not None:
        try:
            constant_value(node.value, module.constants)
        except _NotConstant as error:
            yield node.lineno, f"the value of field {name}: {error}"
    module.fields.add(name)


def _check_constant(node: ast.Assign | ast.AnnAssign, module: PolicyModule) -> Iterator[Problem]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if len(targets) != 1 or not isinstance(targets[0], ast.Name) or node.value is None:
        yield node.lineno, "an assignment outside functions that is not as `CONSTANT = 0.5`"
        return
    name = targets[0].id
    yield from _check_name(node, name, CONSTANT_NAME, module)
    if isinstance(node, ast.AnnAssign):
        yield from check_annotation(node.annotation, module)
    module.constants[name] = None
    try:
        module.constants[name] = constant_value(node.value, module.constants)
    except _NotConstant as error:
        yield node.lineno, f"the constant {name}: {error}"


class _NotConstant(Exception):
    """An expression is no constant; the message says why."""


def constant_value(node: ast.expr, constants: dict[str, object]) -> object:
    """The value of a constant: a number, text, tuple of them, or arithmetic on numbers; raises `_NotConstant`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
        value = node.value
    elif isinstance(node, ast.Tuple):
        return tuple(constant_value(part, constants) for part in node.elts)
    elif isinstance(node, ast.Name) and constants.get(node.id) is not None:
        return constants[node.id]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _number(node.operand, constants) * (-1 if isinstance(node.op, ast.USub) else 1)
    elif isinstance(node, ast.BinOp):
        value = _arithmetic_value(node, constants)
    elif isinstance(node, ast.Call | ast.Attribute):
        raise _NotConstant("expected a number: write what it comes to, as in 252**0.5 or 3.14159")
    else:
        raise _NotConstant("expected a number, a text, or a tuple of them: a list or dict belongs into a function")
    if isinstance(value, int | float) and not abs(value) <= max_magnitude(value):
        raise _NotConstant(f"expected numbers up to {allowed.MAX_NUMBER:g}, whole ones up to {allowed.MAX_INT}")
    return value


def _number(node: ast.expr, constants: dict[str, object]) -> int | float:
    value = constant_value(node, constants)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotConstant("expected numbers on both sides of a sign")
    return value


def _arithmetic_value(node: ast.BinOp, constants: dict[str, object]) -> int | float:
    left, right = _number(node.left, constants), _number(node.right, constants)
    try:
        if isinstance(node.op, ast.Add | ast.Sub):
            return left + right if isinstance(node.op, ast.Add) else left - right
        if isinstance(node.op, ast.Mult | ast.Div):
            return left * right if isinstance(node.op, ast.Mult) else left / right
        if isinstance(node.op, ast.FloorDiv):
            return left // right
        if isinstance(node.op, ast.Pow) and abs(right) <= allowed.MAX_EXPONENT and left >= 0:
            return left**right
    except (ArithmeticError, ValueError) as error:
        raise _NotConstant(str(error)) from error
    raise _NotConstant("expected + - * / // or a small power")


def _has_too_many_digits(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) > MAX_WRITABLE_INT


def _line_too_deep(node: ast.AST) -> int:
    """The first line on which syntax is nested too deep; 0 for none. No recursion, which could run out of stack."""
    waiting = [(node, 0, 0)]
    lines: list[int] = []
    while waiting:
        one, depth, line = waiting.pop()
        line = getattr(one, "lineno", line)
        if depth > allowed.MAX_NESTING:
            lines.append(max(line, 1))
            continue
        waiting += [(child, depth + 1, line) for child in ast.iter_child_nodes(one)]
    return min(lines, default=0)
