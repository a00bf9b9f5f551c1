"""One function of the policy as the static check knows it: its names, the parent of each node, allowed callbacks.

What it keeps out: a function that is passed anywhere but where its calls are harmless, such as `key=` of `sorted`. What
it does not check: everything else about a function (see `static_uses` and `static_loops`).
"""

import ast

from osiris.sandbox import allowed
from osiris.sandbox.static_syntax import PolicyModule, all_arguments, called_name, is_new_container, method_name


class Scope:
    """The names and nodes of one function, with questions about them."""

    def __init__(self, function: ast.FunctionDef, module: PolicyModule, parameters: set[str]) -> None:
        """Read the function once."""
        self.function, self.module, self.parameters = function, module, parameters
        nodes = [node for statement in function.body for node in ast.walk(statement)]
        self.nodes = nodes
        self.parents = {id(child): node for node in nodes for child in ast.iter_child_nodes(node)}
        stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        lambdas = {one.arg for node in nodes if isinstance(node, ast.Lambda) for one in all_arguments(node.args)}
        self.local_names = parameters | stored | lambdas
        self.annotation_ids = {
            id(part) for node in nodes if isinstance(node, ast.AnnAssign) for part in ast.walk(node.annotation)
        }

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node that contains `node`; `None` for a statement of the function itself."""
        return self.parents.get(id(node))

    def may_be_passed(self, node: ast.AST) -> bool:
        """Whether a function is passed where it may be: as `key=`, first to map or filter, a type to isinstance."""
        parent = self.parent(node)
        if isinstance(parent, ast.Tuple):
            return self.is_isinstance_type(self.parent(parent), parent, node)
        if isinstance(parent, ast.keyword):
            call = self.parent(parent)
            takes_key = isinstance(call, ast.Call) and (
                called_name(call) in ("sorted", "min", "max") or method_name(call) == "sort"
            )
            return parent.arg == "key" and takes_key and self.is_function(node)
        if isinstance(parent, ast.Call) and called_name(parent) in ("map", "filter") and parent.args[:1] == [node]:
            return self.is_function(node)
        return self.is_isinstance_type(parent, node, node)

    def is_isinstance_type(self, call: ast.AST | None, second: ast.AST, kind: ast.AST) -> bool:
        """Whether `kind` is a type in `second`, and `second` is the second argument of isinstance."""
        named = isinstance(kind, ast.Name) and kind.id in {*allowed.TYPES, *self.module.classes}
        return named and isinstance(call, ast.Call) and called_name(call) == "isinstance" and call.args[1:] == [second]

    def is_function(self, node: ast.AST) -> bool:
        """Whether a node is a function that may be passed, because a call of it is harmless with any arguments."""
        if isinstance(node, ast.Lambda):
            return True
        if isinstance(node, ast.Attribute):
            return self.is_module_member(node)
        known = {*allowed.CALLBACK_BUILTINS, *self.module.functions, *self.module.imported}
        return isinstance(node, ast.Name) and node.id in known - self.local_names

    def is_module_member(self, node: ast.Attribute) -> bool:
        """Whether an attribute is one of those listed for its module, as in `math.sqrt`."""
        name = node.value.id if isinstance(node.value, ast.Name) else ""
        return (
            name in self.module.modules and name not in self.local_names and node.attr in allowed.MEMBERS.get(name, ())
        )

    def is_own_container(self, name: str) -> bool:
        """Whether a name always stands for a list, dict or set that this function made."""
        return name not in self.parameters and is_new_container(name, self.function)

    def is_small_exponent(self, node: ast.expr) -> bool:
        """Whether an exponent is a small constant."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            node = node.operand
        value = self.module.constants.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
        return isinstance(value, int | float) and abs(value) <= allowed.MAX_EXPONENT
