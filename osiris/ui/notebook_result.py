"""The result that a notebook hands to the flow that ran it."""

from typing import Any

from osiris.ui.console import MAX_LISTED_ITEMS, named_values, to_json_values

RESULT_MEDIA_TYPE = "application/vnd.osiris.result+json"


def _brief(value: Any) -> Any:
    """Show a dict of many metrics as their number: the notebook has a table of them."""
    return f"{len(value)} items" if isinstance(value, dict) and len(value) > MAX_LISTED_ITEMS else value


def emit(result: Any) -> None:
    """Show `result` (a dataclass or dict of JSON values, moments and paths) and hand it to `run_notebook`."""
    from IPython.display import publish_display_data

    values = to_json_values(result)
    brief = {name: _brief(value) for name, value in values.items()}
    text = "\n".join(f"{name}: {value}" for name, value in named_values(brief))
    publish_display_data({RESULT_MEDIA_TYPE: values, "text/plain": text})
