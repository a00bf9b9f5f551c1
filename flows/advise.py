"""Flow `advise`: draft ideas, several per prompt; Hermes scores them."""

from typing import Any

from prefect import flow

from flows.notebook import notebook_task


@flow(name="advise", log_prints=False)
def advise(workspace: str, as_of: str = "", sessions: int = 0) -> dict[str, Any]:
    """Run notebook 01 at `as_of` (ISO 8601, empty for now), or at the last `sessions` closes before it."""
    return notebook_task("01_advise", workspace, {"as_of": as_of, "sessions": sessions})
