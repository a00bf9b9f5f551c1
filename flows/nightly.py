"""Flow `nightly`: feedback to QLoRA, outcomes to pairs, pairs to DPO, then the comparison and the gate."""

from typing import Any

from prefect import flow

from flows.page import page_task
from osiris.files import one_at_a_time
from osiris.settings import load_settings


@flow(name="nightly", log_prints=False)
def nightly(workspace: str, as_of: str = "", since: str = "", recipe: str = "") -> dict[str, Any]:
    """Run pages 04 to 07 at `as_of` (empty for now).

    Feedback counts from `since` on (empty for the last 24 hours); outcomes are learned from by `recipe` (empty for that
    of the settings). Raises `Busy` while another night is under way on this workspace.
    """
    with one_at_a_time(load_settings(workspace).data / "nightly.lock", "night"):
        return {
            "qlora": page_task("04_qlora", workspace, {"as_of": as_of, "since": since}),
            "pairs": page_task("05_pairs", workspace, {"as_of": as_of, "recipe": recipe}),
            "dpo": page_task("06_dpo", workspace, {"as_of": as_of, "recipe": recipe}),
            "compare": page_task("07_compare", workspace, {"as_of": as_of}),
        }
