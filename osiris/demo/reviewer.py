"""The demo's scripted reviewer: decides on ideas through `POST /feedback/phi3/`, as a client of the API would."""

from datetime import datetime

import httpx

from osiris.core.clock import as_utc
from osiris.core.ideas import round_price
from osiris.core.types import Row


def review_ideas(client: httpx.Client, moment: datetime, now: datetime) -> dict[str, int]:
    """Decide on the ideas drafted at `moment`, at `now`; returns how many of each kind of feedback.

    Of a prompt's candidates, the best by Hermes is approved, the next one edited (its target half an ATR nearer, or
    farther where it is near already), the worst rejected; the others are left to expire.
    """
    counts = {"approval": 0, "human_edit": 0, "rejection": 0}
    answer = client.get("/advice", params={"status": "pending", "since": moment.isoformat(), "limit": 10_000})
    ideas = [
        idea for idea in answer.raise_for_status().json() if as_utc(datetime.fromisoformat(idea["as_of"])) == moment
    ]
    for prompt in sorted({idea["prompt_id"] for idea in ideas}):
        ranked = sorted(
            (i for i in ideas if i["prompt_id"] == prompt), key=lambda i: (-(i["hermes_score"] or 0), i["id"])
        )
        for idea, kind in zip(ranked[:2] + ranked[2:][-1:], counts, strict=False):
            _post(client, idea, kind, now)
            counts[kind] += 1
    return counts


def _post(client: httpx.Client, idea: Row, kind: str, now: datetime) -> None:
    content = {"reviewer": "demo", "confidence": idea["confidence"]}
    body = {
        "transaction_id": idea["id"],
        "feedback_type": kind,
        "feedback_content": content | (_nearer_target(idea) if kind == "human_edit" else {}),
        "timestamp": now.isoformat(),
        "schema_version": "1.0",
    }
    client.post("/feedback/phi3/", json=body, headers={"Idempotency-Key": f"demo-{idea['id']}"}).raise_for_status()


def _nearer_target(idea: Row) -> dict[str, float]:
    far = abs(idea["target"] - idea["entry"]) > 1.2 * idea["atr"]
    sign = 1 if idea["side"] == "long" else -1
    return {"target": round_price(idea["target"] - (sign if far else -sign) * idea["atr"] / 2)}
