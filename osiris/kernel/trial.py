"""The trial of one patch: which one is next, whether it is proved, whether it is better beyond chance."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from osiris.errors import TooLittleData
from osiris.kernel.book import PatchBook
from osiris.kernel.draft import draft_patch
from osiris.kernel.live import Candidate, policy_of
from osiris.kernel.measure import Measurement, measure, past_closes
from osiris.kernel.patch import Patch, Refused, read_patch
from osiris.kernel.prove import PROVED, REFUSED, Proof, prove
from osiris.kernel.repo import Version
from osiris.kernel.sandbox import CandidateFailed
from osiris.kernel.state import Kernel, TurnReport
from osiris.settings import Settings

NOT_BETTER, NOT_YET = "not better", "not yet"


def next_patch(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> tuple[Patch | None, str]:
    """The first patch of the queue that has no verdict yet, with its item; an empty queue gets one that is drafted."""
    key, known, place = kernel.settings.kernel.key.get_secret_value(), kernel.book.patches(), 0
    closes = past_closes(kernel.settings, kernel.as_of)
    postponed = kernel.book.postponed(closes[-1]) if closes else set()
    while (item := kernel.lists.at(place)) is not None:
        try:
            patch = read_patch(item, key)
        except Refused as error:
            kernel.lists.bury(item, str(error), kernel.as_of)
            report.notes.append(f"a dead letter: {error}")
            continue
        state = known[patch.id]["state"] if patch.id in known else None
        if patch.id in postponed:
            place += 1
        elif state in (None, PROVED):  # proved: the process was killed before it was applied
            return patch, item
        else:
            report.notes.append(f"patch {patch.id} was {state} before")
            kernel.lists.drop(item)
    if place:
        report.notes.append(f"{place} patches wait for the next close")
        return None, ""
    return _own_patch(kernel, report, progress)


def _own_patch(kernel: Kernel, report: TurnReport, progress: Callable[[str], None]) -> tuple[Patch | None, str]:
    """A patch that is drafted now, by way of the queue, where a killed turn leaves it to the next."""
    looks = looks_before(kernel.book, kernel.settings, kernel.as_of, own=True)
    pause = timedelta(hours=kernel.settings.kernel.draft_hours)
    if looks and kernel.as_of < looks[-1] + pause:
        report.notes.append(f"the next patch is drafted at {(looks[-1] + pause).isoformat()}")
        return None, ""
    progress("drafting a patch")
    patch = draft_patch(kernel.repo, kernel.book, kernel.past, kernel.lists, report.notes)
    if patch is None:
        return None, ""
    kernel.book.note("drafted", patch.id, kernel.as_of)
    kernel.lists.push(patch.to_json())
    return patch, patch.to_json()


def judged(kernel: Kernel, patch: Patch, progress: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, str]]:
    """The facts of a patch with its verdict, and the policy's files as it leaves them."""
    live = kernel.repo.head()
    proof = prove(patch.diff, live, kernel.repo, kernel.past.judge, kernel.settings.kernel, progress)
    facts = patch.model_dump(include={"target", "by", "diff"}) | {
        "base": live.commit, "checks": proof.as_dict()["checks"], "hermes": proof.hermes,
    }  # fmt: skip
    if proof.verdict == REFUSED:
        return facts | {"verdict": REFUSED, "reason": proof.reason}, proof.files
    if (patch.before, patch.after) != (live.files[patch.target], proof.files[patch.target]):
        return facts | {"verdict": REFUSED, "reason": "stale: drafted against another version of the file"}, proof.files
    progress("measuring")
    try:
        measured = _measured(kernel, patch, live, proof)
    except CandidateFailed as error:
        return facts | {"verdict": REFUSED, "reason": f"measuring: {error}"}, proof.files
    except TooLittleData as error:
        return facts | {"verdict": NOT_YET, "reason": str(error)}, proof.files
    verdict = PROVED if measured.better else NOT_BETTER
    reason = (
        f"reward {measured.difference:+.4f} [{measured.low:+.4f}, {measured.high:+.4f}], p = {measured.p_value:.4f}, "
        f"level {measured.level:.4f} (look {measured.look})"
    )
    return facts | {"verdict": verdict, "reason": reason, "measured": measured.as_dict()}, proof.files


def _measured(kernel: Kernel, patch: Patch, live: Version, proof: Proof) -> Measurement:
    own = patch.id in kernel.book.drafted()
    look = 1 + len(looks_before(kernel.book, kernel.settings, kernel.as_of, own=own))
    with Candidate(proof.files) as candidate, policy_of(live) as incumbent:
        return measure(candidate, incumbent, kernel.past, look)


def looks_before(book: PatchBook, settings: Settings, as_of: datetime, *, own: bool) -> list[datetime]:
    """When patches were measured on much the same days (half of the window is shared, or more), the oldest first.

    Those that nobody submitted (`own`) count by themselves, and so do people's.
    """
    since, drafted = as_of - timedelta(days=settings.kernel.measure_days / 2), book.drafted()
    return [
        facts["at"]
        for step, facts in book.entries()
        if step == "judged" and facts.get("measured") and facts["at"] >= since and (facts["id"] in drafted) == own
    ]
