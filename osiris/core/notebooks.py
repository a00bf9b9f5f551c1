"""What a notebook's own text says, without a library of notebooks: its cells are dictionaries with a `source`."""

import ast
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def preloadable_modules(notebook: Mapping[str, Any]) -> list[str]:
    """Return what a kernel of the notebook can have imported before it starts.

    These are the modules that its cells import, and what its metadata names under `osiris.preload`: modules that our
    functions import when they are called, or functions to call (`module:function`).
    """
    modules = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
        with suppress(SyntaxError):  # IPython's magic commands, or a mistake that its cell will show
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    modules += [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.append(node.module)
    return [*modules, *notebook["metadata"].get("osiris", {}).get("preload", [])]
