"""How likely a model thinks the replies that it is trained on: means over rows, whatever the size of a batch.

TRL's own figures are means of batches, in which the last, small batch weighs as much as a full one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from osiris.core.arrays import FloatArray
from osiris.training.tokens import REPLY_COLUMNS, ChatRow, message_text, token_ids


@dataclass(frozen=True)
class Likelihoods:
    """Of each kind of reply (`chosen`, `rejected` or `reply`), a number a row: log-probability in nats.

    `hits` of `tokens` were the likeliest in their place. A row's log-probability is the sum over its reply.
    """

    logps: Mapping[str, FloatArray]
    hits: int
    tokens: int


def measure_likelihoods(model: Any, tokenizer: Any, rows: Sequence[ChatRow], batch_size: int) -> Likelihoods:
    """Read `rows` (of `in_chat`) by the model as it is, `batch` replies at once; its mode is left as it was."""
    import torch

    replies = [
        (_reply_kind(row, name), row["prompt"], row[name]) for row in rows for name in REPLY_COLUMNS if name in row
    ]
    training, found = model.training, []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(replies), batch_size):
            part = replies[start : start + batch_size]
            found += _score_replies(
                model, tokenizer, [(message_text(prompt), message_text(reply)) for _, prompt, reply in part]
            )
    model.train(training)
    kinds = sorted({kind for kind, *_ in replies})
    logps = {
        kind: np.array([logp for (of, *_), (logp, *_) in zip(replies, found, strict=True) if of == kind])
        for kind in kinds
    }
    return Likelihoods(logps, sum(hits for _, hits, _ in found), sum(tokens for *_, tokens in found))


def row_means(current: Likelihoods, initial: Likelihoods, beta: float) -> dict[str, float]:
    """Means over rows; a reward is `beta` times how much likelier a reply is `now` than it was to the model `begun`."""
    if "reply" in current.logps:
        return {
            "logps/reply": float(current.logps["reply"].mean()),
            "mean_token_accuracy": current.hits / current.tokens,
        }
    rewards = {kind: beta * (logps - initial.logps[kind]) for kind, logps in current.logps.items()}
    means = {f"logps/{kind}": float(logps.mean()) for kind, logps in current.logps.items()}
    means |= {f"rewards/{kind}": float(reward.mean()) for kind, reward in rewards.items()}
    if {"chosen", "rejected"} <= rewards.keys():
        means["rewards/margins"] = means["rewards/chosen"] - means["rewards/rejected"]
        if len(rewards["chosen"]) == len(rewards["rejected"]):
            means["rewards/accuracies"] = float((rewards["chosen"] > rewards["rejected"]).mean())
    return means


def _reply_kind(row: ChatRow, name: str) -> str:
    if name != "completion":
        return name
    return "reply" if "label" not in row else "chosen" if row["label"] else "rejected"


def _score_replies(model: Any, tokenizer: Any, texts: Sequence[tuple[str, str]]) -> list[tuple[float, int, int]]:
    """Of each question and reply: log-probability of the reply, tokens that were the likeliest, tokens."""

    token_lists = [token_ids(tokenizer, question + reply) for question, reply in texts]
    lengths = [
        len(ids) - len(token_ids(tokenizer, question)) for ids, (question, _) in zip(token_lists, texts, strict=True)
    ]
    padded = tokenizer.pad({"input_ids": token_lists}, padding_side="left", return_tensors="pt").to(model.device)
    mask = padded["attention_mask"]
    logits = model(
        input_ids=padded["input_ids"],
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        logits_to_keep=max(lengths) + 1,
        use_cache=False,
    ).logits
    found = []
    for row, ids, length in zip(logits, padded["input_ids"], lengths, strict=True):
        reply_ids, scores = ids[-length:], row[-length - 1 : -1].float().log_softmax(-1)
        logp = scores.gather(1, reply_ids[:, None]).double().sum().item()
        found.append((logp, int((scores.argmax(-1) == reply_ids).sum()), length))
    return found
