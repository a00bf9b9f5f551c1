"""How a model answers before and after a training, and when what came of the training must never be served."""

import json
import math
from collections.abc import Mapping, Sequence

from osiris.config.settings import Settings
from osiris.llm.generate import Draft, DraftRequest, draft_replies, unconstrained
from osiris.llm.loader import Drafter
from osiris.training.run import sample_evenly

MAX_BEHAVIOUR_PROMPTS = 128
"""Prompts that are asked, evenly taken from those that were trained on."""
MIN_REPLIES = 64
"""Replies that are drawn at least, several a prompt of few: of eight, a single invalid one would be beyond 2 %."""
REDRAW_FACTOR, MIN_REDRAW_SHARE = 3, 0.9
"""Where nearly all are valid but not all, so many times as many replies are drawn again: of 128 from a model of which
97 % are valid, 98 % and more are as often as not."""


def measure_behaviour(drafter: Drafter, rows: Sequence[Mapping[str, str]], settings: Settings) -> dict[str, float]:
    """Shares and means over replies to some prompts of `rows`, which are lines of a training dataset.

    The replies are not bound to their schema: what the training did to their form is to be seen.

    `valid_share` counts replies that are valid at the first attempt, the only one; `long_share` and `reward_to_risk`
    are over the valid ones, and left out where there are none.
    """
    requests = [_request(row) for row in sample_evenly(rows, MAX_BEHAVIOUR_PROMPTS)]
    replies_per_prompt = -(-MIN_REPLIES // len(requests))
    unconstrained_settings = unconstrained(settings)
    once = unconstrained_settings.model_copy(
        update={"model": unconstrained_settings.model.model_copy(update={"retries": 0})}
    )
    drafts = _draw_replies(drafter, requests, replies_per_prompt, once, settings.model.seed)
    if MIN_REDRAW_SHARE <= _valid_share(drafts) < 1:
        drafts += _draw_replies(drafter, requests, REDRAW_FACTOR * replies_per_prompt, once, settings.model.seed + 1)
    replies = [one.reply for one in drafts if one.reply is not None]
    found = {"valid_share": _valid_share(drafts)}
    if replies:
        found["long_share"] = sum(reply.side.sign > 0 for reply in replies) / len(replies)
        found["reward_to_risk"] = sum(reply.target_atr / reply.stop_atr for reply in replies) / len(replies)
    return found


def failure_reason(metrics: Mapping[str, float], settings: Settings) -> str:
    """Why a training failed whose metrics are `before/...` and `after/...`; empty if it did not.

    Where nothing keeps replies to their schema, `training.min_valid_share` of them have to be valid. Where they are
    drawn within it, it is that share of what was valid before, less two standard errors of the share before: the form
    is a sign of damage there, and an adapter of a weak base that kept or mended it is none.
    """
    valid, before = metrics["after/valid_share"], metrics["before/valid_share"]
    is_constrained = settings.model.constrained and settings.llm.backend == "local"
    min_share = settings.training.min_valid_share
    if is_constrained:
        min_share = max(0.0, min_share * before - 2 * math.sqrt(before * (1 - before) / MAX_BEHAVIOUR_PROMPTS))
    if valid < min_share:
        change = f"stayed at {valid:.1%}"
        if valid != before:
            change = f"{'fell' if valid < before else 'rose only'} to {valid:.1%} from {before:.1%}"
        return f"valid replies {change}; at least {min_share:.1%} needed"
    metric_key = "logps/chosen"
    fall = metrics.get(f"before/{metric_key}", 0.0) - metrics.get(f"after/{metric_key}", 0.0)
    if fall > settings.training.max_chosen_fall:
        max_fall = settings.training.max_chosen_fall
        return f"{metric_key} fell by {fall:.1f} nats; at most {max_fall:g} are allowed"
    return ""


def _draw_replies(
    drafter: Drafter, requests: Sequence[DraftRequest], replies_per_prompt: int, settings: Settings, seed: int
) -> list[Draft]:
    return [one for group in draft_replies(drafter, requests, replies_per_prompt, settings, seed) for one in group]


def _valid_share(drafts: Sequence[Draft]) -> float:
    return sum(one.is_valid_at_once for one in drafts) / len(drafts)


def _request(row: Mapping[str, str]) -> DraftRequest:
    return DraftRequest(row["prompt"], json.loads(row.get("good_reply") or row["reply"])["ticker"])
