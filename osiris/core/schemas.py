"""The Arrow schemas of the stored records; see design section 3 for what each column means."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

VECTOR_SIZE = 16


def advice_schema() -> "pa.Schema":
    """Schema of an idea; `price` and `atr` (last close and ATR at `as_of`) recover the levels as drafted.

    `basis_at` is the end of the last bar the model saw: the levels are in its price basis. `close_asked_*` is a
    person's word to close the trade by hand: when, at which price (null: what trades next), who.
    """
    import pyarrow as pa

    time, text, number = pa.timestamp("us", "UTC"), pa.string(), pa.float64()
    fields: dict[str, pa.DataType] = {
        "prompt_id": text, "as_of": time, "created_at": time, "ticker": text, "side": text,
        "entry": number, "target": number, "stop": number, "price": number, "atr": number, "basis_at": time,
        "confidence": number, "size": number, "rationale": text, "prompt": text, "reply": text,
        "model": text, "adapter": text, "policy": text, "patch_id": text,
        "hermes_raw": pa.int64(), "hermes_score": number, "hermes_note": text,
        "decision_latency_ms": number, "novelty": number, "vector": pa.list_(pa.float32(), VECTOR_SIZE),
        "status": text, "status_at": time, "reviewer": text,
        "close_asked_at": time, "close_asked_price": number, "close_asked_by": text,
        "outcome": text, "exit_reason": text, "close_price": number, "closed_at": time,
        "r_multiple": number, "ambiguous": pa.bool_(), "shadow": pa.bool_(), "open_reason": text,
        "event_id": text, "published_at": time,
    }  # fmt: skip
    return pa.schema([_key("id"), *(pa.field(name, kind) for name, kind in fields.items())])


def feedback_schema() -> "pa.Schema":
    """Schema of one decision; `feedback_content` is JSON, `action` the status it asked for.

    `original` is JSON too: the levels and the confidence that the idea had before.
    """
    import pyarrow as pa

    names = ["transaction_id", "feedback_type", "feedback_content", "action", "reviewer", "schema_version", "original"]
    times = [pa.field(name, pa.timestamp("us", "UTC")) for name in ("timestamp", "ts")]
    return pa.schema([_key("idempotency_key"), *(pa.field(name, pa.string()) for name in names), *times])


def _key(name: str) -> "pa.Field":
    import pyarrow as pa

    return pa.field(name, pa.string(), nullable=False, metadata={b"lance-schema:unenforced-primary-key": b"true"})
