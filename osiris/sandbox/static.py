"""What a patched file may be made of, seen from its syntax tree alone: nothing is run.

A file is a docstring, imports, CONSTANTS, functions and `NamedTuple` classes, each name bound once. What functions may
use is in `static_uses`, how long they may run in `static_loops`, all lists in `allowed`. The check knows what is
allowed and refuses the rest, so that a new piece of Python is refused until somebody has thought about it.
"""

import ast
import builtins
import io
import re
import tokenize
from collections.abc import Iterator

from osiris.sandbox import allowed
from osiris.sandbox.static_loops import endless
from osiris.sandbox.static_syntax import Module, is_text, largest, of_annotation
from osiris.sandbox.static_uses import of_function

SWITCHES = re.compile(
    r"#\s*(?:type|mypy|ruff|flake8|isort|fmt|yapf|pyright|pylint|crosshair)\s*:|\bnoqa\b|\bcrosshair\s*[:=]", re.I
)
CODING = re.compile(r"coding[:=]", re.I)
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
CLASS = re.compile(r"_?[A-Z][A-Za-z0-9]*")
FUNCTION = re.compile(r"_?[a-z][a-z0-9_]*")
FIELD = re.compile(r"[a-z][a-z0-9_]*")
MOST_WRITTEN = 10**18
"""Python refuses to write whole numbers of thousands of digits, so a refusal could not even name them."""
SEEN_BY_CHECKERS = {"MYPY", "TYPE_CHECKING"}
Problem = tuple[int, str]


def problems(text: str) -> list[str]:
    """What is wrong with a file of the policy, `line: what`, in order; empty for a file that may be."""
    odd = [character for character in text if not (character.isprintable() or character == "\n")]
    if odd:
        return [f"0: {_named(odd[0])}: write printable characters, spaces and plain line ends"]
    try:
        tree = ast.parse(text)
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        return [f"{getattr(error, 'lineno', 0) or 0}: it does not parse: {error}"]
    if deep := _too_deep(tree):
        return [f"{deep}: nesting that is too deep: give parts of it names"]
    if numbers := [node for node in ast.walk(tree) if _endless_number(node)]:  # nobody can even write them down
        return [f"{node.lineno}: a whole number of so many digits: at most {allowed.LARGEST_INT:,}" for node in numbers]
    found = [*_of_tokens(tokens), *_of_module(tree)]
    return [f"{line}: {what}" for line, what in sorted(set(found))]


def _named(character: str) -> str:
    return {"\t": "a tab", "\r": "a carriage return"}.get(character, f"the character U+{ord(character):04X}")


def _of_tokens(tokens: list[tokenize.TokenInfo]) -> Iterator[Problem]:
    for token in tokens:
        line, text = token.start[0], token.string
        if token.type == tokenize.COMMENT and (SWITCHES.search(text) or (line <= 2 and CODING.search(text))):
            yield line, f"a comment that a checker takes as an order, {text!r}: say it in other words"
        elif token.type not in (tokenize.COMMENT, tokenize.STRING) and not text.isascii():
            yield line, f"a name that is not ASCII, {text!r}: only comments and texts may hold such letters"


def _of_module(tree: ast.Module) -> Iterator[Problem]:
    module, found = Module(), []
    for number, node in enumerate(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += _of_import(node, module)
        elif isinstance(node, ast.ClassDef):
            found += _of_class(node, module)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found += _of_constant(node, module)
        elif isinstance(node, ast.FunctionDef):
            found += _of_name(node, node.name, FUNCTION, module)
            module.functions[node.name] = node
        elif not (is_text(node) and (number == 0 or isinstance(tree.body[number - 1], ast.Assign | ast.AnnAssign))):
            found.append((node.lineno, "a statement outside functions: there are only CONSTANTS and functions"))
    yield from found
    for function in module.functions.values():
        yield from of_function(function, module)
    yield from endless(module)


def _of_name(node: ast.stmt, name: str, form: re.Pattern[str], module: Module) -> Iterator[Problem]:
    if not form.fullmatch(name) or "__" in name or name in SEEN_BY_CHECKERS or name in dir(builtins):
        yield node.lineno, f"the name {name}: CONSTANT, function_name and ClassName are how names are written"
    if name in module.names():
        yield node.lineno, f"{name} a second time: each name of the file stands for one thing"


def _of_import(node: ast.Import | ast.ImportFrom, module: Module) -> Iterator[Problem]:
    for alias in node.names:
        name, members = alias.name, None
        if isinstance(node, ast.ImportFrom):
            members = allowed.IMPORTS.get(node.module or "", ()) or allowed.MEMBERS.get(node.module or "", ())
        good = name in allowed.MEMBERS if members is None else name in members and not getattr(node, "level", 0)
        if not good or alias.asname:
            written = ast.unparse(node)
            yield node.lineno, f"`{written}`: see `osiris kernel allowed` for what may be imported, and under its name"
            continue
        yield from _of_name(node, name, re.compile(r"\w+"), module) if name not in allowed.BUILTINS else ()
        if name in allowed.BUILTINS:
            yield node.lineno, f"`{ast.unparse(node)}`: it would hide the built-in {name}; write math.{name}"
        kind = module.modules if members is None else module.types if node.module in _OF_TYPES else module.imported
        kind.add(name)


_OF_TYPES = ("collections.abc", "typing")


def _of_class(node: ast.ClassDef, module: Module) -> Iterator[Problem]:
    plain = [ast.dump(base) for base in node.bases] == [ast.dump(ast.Name("NamedTuple", ast.Load()))]
    if not plain or "NamedTuple" not in module.types or node.keywords or node.decorator_list:
        yield node.lineno, f"class {node.name}: write `class {node.name}(NamedTuple):` without decorators"
    yield from _of_name(node, node.name, CLASS, module)
    for number, inner in enumerate(node.body):
        if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            yield from of_annotation(inner.annotation, module)
            yield from _of_field(inner, inner.target.id, module)
        elif not (number == 0 and is_text(inner)):
            yield inner.lineno, f"something in class {node.name} that is no field, as in `slope: float`"
    module.classes.add(node.name)


def _of_field(node: ast.AnnAssign, name: str, module: Module) -> Iterator[Problem]:
    """A field's name gives a right to read that attribute: of anything, so nothing else in Python may have one."""
    if name in allowed.TAKEN or not FIELD.fullmatch(name) or "__" in name:
        yield (
            node.lineno,
            f"a field named {name}, which other objects of Python have too: write {name.strip('_')}_of_it",
        )
    if node.value is not None:
        try:
            value_of(node.value, module.constants)
        except _NoConstant as error:
            yield node.lineno, f"the value of field {name}: {error}"
    module.fields.add(name)


def _of_constant(node: ast.Assign | ast.AnnAssign, module: Module) -> Iterator[Problem]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if len(targets) != 1 or not isinstance(targets[0], ast.Name) or node.value is None:
        yield node.lineno, "an assignment outside functions that is not as `CONSTANT = 0.5`"
        return
    name = targets[0].id
    yield from _of_name(node, name, CONSTANT, module)
    if isinstance(node, ast.AnnAssign):
        yield from of_annotation(node.annotation, module)
    module.constants[name] = None
    try:
        module.constants[name] = value_of(node.value, module.constants)
    except _NoConstant as error:
        yield node.lineno, f"the constant {name}: {error}"


class _NoConstant(Exception):
    """Why an expression is no constant."""


def value_of(node: ast.expr, constants: dict[str, object]) -> object:
    """The value of a constant: numbers, texts, tuples, arithmetic on numbers; raises `_NoConstant`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None):
        value = node.value
    elif isinstance(node, ast.Tuple):
        return tuple(value_of(part, constants) for part in node.elts)
    elif isinstance(node, ast.Name) and constants.get(node.id) is not None:
        return constants[node.id]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _number(node.operand, constants) * (-1 if isinstance(node.op, ast.USub) else 1)
    elif isinstance(node, ast.BinOp):
        value = _computed(node, constants)
    elif isinstance(node, ast.Call | ast.Attribute):
        raise _NoConstant("expected a number: write what it comes to, as in 252**0.5 or 3.14159")
    else:
        raise _NoConstant("expected a number, a text, or a tuple of them: a list or dict belongs into a function")
    if isinstance(value, int | float) and not abs(value) <= largest(value):
        raise _NoConstant(f"expected numbers up to {allowed.LARGEST:g}, whole ones up to {allowed.LARGEST_INT}")
    return value


def _number(node: ast.expr, constants: dict[str, object]) -> int | float:
    value = value_of(node, constants)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NoConstant("expected numbers on both sides of a sign")
    return value


def _computed(node: ast.BinOp, constants: dict[str, object]) -> int | float:
    left, right = _number(node.left, constants), _number(node.right, constants)
    try:
        if isinstance(node.op, ast.Add | ast.Sub):
            return left + right if isinstance(node.op, ast.Add) else left - right
        if isinstance(node.op, ast.Mult | ast.Div):
            return left * right if isinstance(node.op, ast.Mult) else left / right
        if isinstance(node.op, ast.FloorDiv):
            return left // right
        if isinstance(node.op, ast.Pow) and abs(right) <= allowed.LARGEST_POWER and left >= 0:
            return left**right
    except (ArithmeticError, ValueError) as error:
        raise _NoConstant(str(error)) from error
    raise _NoConstant("expected + - * / // or a small power")


def _endless_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) > MOST_WRITTEN


def _too_deep(node: ast.AST) -> int:
    """The line of the first syntax within too much syntax; 0 for none."""
    waiting, lines = [(node, 0, 0)], []
    while waiting:
        one, depth, line = waiting.pop()
        line = getattr(one, "lineno", line)
        if depth > allowed.MOST_NESTED:
            lines.append(max(line, 1))
            continue
        waiting += [(child, depth + 1, line) for child in ast.iter_child_nodes(one)]
    return min(lines, default=0)
