"""Serve all flows with their schedules: `python -m flows.deploy WORKSPACE`."""

import sys
from pathlib import Path

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.schedules import Cron

from flows.advise import advise
from flows.nightly import nightly
from flows.outcomes import outcomes

ZONE = "America/New_York"
ONE_RUN = ConcurrencyLimitConfig(limit=1, collision_strategy="CANCEL_NEW")


def deploy(workspace: Path) -> None:
    """Serve the flows of `workspace` until interrupted: ideas after the close, outcomes hourly, training at night."""
    given = {"workspace": str(workspace.resolve())}
    serve(
        advise.to_deployment("advise", schedule=Cron("30 16 * * 1-5", timezone=ZONE), parameters=given),
        outcomes.to_deployment(
            "outcomes", schedule=Cron("0 * * * *", timezone=ZONE), parameters=given, concurrency_limit=ONE_RUN
        ),
        nightly.to_deployment("nightly", schedule=Cron("0 2 * * *", timezone=ZONE), parameters=given),
    )


if __name__ == "__main__":
    deploy(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
