"""How a model replies before and after a training, and when the trained adapter must never be served."""

import json
import math
from collections.abc import Mapping, Sequence

from osiris.config.settings import Settings
from osiris.llm.generate import Draft, DraftRequest, draft_replies, unconstrained
from osiris.llm.loader import Drafter
from osiris.training.run import sample_evenly

MAX_BEHAVIOUR_PROMPTS = 128
"""The most prompts that are drafted on, taken at even distances from those that were trained on."""
MIN_REPLIES = 64
"""The fewest replies that are drawn, several for each prompt of a small dataset. Among eight replies, a single invalid
one would already be more than 2 %."""
REDRAW_FACTOR = 3
"""How many times the first number of replies is drawn again where the first share is not clear enough. For example, if
97 % of a model's replies are valid, then 128 replies show 98 % or more about every other time."""
MIN_REDRAW_SHARE = 0.9
"""The share of valid replies from which on, below 100 %, replies are drawn again."""


def measure_behaviour(drafter: Drafter, rows: Sequence[Mapping[str, str]], settings: Settings) -> dict[str, float]:
    """Shares and means over replies to some prompts of `rows`, which are lines of a training dataset.

    Decoding is not constrained to the schema, because the form of the replies shows whether the training damaged it.

    `valid_share` counts replies that are valid at the first attempt; there is no second one. `long_share` and
    `reward_to_risk` are means over the valid replies, and left out if there are none.
    """
    requests = [_request(row) for row in sample_evenly(rows, MAX_BEHAVIOUR_PROMPTS)]
    replies_per_prompt = -(-MIN_REPLIES // len(requests))
    unconstrained_settings = unconstrained(settings)
    once = unconstrained_settings.with_model(retries=0)
    drafts = _draw_replies(drafter, requests, replies_per_prompt, once, settings.model.seed)
    if MIN_REDRAW_SHARE <= _valid_share(drafts) < 1:
        drafts += _draw_replies(drafter, requests, REDRAW_FACTOR * replies_per_prompt, once, settings.model.seed + 1)
    replies = [one.reply for one in drafts if one.reply is not None]
    metrics = {"valid_share": _valid_share(drafts)}
    if replies:
        metrics["long_share"] = sum(reply.side.sign > 0 for reply in replies) / len(replies)
        metrics["reward_to_risk"] = sum(reply.target_atr / reply.stop_atr for reply in replies) / len(replies)
    return metrics


def failure_reason(metrics: Mapping[str, float], settings: Settings) -> str:
    """Why a training with the metrics `before/...` and `after/...` failed; empty if it did not.

    Without constrained decoding, at least `training.min_valid_share` of the replies have to be valid. With it, a valid
    form is not needed, but its loss is a sign of damage. Then the limit is that share of the share before the training,
    less two standard errors. So an adapter over a weak base does not fail if it kept or improved the form.
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
    drafter: Drafter, requests: list[DraftRequest], replies_per_prompt: int, settings: Settings, seed: int
) -> list[Draft]:
    return [one for group in draft_replies(drafter, requests, replies_per_prompt, settings, seed) for one in group]


def _valid_share(drafts: Sequence[Draft]) -> float:
    return sum(one.is_valid_at_once for one in drafts) / len(drafts)


def _request(row: Mapping[str, str]) -> DraftRequest:
    return DraftRequest(row["prompt"], json.loads(row.get("good_reply") or row["reply"])["ticker"])
