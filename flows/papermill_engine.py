"""A papermill engine that starts the kernel of a notebook with environment variables of its own."""

from typing import Any

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines
from papermill.log import logger

ENGINE = "osiris"


class EnvironmentEngine(Engine):
    """papermill's own engine (nbclient), but for the environment of the kernel."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, env: dict[str, str] | None = None, **options: Any
    ) -> Any:
        """Execute the notebook; `env` is the whole environment of its kernel (default: that of this process)."""
        client = PapermillNotebookClient(
            nb_man,
            kernel_name=kernel_name,
            log=logger,
            startup_timeout=options["start_timeout"],
            timeout=options.get("execution_timeout"),
            extra_arguments=options.get("extra_arguments", []),
        )
        return client.execute(env=env)


papermill_engines.register(ENGINE, EnvironmentEngine)
