"""Flow `nightly`: feedback to QLoRA, outcomes to pairs, pairs to DPO, then the comparison and the gate."""

from typing import Any

from prefect import flow

from flows.notebook import notebook_task
from osiris.core.files import exclusive_lock
from osiris.training.nightly_run import begin_nightly_run
from osiris.workspace import managed_workspace


@flow(name="nightly", log_prints=False)
def nightly(workspace: str, as_of: str = "", since: str = "", recipe: str = "") -> dict[str, Any]:
    """Run pages 04 to 07 as one night, that of the UTC date of `as_of` (empty for now).

    Its moment is fixed when it begins, for all pages and for a night that is run again. Feedback counts from `since` on
    (empty for what no adapter has learned from); outcomes are learned from by `recipe` (empty for that of the
    settings). Raises `Busy` while another night is under way on this workspace.
    """
    with (
        managed_workspace(workspace, as_of) as ws,
        exclusive_lock(ws.settings.data / "nightly.lock", "night"),
    ):
        moment = begin_nightly_run(ws.registry, ws.settings, ws.now).as_of.isoformat()
        return {
            "qlora": notebook_task("04_qlora", workspace, {"as_of": moment, "since": since}),
            "pairs": notebook_task("05_pairs", workspace, {"as_of": moment, "recipe": recipe}),
            "dpo": notebook_task("06_dpo", workspace, {"as_of": moment, "recipe": recipe}),
            "compare": notebook_task("07_compare", workspace, {"as_of": moment}),
        }
