"""Hand-made workspaces and ideas, so that a test says only what it is about."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa

from osiris.adapters.manifest import CONFIG_FILE, WEIGHTS_FILE
from osiris.config.settings import load_settings
from osiris.core.ideas import Side, prompt_id, stable_hash
from osiris.core.schemas import advice_schema
from osiris.storage.advice import AdviceStore
from osiris.storage.journal import Journal

MOMENT = datetime(2005, 2, 25, 21, tzinfo=UTC)
"""`as_of` of a hand-made idea: a Friday's close."""
DECIDED_AT = MOMENT + timedelta(hours=1)
"""When a hand-made decision was made."""


def bars_as_of(frame, as_of):
    """The bars that were complete at a moment, reindexed from 0: what a snapshot may see, in the plainest way."""
    return frame[frame["end"] <= pd.Timestamp(as_of)].reset_index(drop=True)


def idea(**changes):
    """A complete pending idea: long AAPL from 100, target 106, stop 97, ATR 2; `number` tells ideas apart."""
    number, as_of = changes.pop("number", 0), changes.get("as_of", MOMENT)
    ticker, side = changes.get("ticker", "AAPL"), Side(changes.get("side", "long"))
    prompt = f"Ticker: {ticker}\nmomentum up {number}"
    row = {
        "id": stable_hash("idea", prompt, as_of),
        "prompt_id": prompt_id(prompt, as_of),
        "as_of": as_of,
        "created_at": as_of,
        "ticker": ticker,
        "side": str(side),
        "entry": 100.0,
        "target": 100.0 + side.sign * 6,
        "stop": 100.0 - side.sign * 3,
        "price": 100.0,
        "atr": 2.0,
        "confidence": 0.6,
        "size": 0.01,
        "rationale": "momentum is up and the range is calm",
        "prompt": prompt,
        "reply": "{}",
        "model": "starter",
        "adapter": "base",
        "policy": "builtin",
        "patch_id": None,
        "hermes_raw": 7,
        "hermes_score": 0.7,
        "hermes_note": None,
        "decision_latency_ms": 12.5,
        "novelty": 0.5,
        "vector": [0.1] * 16,
        "status": "pending",
        "status_at": None,
        "reviewer": None,
        **dict.fromkeys(("prompt_version", "hermes_expected", "hermes_number_probability")),
        **dict.fromkeys(("hermes_win_probability", "judge")),
        **dict.fromkeys(("basis_at", "close_asked_at", "close_asked_price", "close_asked_by")),
        **dict.fromkeys(("outcome", "exit_reason", "close_price", "closed_at", "r_multiple", "ambiguous")),
        "shadow": True,
        **dict.fromkeys(("open_reason", "event_id", "published_at")),
    }
    return row | changes


def ideas(count, **changes):
    """`count` different ideas."""
    return [idea(number=number, **changes) for number in range(count)]


def decision(row, key="key", action="approved", reviewer="ann", content="{}"):
    """A row of the feedback on an idea, as `AdviceStore.decide` takes it."""
    return {
        "idempotency_key": key,
        "transaction_id": row["id"],
        "feedback_type": "approval",
        "feedback_content": content,
        "action": action,
        "reviewer": reviewer,
        "schema_version": "1.0",
        "timestamp": DECIDED_AT,
        "ts": DECIDED_AT,
        "original": '{"entry": 100.0, "target": 106.0, "stop": 97.0, "confidence": 0.6}',
    }


def decision_changes(action="approved", reviewer="ann", **levels):
    """What that decision changes of the idea."""
    return {"status": action, "status_at": DECIDED_AT, "reviewer": reviewer, "shadow": False, **levels}


def with_changes(changes):
    """What `AdviceStore.decide` asks for: the same changes whatever the idea."""
    return lambda idea: changes


def outcome_table(*rows):
    """Outcome columns as `AdviceStore.settle` takes them."""
    return pa.Table.from_pylist(rows, schema=pa.schema([advice_schema().field(name) for name in rows[0]]))


def make_store(folder: Path) -> AdviceStore:
    """The advice store of a workspace folder, opened as a process of its own would."""
    return AdviceStore(folder / "data" / "advice.lancedb", Journal(folder / "data" / "journal.jsonl"))


def make_workspace(folder: Path, toml: str = "", as_of: datetime | None = MOMENT):
    """A workspace in `folder` with this `osiris.toml`, on a clock that stands at `as_of` (`None`: the system's)."""
    from osiris.workspace import open_workspace

    (folder / "osiris.toml").write_text(toml)
    return open_workspace(folder, as_of)


def make_settings(folder: Path, toml: str = ""):
    """The settings of a workspace in `folder` with this `osiris.toml`."""
    (folder / "osiris.toml").write_text(toml)
    return load_settings(folder)


def trained_adapter(folder: Path, value: float = 0.5, alpha: float = 32) -> Path:
    """A folder as a training leaves it: one LoRA pair whose weights are all `value`."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    stem = "base_model.model.model.layers.0.self_attn.o_proj"
    half = {f"{stem}.lora_A.weight": (16, 32), f"{stem}.lora_B.weight": (32, 16)}
    save_file({key: np.full(shape, value, np.float32) for key, shape in half.items()}, folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(json.dumps({"peft_type": "LORA", "r": 16, "lora_alpha": alpha}))
    return folder


def random_adapter(folder: Path, seed: int) -> Path:
    """A folder with a LoRA adapter for the starter, of random weights strong enough to change what it writes."""
    import torch
    from peft import LoraConfig, get_peft_model

    from osiris.config.settings import Settings
    from osiris.llm.loader import load_drafter

    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(load_drafter(Settings()).model, config).save_pretrained(folder)
    return folder


def adapter_card(**changes) -> dict:
    """What an adapter is published with."""
    night = datetime(2005, 3, 1, 22, tzinfo=UTC)
    return {"parent": None, "data_hash": "d", "recipe": "dpo", "recipe_hash": "r", "as_of": night} | changes
