"""The stored columns of ideas and decisions: their types, and what each of them means."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

VECTOR_SIZE = 16

ADVICE_COLUMNS = {
    "id": ("key", "Hash of the ticker, its features, the adapter, the number of the sample and `as_of`."),
    "prompt_id": (
        "text",
        "Hash of the ticker, its features and `as_of`. Candidates that were drawn from one prompt share it.",
    ),
    "as_of": ("time", "The moment up to which the model saw bars."),
    "created_at": ("time", "The moment at which the idea was stored."),
    "ticker": ("text", "The symbol. Code writes it, not the model."),
    "side": ("text", "`long` or `short`."),
    "entry": ("number", "The price at which the trade is to be entered."),
    "target": ("number", "The price at which a win is taken."),
    "stop": ("number", "The price at which a loss is taken."),
    "price": ("number", "The last close at `as_of`. With `atr` the drafted levels can be computed again."),
    "atr": ("number", "The average true range at `as_of`, in the currency of the price."),
    "basis_at": ("time", "The end of the last bar that the model saw. The levels are in the price basis of that bar."),
    "confidence": ("number", "How sure the model is, 0 to 1."),
    "size": ("number", "The fraction of equity that is lost when the stop is hit."),
    "rationale": ("text", "The reason that the model gave."),
    "prompt": ("text", "The prompt, as the model got it."),
    "prompt_version": (
        "text",
        "Hash of the templates and of the settings of the blocks that the prompt was made with.",
    ),
    "reply": ("text", "The JSON of the model, as it wrote it."),
    "model": ("text", "The base model that drafted the idea."),
    "adapter": ("text", "The adapter on that model, `base` for none."),
    "policy": ("text", "The commit of the policy that filtered and sized the idea."),
    "patch_id": ("text", "The patch that is live in that policy; null for the shipped policy."),
    "hermes_raw": (
        "integer",
        "The number that Hermes gave, 0 to 10: the likeliest one. Null if a number is too unlikely.",
    ),
    "hermes_score": ("number", "`hermes_raw` divided by 10."),
    "hermes_expected": (
        "number",
        "The mean of the number that Hermes would say, 0 to 10, by its own probabilities; null if they are unknown.",
    ),
    "hermes_number_probability": ("number", "The probability that Hermes would say a number from 0 to 10 at all."),
    "hermes_win_probability": (
        "number",
        "The share of wins among earlier ideas of that score, a forecast; null if too few of them had ended.",
    ),
    "judge": ("text", "The model that scored the idea."),
    "hermes_note": ("text", "Why there is no score, where there is none."),
    "decision_latency_ms": ("number", "The time from the snapshot to the stored idea, in milliseconds."),
    "novelty": ("number", "The distance to the nearest earlier idea in `vector`; null for the first one."),
    "vector": ("vector", "The features of the prompt and the reply as numbers, for the search of neighbours."),
    "status": (
        "text",
        "`gated` (kept back by the risk filter), `pending`, `approved`, `rejected`, `edited` or `expired`.",
    ),
    "status_at": ("time", "The moment of that status. An accepted idea counts from it on."),
    "reviewer": ("text", "The person whose decision it was."),
    "close_asked_at": ("time", "The moment at which a person asked to close the trade by hand."),
    "close_asked_price": ("number", "The price that the person gave; null means the next price that trades."),
    "close_asked_by": ("text", "The person who asked for it."),
    "outcome": ("text", "`open`, `win`, `loss` or `breakeven`; null before the first settlement."),
    "exit_reason": ("text", "`target`, `stop`, `expiry` or `manual`."),
    "close_price": ("number", "The price at which the trade ended, in the price basis of that moment."),
    "closed_at": ("time", "The moment at which the trade ended."),
    "r_multiple": ("number", "The profit divided by the initial risk, |entry - stop|."),
    "ambiguous": ("flag", "The bars do not tell which level was touched first; the worse result was taken."),
    "shadow": ("flag", "Nobody accepted the idea. Its outcome is known, but it is no profit."),
    "open_reason": ("text", "Why the outcome is still open, for example a session without bars."),
    "event_id": ("text", "The id of the event `advice.outcome`; readers drop repeats by it."),
    "published_at": ("time", "The moment at which Redis confirmed that event."),
}
"""The columns of `advice`, one row an idea: the kind of each, and its meaning."""

FEEDBACK_COLUMNS = {
    "idempotency_key": ("key", "The key of the request. A request that is sent twice is stored once."),
    "transaction_id": ("text", "The id of the idea."),
    "feedback_type": ("text", "The kind of the request: an approval, a rejection, an edit, an undo."),
    "feedback_content": ("text", "The content of the request, as JSON."),
    "action": ("text", "The status that the decision asked for."),
    "reviewer": ("text", "The person who decided."),
    "schema_version": ("text", "The version of the format of the request."),
    "original": ("text", "The levels and the confidence that the idea had before the decision, as JSON."),
    "timestamp": ("time", "The moment that the client gave."),
    "ts": ("time", "The moment at which the server stored the decision."),
}
"""The columns of `feedback`, one row a decision, never changed: the kind of each, and its meaning."""


def advice_schema() -> "pa.Schema":
    """One row for each idea; later steps change its status and its outcome."""
    return _schema(ADVICE_COLUMNS)


def feedback_schema() -> "pa.Schema":
    """One row for each decision of a person; no row is ever changed."""
    return _schema(FEEDBACK_COLUMNS)


def _schema(columns: dict[str, tuple[str, str]]) -> "pa.Schema":
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = {
        "key": pa.string(),
        "text": pa.string(),
        "number": pa.float64(),
        "integer": pa.int64(),
        "flag": pa.bool_(),
        "time": pa.timestamp("us", "UTC"),
        "vector": pa.list_(pa.float32(), VECTOR_SIZE),
    }
    # LanceDB finds the row to merge into by this mark; a key is never null.
    mark = {b"lance-schema:unenforced-primary-key": b"true"}
    return pa.schema(
        [
            pa.field(name, kinds[kind], nullable=kind != "key", metadata=mark if kind == "key" else None)
            for name, (kind, _) in columns.items()
        ]
    )
