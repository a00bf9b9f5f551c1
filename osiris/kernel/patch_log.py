"""The patch log: an append-only journal of what became of each patch. Git keeps the policy, the log keeps the reasons.

An entry is written before and after each step that changes the live policy. The kinds of entry are:

- `judged`: the first verdict, with proof and measurement; `postponed`: no verdict was possible yet
- `decided`: the verdict of a trial, or its extension
- `applying`, then `applied`; `rolling_back`, then `rolled_back`; `abandoned`: one of these could not be finished
- `drafted`: the patch was drafted, and nobody submitted it
- `told`: a step was published on Redis
- `observed`: a look at the ideas that a live patch refused
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from osiris.core.errors import NotFound
from osiris.storage.journal import Journal

LIVE_STEPS = ("applying", "applied", "rolling_back", "rolled_back", "abandoned")
PatchEntry = dict[str, Any]

PATCH_FACTS = {
    "id": "The hash of the diff and its target.",
    "at": "The moment of the step.",
    "target": "The file of the policy that the patch changes.",
    "by": "The person or the drafter that made it.",
    "diff": "The unified diff.",
    "base": "The commit of the policy that it was proved and measured against.",
    "checks": "Every check of the proof: its name, whether it passed, what it said, its seconds.",
    "hermes": "The score of Hermes, 0 to 10; null for none.",
    "verdict": "`refused`, `not better`, `on trial`, `proved` or `not yet`.",
    "reason": "Why, in words.",
    "measuring": "The patch came as far as the measurement, so it counts as a look at those days.",
    "measured": "The rewards of both policies, their difference, its interval and its p-value.",
    "past": "The fingerprint of the data that was too little; the patch waits until it changes.",
    "began": "The begin of the trial.",
    "until": "The end of the trial or of a look.",
    "trial_look": "How many trials of this kind share these days, this one included.",
    "trial_level": "The alpha that this trial has.",
    "before": "The target without the patch.",
    "after": "The target with it.",
    "commit": "The commit that makes the patch live.",
    "parent": "The commit that was live before.",
    "revert": "The commit that takes it back.",
    "onto": "The commit that was live when it was taken back.",
    "with": "The later patches that were taken back with it, since they were built on it.",
    "begun": "The step that was begun and could not be finished.",
    "what": "What Redis was told: the commit, with a minus sign for a rollback.",
    "look": "The number of a look at the ideas that a live patch refused.",
    "found": "What that look found; null for nothing.",
}
"""What an entry may hold, by the names that the journal `data/patches.jsonl` uses."""


class PatchLog:
    """The patch log of one workspace. Writers hold the kernel's lock."""

    def __init__(self, path: Path) -> None:
        """Use the journal at `path`."""
        self._journal = Journal(path)

    def record(self, step: str, patch_id: str, at: datetime, **facts: Any) -> None:
        """Append what happened to a patch, durably."""
        self._journal.append(step, [{"id": patch_id, "at": at, **facts}])

    def entries(self) -> list[tuple[str, PatchEntry]]:
        """Every entry, as its step and facts, oldest first."""
        return [(entry.kind, row) for entry in self._journal.read() for row in entry.rows]

    def patches(self) -> dict[str, PatchEntry]:
        """The merged facts of each patch, by id, in the order of their first verdicts.

        `state` is the verdict or the last step, `live` says whether the patch is in the live policy now, and the moment
        of each step is `<step>_at`. `built_on` names the earlier patch whose rollback removed this one too.
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
        """The step that a killed process began and did not finish, with its facts."""
        steps = [(step, facts) for step, facts in self.entries() if step in LIVE_STEPS]
        return steps[-1] if steps and steps[-1][0] in ("applying", "rolling_back") else None

    def observations(self, patch_id: str) -> list[PatchEntry]:
        """The looks at the ideas that a live patch refused, oldest first."""
        return [facts for step, facts in self.entries() if step == "observed" and facts["id"] == patch_id]

    def drafted_ids(self) -> set[str]:
        """The ids of the patches that the kernel drafted itself."""
        return {facts["id"] for step, facts in self.entries() if step == "drafted"}

    def live_ids(self) -> list[str]:
        """The ids of the patches in the live policy, in the order in which they went live."""
        known = self.patches()
        applied = [facts["id"] for step, facts in self.entries() if step == "applied"]
        # Reversed twice: a patch that was applied more than once stands where it was applied last.
        return [patch_id for patch_id in dict.fromkeys(applied[::-1]) if known[patch_id]["live"]][::-1]

    def last_applied_at(self) -> datetime | None:
        """When a patch last went live."""
        return max((facts["at"] for step, facts in self.entries() if step == "applied"), default=None)
