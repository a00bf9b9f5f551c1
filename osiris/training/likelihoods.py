"""How likely the replies of a dataset are under a model: means over rows, whatever the size of a batch.

TRL's own figures are means over batches, in which the last, small batch counts as much as a full one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from osiris.core.arrays import FloatArray
from osiris.training.tokens import REPLY_COLUMNS, ChatRow, column_text, token_ids


@dataclass(frozen=True)
class Likelihoods:
    """Log-probabilities of replies, and how often the model would have chosen their tokens.

    `logps` has an array of shape (rows,) for each kind of reply: `chosen`, `rejected` or `reply`. A row's
    log-probability, in nats, is the sum over the tokens of its reply. `hits` of the `tokens` reply tokens were the
    likeliest in their place.
    """

    logps: Mapping[str, FloatArray]
    hits: int
    tokens: int


def measure_likelihoods(model: Any, tokenizer: Any, rows: Sequence[ChatRow], batch_size: int) -> Likelihoods:
    """Score the replies of `rows` (from `apply_chat_format`), `batch_size` at a time.

    The model runs in evaluation mode and is set back to its former mode afterwards.
    """
    import torch

    replies = [(row, name) for row in rows for name in REPLY_COLUMNS if name in row]
    kinds = [_reply_kind(row, name) for row, name in replies]
    texts = [(column_text(row, "prompt"), column_text(row, name)) for row, name in replies]
    was_training = model.training
    scores: list[tuple[float, int, int]] = []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(texts), batch_size):
            scores += _score_replies(model, tokenizer, texts[start : start + batch_size])
    model.train(was_training)
    logps = {
        kind: np.array([logp for of, (logp, *_) in zip(kinds, scores, strict=True) if of == kind])
        for kind in sorted(set(kinds))
    }
    return Likelihoods(logps, sum(hits for _, hits, _ in scores), sum(tokens for *_, tokens in scores))


def row_means(current: Likelihoods, initial: Likelihoods, beta: float) -> dict[str, float]:
    """Means over rows of the model's `current` likelihoods, compared with the `initial` ones before training.

    A reward, as in DPO, is `beta` times the gain of a reply's log-probability.
    """
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
    """For each (question, reply): log-probability of the reply, reply tokens that were the likeliest, reply tokens."""
    token_lists = [token_ids(tokenizer, question + reply) for question, reply in texts]
    lengths = [
        len(ids) - len(token_ids(tokenizer, question)) for ids, (question, _) in zip(token_lists, texts, strict=True)
    ]
    # Padding on the left aligns the ends, where the replies are. So the last max(lengths) + 1 logits suffice for all
    # rows, and positions are counted from the first token that is no padding.
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
        # the logits at one place predict the next token, so they are taken one place earlier than the reply
        reply_ids, scores = ids[-length:], row[-length - 1 : -1].float().log_softmax(-1)
        logp = scores.gather(1, reply_ids[:, None]).double().sum().item()
        found.append((logp, int((scores.argmax(-1) == reply_ids).sum()), length))
    return found
