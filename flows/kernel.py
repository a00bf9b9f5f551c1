"""Flow `kernel`: one turn of the loop that improves the policy's code."""

from typing import Any

from prefect import flow

from flows.notebook import notebook_task


@flow(name="kernel", log_prints=False)
def kernel(workspace: str, as_of: str = "") -> dict[str, Any]:
    """Run notebook 08 at `as_of` (ISO 8601, empty for now)."""
    return notebook_task("08_kernel", workspace, {"as_of": as_of})
