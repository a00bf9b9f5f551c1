"""Serve all flows with their schedules: `python -m flows.deploy WORKSPACE`."""

import sys
from pathlib import Path

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.schedules import Cron

from flows.advise import advise
from flows.kernel import kernel
from flows.nightly import nightly
from flows.outcomes import outcomes
from osiris.config.settings import load_settings

ONE_RUN = ConcurrencyLimitConfig(limit=1, collision_strategy="CANCEL_NEW")


def deploy(workspace: Path) -> None:
    """Serve the flows of `workspace` until interrupted: ideas after the close, outcomes hourly, the kernel
    half an hour after them, training at night."""
    parameters, prefect = {"workspace": str(workspace.resolve())}, load_settings(workspace).prefect

    def schedule(cron: str) -> Cron:
        return Cron(cron, timezone=prefect.timezone)

    serve(
        advise.to_deployment("advise", schedule=schedule("30 16 * * 1-5"), parameters=parameters),
        outcomes.to_deployment(
            "outcomes", schedule=schedule("0 * * * *"), parameters=parameters, concurrency_limit=ONE_RUN
        ),
        nightly.to_deployment(
            "nightly", schedule=schedule(prefect.nightly_cron), parameters=parameters, concurrency_limit=ONE_RUN
        ),
        kernel.to_deployment(
            "kernel", schedule=schedule("30 * * * *"), parameters=parameters, concurrency_limit=ONE_RUN
        ),
    )


if __name__ == "__main__":
    deploy(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
