"""An idea between its draft and the store: the moment it was drafted at, the reply, the score, the size.

An example: for AAPL at one close the drafter writes three replies, of which two are valid. They are two `DraftedIdea`s
of one snapshot. Hermes and the policy add their part to each, and `to_row` makes of it what the store keeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from osiris.core.ideas import Reply, Status, advice_id, levels_from_reply
from osiris.core.schemas import VECTOR_SIZE
from osiris.core.types import Row
from osiris.drafting.memory import MAX_VECTOR_FEATURES
from osiris.drafting.snapshot import Snapshot
from osiris.llm.generate import Draft
from osiris.llm.hermes import JudgedIdea
from osiris.llm.models import AnyDrafter
from osiris.llm.scores import Score
from osiris.policy.contracts import Policy, PolicyInput


@dataclass
class DraftedIdea:
    """A valid reply to the prompt of a snapshot. `sample` is its number among the replies, from 0.

    `text` is the reply as it was written, and `reply` what was read in it. Until Hermes and the policy are asked,
    `score` and `size` are `None`. `win_probability` is the forecast from the score, `None` if too few outcomes are
    known. `passes` says whether the risk filter lets it through to the reviewers.
    """

    snapshot: Snapshot
    sample: int
    text: str
    reply: Reply
    score: Score | None = None
    judge: str | None = None
    win_probability: float | None = None
    size: float | None = None
    passes: bool = True

    @property
    def as_of(self) -> datetime:
        """The moment of the draft."""
        return self.snapshot.as_of

    @property
    def judged(self) -> JudgedIdea:
        """The idea as Hermes reads it."""
        return JudgedIdea(proposal=self.text, context=self.snapshot.text)

    @property
    def vector(self) -> list[float]:
        """The vector of the idea, `VECTOR_SIZE` numbers."""
        return [float(value) for value in idea_vector(self.snapshot.vector, self.reply)]

    def ask_policy(self, policy: Policy) -> None:
        """Let the policy set the size, and say whether the idea passes."""
        score = self.score.normalized if self.score else None
        asked = to_policy_input(self.snapshot, self.reply, score)
        self.size, self.passes = policy.size(asked), policy.passes(asked)


def read_drafts(snapshots: Sequence[Snapshot], drafts: Sequence[Sequence[Draft]]) -> list[DraftedIdea]:
    """The valid replies of each snapshot's group of drafts, in order."""
    return [
        DraftedIdea(snapshot, sample, draft.text, draft.reply)
        for snapshot, group in zip(snapshots, drafts, strict=True)
        for sample, draft in enumerate(group)
        if draft.reply is not None
    ]


def to_row(idea: DraftedIdea, drafter: AnyDrafter, policy: Policy, novelty: float | None, latency_ms: float) -> Row:
    """The idea as a row of the advice table.

    `novelty` is its distance to the nearest earlier idea, or `None` without one. `latency_ms` is the wall clock from
    the first snapshot of the run until it was decided on.
    """
    snapshot, reply = idea.snapshot, idea.reply
    levels, score = levels_from_reply(reply, snapshot.price, snapshot.atr), idea.score
    return {
        "id": advice_id(snapshot.features_prompt, drafter.adapter, idea.sample, snapshot.as_of),
        "prompt_id": snapshot.prompt_id,
        "as_of": snapshot.as_of,
        "created_at": snapshot.as_of + timedelta(milliseconds=latency_ms),
        "ticker": snapshot.ticker,
        "side": str(reply.side),
        "entry": levels.entry,
        "target": levels.target,
        "stop": levels.stop,
        "basis_at": snapshot.basis_at,
        "price": snapshot.price,
        "atr": snapshot.atr,
        "confidence": reply.confidence,
        "size": idea.size,
        "rationale": reply.rationale,
        "prompt": snapshot.prompt,
        "prompt_version": snapshot.prompt_version,
        "reply": idea.text,
        "model": drafter.name,
        "adapter": drafter.adapter,
        "policy": policy.commit,
        "patch_id": policy.patch_id,
        "hermes_raw": score.raw if score else None,
        "hermes_score": score.normalized if score else None,
        "hermes_expected": score.expected if score else None,
        "hermes_number_probability": score.number_probability if score else None,
        "hermes_win_probability": idea.win_probability,
        "judge": idea.judge,
        "hermes_note": (score.note or None) if score else None,
        "novelty": novelty,
        "decision_latency_ms": latency_ms,
        "vector": idea.vector,
        "status": str(Status.PENDING if idea.passes else Status.GATED),
        "status_at": None if idea.passes else snapshot.as_of,
        "shadow": True,
    }


def to_policy_input(snapshot: Snapshot, reply: Reply, hermes_score: float | None) -> PolicyInput:
    """A drafted reply as the risk filter and the sizing see it."""
    values = {feature.name: feature.value for feature in snapshot.features}
    return PolicyInput(reply.side.sign, reply.target_atr, reply.stop_atr, reply.confidence, hermes_score, values)


def idea_vector(features: np.ndarray, reply: Reply) -> np.ndarray:
    """Vector of an idea, float32 (16,): up to 8 features, then side, target, stop, reward-to-risk, confidence.

    Every number lies in -1..1, so that none dominates the distance between two ideas. The last three are always zero.
    """
    vector = np.zeros(VECTOR_SIZE, np.float32)
    vector[: len(features)] = features[:MAX_VECTOR_FEATURES]
    reward_to_risk = np.tanh(np.log(reply.target_atr / reply.stop_atr))
    distances = np.tanh([reply.target_atr / 4, reply.stop_atr / 4])  # 4 ATR become 0.76, and no distance exceeds 1
    vector[MAX_VECTOR_FEATURES : MAX_VECTOR_FEATURES + 5] = [
        reply.side.sign,
        *distances,
        reward_to_risk,
        reply.confidence,
    ]
    return vector
