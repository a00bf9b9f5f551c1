"""Flow `nightly`: QLoRA on feedback, pairs from outcomes, DPO on the pairs, then the comparison and the gate."""

from typing import Any

from prefect import flow

from flows.notebook import notebook_task
from osiris.core.files import exclusive_lock
from osiris.training.nightly_run import begin_nightly_run
from osiris.workspace import managed_workspace


@flow(name="nightly", log_prints=False)
def nightly(workspace: str, as_of: str = "", since: str = "", recipe: str = "") -> dict[str, Any]:
    """Run notebooks 04 to 07 as the nightly run of the UTC date of `as_of` (empty for now).

    The moment of a nightly run is fixed when it begins. All four notebooks use it, and so does a run that is repeated
    after a crash. Feedback counts from `since` on; if that is empty, all feedback counts that no adapter has learned
    from. Outcomes are learned from by `recipe` (empty: the recipe of the settings). Raises `Busy` while another nightly
    run is under way on this workspace.
    """
    with (
        managed_workspace(workspace, as_of) as ws,
        exclusive_lock(ws.settings.data / "nightly.lock", "nightly run"),
    ):
        moment = begin_nightly_run(ws.registry, ws.settings, ws.now).as_of.isoformat()
        return {
            "qlora": notebook_task("04_qlora", workspace, {"as_of": moment, "since": since}),
            "pairs": notebook_task("05_pairs", workspace, {"as_of": moment, "recipe": recipe}),
            "dpo": notebook_task("06_dpo", workspace, {"as_of": moment, "recipe": recipe}),
            "compare": notebook_task("07_compare", workspace, {"as_of": moment}),
        }
