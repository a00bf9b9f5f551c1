"""How a model answers before and after a training, and when what came of the training must never be served."""

import json
from collections.abc import Mapping, Sequence

from osiris.llm.generate import DraftRequest, draft, unbound
from osiris.llm.loader import Drafter
from osiris.settings import Settings
from osiris.training.run import evenly

ASKED = 128
"""Prompts that are asked, evenly taken from those that were trained on."""


def behaviour(drafter: Drafter, rows: Sequence[Mapping[str, str]], settings: Settings) -> dict[str, float]:
    """Shares and means over one reply to each of some prompts of `rows`, which are lines of a training dataset.

    The replies are not bound to their schema: what the training did to their form is to be seen.

    `valid_share` counts replies that are valid at the first attempt; `long_share` and `reward_to_risk` are over the
    valid ones, and left out where there are none.
    """
    requests = [_request(row) for row in evenly(rows, ASKED)]
    drafts = [group[0] for group in draft(drafter, requests, 1, unbound(settings), settings.model.seed)]
    replies = [one.reply for one in drafts if one.reply is not None]
    found = {"valid_share": sum(one.valid_at_once for one in drafts) / len(drafts)}
    if replies:
        found["long_share"] = sum(reply.side.sign > 0 for reply in replies) / len(replies)
        found["reward_to_risk"] = sum(reply.target_atr / reply.stop_atr for reply in replies) / len(replies)
    return found


def failure(metrics: Mapping[str, float], settings: Settings) -> str:
    """Why a training failed whose metrics are `before/...` and `after/...`; empty if it did not."""
    valid, least = metrics["after/valid_share"], settings.training.min_valid_share
    if valid < least:
        return (
            f"valid replies fell to {valid:.1%} from {metrics['before/valid_share']:.1%}; at least {least:.0%} needed"
        )
    chosen = "logps/chosen"
    fall = metrics.get(f"before/{chosen}", 0.0) - metrics.get(f"after/{chosen}", 0.0)
    if fall > settings.training.max_chosen_fall:
        most = settings.training.max_chosen_fall
        return f"{chosen} fell by {fall:.1f} nats; at most {most:g} are allowed"
    return ""


def _request(row: Mapping[str, str]) -> DraftRequest:
    return DraftRequest(row["prompt"], json.loads(row.get("good_reply") or row["reply"])["ticker"])
