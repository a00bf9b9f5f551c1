"""A papermill engine that starts the kernel of a notebook warm, and with environment variables of its own."""

from typing import Any

from jupyter_client.manager import KernelManager
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.log import logger

from flows.warm_kernel import PROVISIONER
from osiris.core.notebooks import preloadable_modules

ENGINE = "osiris"


class WarmNotebookClient(PapermillNotebookClient):
    """papermill's client, whose kernel starts with the modules of the notebook imported."""

    def create_kernel_manager(self) -> KernelManager:
        """Create the kernel manager, with the provisioner of warm kernels."""
        manager = super().create_kernel_manager()
        config = {"modules": preloadable_modules(self.nb)}
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
