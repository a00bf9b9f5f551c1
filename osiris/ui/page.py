"""What a page hands to the flow that ran it."""

import json
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

RESULT_TYPE = "application/vnd.osiris.result+json"


def emit(result: Any) -> None:
    """Show `result` (a dataclass or dict of JSON values and datetimes) and hand it to `run_page`."""
    from IPython.display import publish_display_data

    values = asdict(result) if is_dataclass(result) else dict(result)
    clean = json.loads(json.dumps(values, default=_plain, allow_nan=False))
    text = "\n".join(f"{name}: {value}" for name, value in clean.items())
    publish_display_data({RESULT_TYPE: clean, "text/plain": text})


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a page emits JSON values and datetimes, got {type(value).__name__}")
