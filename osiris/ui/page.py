"""What a page hands to the flow that ran it."""

from typing import Any

from osiris.ui.console import plain

RESULT_TYPE = "application/vnd.osiris.result+json"


def emit(result: Any) -> None:
    """Show `result` (a dataclass or dict of JSON values, moments and paths) and hand it to `run_page`."""
    from IPython.display import publish_display_data

    values = plain(result)
    text = "\n".join(f"{name}: {value}" for name, value in values.items())
    publish_display_data({RESULT_TYPE: values, "text/plain": text})
