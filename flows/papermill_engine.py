"""A papermill engine that starts the kernel of a notebook warm, and with environment variables of its own."""

import ast
from contextlib import suppress
from typing import Any

from jupyter_client.manager import KernelManager
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.log import logger

from flows.warm_kernel import PROVISIONER

ENGINE = "osiris"


def imported_modules(notebook: NotebookNode) -> list[str]:
    """Return the modules that the notebook's own cells import."""
    modules = []
    for cell in notebook.cells:
        with suppress(SyntaxError):  # IPython's magic commands, or a mistake that its cell will show
            for node in ast.walk(ast.parse(cell.source if cell.cell_type == "code" else "")):
                if isinstance(node, ast.Import):
                    modules += [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.append(node.module)
    return modules


def preloaded_modules(notebook: NotebookNode) -> list[str]:
    """Return what its metadata names under `osiris.preload`: modules that our functions import when they are called."""
    return list(notebook.metadata.get("osiris", {}).get("preload", []))


class WarmNotebookClient(PapermillNotebookClient):
    """papermill's client, whose kernel starts with the modules of the notebook imported."""

    def create_kernel_manager(self) -> KernelManager:
        """Create the kernel manager, with the provisioner of warm kernels."""
        manager = super().create_kernel_manager()
        config = {"modules": [*imported_modules(self.nb), *preloaded_modules(self.nb)]}
        metadata = {"kernel_provisioner": {"provisioner_name": PROVISIONER, "config": config}}
        manager.kernel_spec.metadata = manager.kernel_spec.metadata | metadata
        return manager


class WarmEngine(Engine):
    """papermill's own engine (nbclient), but for the start of the kernel and its environment."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, env: dict[str, str] | None = None, **options: Any
    ) -> Any:
        """Execute the notebook; `env` is the whole environment of its kernel (default: that of this process)."""
        client = WarmNotebookClient(
            nb_man,
            kernel_name=kernel_name,
            log=logger,
            startup_timeout=options["start_timeout"],
            timeout=options.get("execution_timeout"),
            extra_arguments=options.get("extra_arguments", []),
        )
        return client.execute(**({} if env is None else {"env": env}))


papermill_engines.register(ENGINE, WarmEngine)
