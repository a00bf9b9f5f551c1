"""How a model answers before and after a training, and when what came of the training must never be served."""

import json
import math
from collections.abc import Mapping, Sequence

from osiris.config.settings import Settings
from osiris.llm.generate import Draft, DraftRequest, draft, unbound
from osiris.llm.loader import Drafter
from osiris.training.run import evenly

ASKED = 128
"""Prompts that are asked, evenly taken from those that were trained on."""
LEAST = 64
"""Replies that are drawn at least, several a prompt of few: of eight, a single invalid one would be beyond 2 %."""
AGAIN, NEARLY_ALL = 3, 0.9
"""Where nearly all are valid but not all, so many times as many replies are drawn again: of 128 from a model of which
97 % are valid, 98 % and more are as often as not."""


def behaviour(drafter: Drafter, rows: Sequence[Mapping[str, str]], settings: Settings) -> dict[str, float]:
    """Shares and means over replies to some prompts of `rows`, which are lines of a training dataset.

    The replies are not bound to their schema: what the training did to their form is to be seen.

    `valid_share` counts replies that are valid at the first attempt, the only one; `long_share` and `reward_to_risk`
    are over the valid ones, and left out where there are none.
    """
    requests = [_request(row) for row in evenly(rows, ASKED)]
    each = -(-LEAST // len(requests))
    free = unbound(settings)
    once = free.model_copy(update={"model": free.model.model_copy(update={"retries": 0})})
    drafts = _drawn(drafter, requests, each, once, settings.model.seed)
    if NEARLY_ALL <= _valid_share(drafts) < 1:
        drafts += _drawn(drafter, requests, AGAIN * each, once, settings.model.seed + 1)
    replies = [one.reply for one in drafts if one.reply is not None]
    found = {"valid_share": _valid_share(drafts)}
    if replies:
        found["long_share"] = sum(reply.side.sign > 0 for reply in replies) / len(replies)
        found["reward_to_risk"] = sum(reply.target_atr / reply.stop_atr for reply in replies) / len(replies)
    return found


def failure(metrics: Mapping[str, float], settings: Settings) -> str:
    """Why a training failed whose metrics are `before/...` and `after/...`; empty if it did not.

    Where nothing keeps replies to their schema, `training.min_valid_share` of them have to be valid. Where they are
    drawn within it, it is that share of what was valid before, less two standard errors of the share before: the form
    is a sign of damage there, and an adapter of a weak base that kept or mended it is none.
    """
    valid, before = metrics["after/valid_share"], metrics["before/valid_share"]
    kept = settings.model.bound and settings.llm.backend == "local"
    least = settings.training.min_valid_share
    if kept:
        least = max(0.0, least * before - 2 * math.sqrt(before * (1 - before) / ASKED))
    if valid < least:
        moved = f"stayed at {valid:.1%}"
        if valid != before:
            moved = f"{'fell' if valid < before else 'rose only'} to {valid:.1%} from {before:.1%}"
        return f"valid replies {moved}; at least {least:.1%} needed"
    chosen = "logps/chosen"
    fall = metrics.get(f"before/{chosen}", 0.0) - metrics.get(f"after/{chosen}", 0.0)
    if fall > settings.training.max_chosen_fall:
        most = settings.training.max_chosen_fall
        return f"{chosen} fell by {fall:.1f} nats; at most {most:g} are allowed"
    return ""


def _drawn(drafter: Drafter, requests: Sequence[DraftRequest], each: int, settings: Settings, seed: int) -> list[Draft]:
    return [one for group in draft(drafter, requests, each, settings, seed) for one in group]


def _valid_share(drafts: Sequence[Draft]) -> float:
    return sum(one.valid_at_once for one in drafts) / len(drafts)


def _request(row: Mapping[str, str]) -> DraftRequest:
    return DraftRequest(row["prompt"], json.loads(row.get("good_reply") or row["reply"])["ticker"])
