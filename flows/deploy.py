"""Serve all flows with their schedules: `python -m flows.deploy WORKSPACE`."""

import sys
from pathlib import Path
from typing import Any, cast

from prefect import Flow, serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron

from flows.advise import advise
from flows.kernel import kernel
from flows.nightly import nightly
from flows.outcomes import outcomes
from osiris.config.settings import load_settings

ONE_RUN = ConcurrencyLimitConfig(limit=1, collision_strategy="CANCEL_NEW")
"""One run at a time: a run that is due while another one is under way is cancelled."""


def deploy(workspace: Path) -> None:
    """Serve the flows of `workspace` until interrupted.

    Ideas are drafted half an hour after the close in New York (16:30). Outcomes are settled every hour, and the kernel
    runs half an hour after that. Training runs at `prefect.nightly_cron`.
    """
    prefect = load_settings(workspace).prefect
    parameters = {"workspace": str(workspace.resolve())}

    def deployment(flow: Flow[..., Any], cron: str, limit: ConcurrencyLimitConfig | None = ONE_RUN) -> RunnerDeployment:
        schedule = Cron(cron, timezone=prefect.timezone)
        deployed = flow.to_deployment(flow.name, schedule=schedule, parameters=parameters, concurrency_limit=limit)
        return cast(RunnerDeployment, deployed)  # a coroutine only inside an event loop, and none runs here

    serve(
        deployment(advise, "30 16 * * 1-5", limit=None),
        deployment(outcomes, "0 * * * *"),
        deployment(nightly, prefect.nightly_cron),
        deployment(kernel, "30 * * * *"),
    )


if __name__ == "__main__":
    deploy(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
