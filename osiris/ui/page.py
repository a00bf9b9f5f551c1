"""What a page hands to the flow that ran it."""

from typing import Any

from osiris.ui.console import plain

RESULT_TYPE = "application/vnd.osiris.result+json"


MANY = 8
"""A list or table of more items is shown as their number: ids tell a reader nothing, metrics have a table."""


def _brief(value: Any) -> Any:
    return f"{len(value)} items" if isinstance(value, list | dict) and len(value) > MANY else value


def emit(result: Any) -> None:
    """Show `result` (a dataclass or dict of JSON values, moments and paths) and hand it to `run_page`."""
    from IPython.display import publish_display_data

    values = plain(result)
    text = "\n".join(f"{name}: {_brief(value)}" for name, value in values.items())
    publish_display_data({RESULT_TYPE: values, "text/plain": text})
