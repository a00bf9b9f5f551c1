"""The book of patches: an append-only journal of what became of each, written before and after every step that counts.

A patch goes through `judged` (with proof, measurement and verdict), `applying`, `applied`, `rolling_back` and
`rolled_back`; `abandoned` is a step that could not be ended. Beside these, `drafted` says that nobody submitted it,
`postponed` that it could not be judged yet, `told` that Redis has heard of a step. `decided` is the verdict of a trial
or its extension, `observed` a look at what a live patch refuses. Git has the policy, the book why.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from osiris.core.errors import NotFound
from osiris.storage.journal import Journal

LIVE_STEPS = ("applying", "applied", "rolling_back", "rolled_back", "abandoned")
PatchEntry = dict[str, Any]


class PatchLog:
    """The patches of one workspace; whoever writes holds the kernel's lock."""

    def __init__(self, path: Path) -> None:
        """Use the journal at `path`."""
        self._journal = Journal(path)

    def record(self, step: str, patch_id: str, at: datetime, **facts: Any) -> None:
        """Write what happened to a patch, durably."""
        self._journal.append(step, [{"id": patch_id, "at": at, **facts}])

    def entries(self) -> list[tuple[str, PatchEntry]]:
        """Every step with its facts, oldest first."""
        return [(entry.kind, row) for entry in self._journal.read() for row in entry.rows]

    def patches(self) -> dict[str, PatchEntry]:
        """What is known of each patch, by id, in the order of their first verdicts.

        `state` is its verdict or what was done with it last, `live` whether it is in the live policy now; each step's
        moment is `<step>_at`, and `built_on` the patch under it that took it along when it was rolled back.
        """
        known: dict[str, PatchEntry] = {}
        for step, facts in self.entries():
            if step in ("drafted", "observed"):
                continue
            for patch_id in (facts["id"], *facts.get("with", ())):
                own = {**facts, "built_on": None}
                if patch_id != facts["id"]:
                    own = {"reason": f"built on {facts['id']}", "built_on": facts["id"], "at": facts["at"]}
                patch = known.setdefault(patch_id, {"id": patch_id, "live": False, "told": []})
                if step == "told":
                    patch["told"] = [*patch["told"], facts["what"]]
                    continue
                at = {f"{step}_at": own["at"]}
                patch |= {key: value for key, value in own.items() if key not in ("id", "at", "with")} | at
                patch["live"] = "rolling_back" in (step, facts.get("begun")) or step == "applied"
                before = "applied" if patch["live"] else "proved"
                patch["state"] = facts.get("verdict") or (before if step == "abandoned" else step)
        return known

    def get(self, patch_id: str) -> PatchEntry:
        """One patch; raises `NotFound`."""
        patches = self.patches()
        if patch_id not in patches:
            raise NotFound("a patch of this workspace", repr(patch_id), "see: osiris kernel log")
        return patches[patch_id]

    def unfinished_step(self) -> tuple[str, PatchEntry] | None:
        """The step that a killed process began and did not end, with its facts."""
        steps = [(step, facts) for step, facts in self.entries() if step in LIVE_STEPS]
        return steps[-1] if steps and steps[-1][0] in ("applying", "rolling_back") else None

    def observations(self, patch_id: str) -> list[PatchEntry]:
        """The looks at what a live patch refuses, oldest first."""
        return [facts for step, facts in self.entries() if step == "observed" and facts["id"] == patch_id]

    def drafted_ids(self) -> set[str]:
        """The patches that nobody submitted."""
        return {facts["id"] for step, facts in self.entries() if step == "drafted"}

    def live_ids(self) -> list[str]:
        """The patches that are in the live policy, in the order in which they went live."""
        known = self.patches()
        applied = [facts["id"] for step, facts in self.entries() if step == "applied"]
        return [patch_id for patch_id in dict.fromkeys(applied[::-1]) if known[patch_id]["live"]][::-1]

    def last_applied_at(self) -> datetime | None:
        """When a patch last went live."""
        return max((facts["at"] for step, facts in self.entries() if step == "applied"), default=None)
