"""The demo's scripted reviewer, which decides on ideas through `POST /feedback/phi3/` like any client of the API."""

from datetime import datetime

import httpx

from osiris.core.clock import as_utc
from osiris.core.ideas import round_price
from osiris.core.types import Row


def review_ideas(client: httpx.Client, moment: datetime, now: datetime) -> dict[str, int]:
    """Decide, at `now`, on the ideas drafted at `moment`; returns the number of decisions of each kind.

    The candidates of a prompt are ranked by their Hermes score. The best one is approved, the second one is edited, and
    the worst one is rejected. The remaining candidates are left to expire. See `_moved_target` for the edit.
    """
    counts = {"approval": 0, "human_edit": 0, "rejection": 0}  # in the order in which the ranked ideas get them
    answer = client.get("/advice", params={"status": "pending", "since": moment.isoformat(), "limit": 10_000})
    ideas = [
        idea for idea in answer.raise_for_status().json() if as_utc(datetime.fromisoformat(idea["as_of"])) == moment
    ]
    for prompt in sorted({idea["prompt_id"] for idea in ideas}):
        ranked = sorted(
            (idea for idea in ideas if idea["prompt_id"] == prompt),
            key=lambda idea: (-(idea["hermes_score"] or 0), idea["id"]),
        )
        chosen = ranked[:2] + ranked[2:][-1:]  # with two candidates, none is rejected
        for idea, kind in zip(chosen, counts, strict=False):
            _post(client, idea, kind, now)
            counts[kind] += 1
    return counts


def _post(client: httpx.Client, idea: Row, kind: str, now: datetime) -> None:
    content = {"reviewer": "demo", "confidence": idea["confidence"]}
    body = {
        "transaction_id": idea["id"],
        "feedback_type": kind,
        "feedback_content": content | (_moved_target(idea) if kind == "human_edit" else {}),
        "timestamp": now.isoformat(),
        "schema_version": "1.0",
    }
    client.post("/feedback/phi3/", json=body, headers={"Idempotency-Key": f"demo-{idea['id']}"}).raise_for_status()


def _moved_target(idea: Row) -> dict[str, float]:
    """Move the target half an ATR nearer, or half an ATR farther if it is within 1.2 ATR of the entry already."""
    far = abs(idea["target"] - idea["entry"]) > 1.2 * idea["atr"]
    sign = 1 if idea["side"] == "long" else -1
    return {"target": round_price(idea["target"] - (sign if far else -sign) * idea["atr"] / 2)}
