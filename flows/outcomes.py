"""Flow `outcomes`, hourly: settle ideas against prices and publish what was settled."""

from typing import Any

from prefect import flow

from flows.notebook import notebook_task


@flow(name="outcomes", log_prints=False)
def outcomes(workspace: str, as_of: str = "") -> dict[str, Any]:
    """Run notebook 03 at `as_of` (ISO 8601, empty for now)."""
    return notebook_task("03_outcomes", workspace, {"as_of": as_of})
