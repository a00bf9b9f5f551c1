"""How likely the replies of a dataset are under a model: means over rows, whatever the size of a batch.

TRL's own figures are means over batches, in which the last, small batch counts as much as a full one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from osiris.core.arrays import FloatArray
from osiris.llm.completion import position_ids, prefill_cache
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
    """For each (question, reply): log-probability of the reply, reply tokens that were the likeliest, reply tokens.

    A question with several replies is read once. Its last token is read with each reply, whose first it predicts.
    """
    import torch

    questions = list(dict.fromkeys(question for question, _ in texts))
    begins = {question: len(token_ids(tokenizer, question)) - 1 for question in questions}
    whole = [token_ids(tokenizer, question + reply) for question, reply in texts]
    continued = [ids[begins[question] :] for ids, (question, _) in zip(whole, texts, strict=True)]
    asked = [token_ids(tokenizer, question)[:-1] for question in questions]
    read = tokenizer.pad({"input_ids": asked}, padding_side="left", return_tensors="pt").to(model.device)
    written = tokenizer.pad({"input_ids": continued}, padding_side="right", return_tensors="pt").to(model.device)
    places = [questions.index(question) for question, _ in texts]
    mask = torch.cat([read["attention_mask"][places], written["attention_mask"]], 1)
    logits = model(
        input_ids=written["input_ids"],
        attention_mask=mask,
        position_ids=position_ids(mask)[:, read["input_ids"].shape[1] :],
        past_key_values=prefill_cache(model, read["input_ids"], read["attention_mask"], places),
        use_cache=True,
    ).logits
    found = []
    for row, ids in zip(logits, continued, strict=True):
        # the logits at one place predict the next token
        reply_ids = torch.tensor(ids[1:], device=row.device)
        scores = row[: len(reply_ids)].float().log_softmax(-1)
        logp = scores.gather(1, reply_ids[:, None]).double().sum().item()
        found.append((logp, int((scores.argmax(-1) == reply_ids).sum()), len(reply_ids)))
    return found
