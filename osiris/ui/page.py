"""What a page hands to the flow that ran it."""

from typing import Any

from osiris.ui.console import MANY, named_values, plain

RESULT_TYPE = "application/vnd.osiris.result+json"


def _brief(value: Any) -> Any:
    """Of many metrics their number: they have a table of their own on the page."""
    return f"{len(value)} items" if isinstance(value, dict) and len(value) > MANY else value


def emit(result: Any) -> None:
    """Show `result` (a dataclass or dict of JSON values, moments and paths) and hand it to `run_page`."""
    from IPython.display import publish_display_data

    values = plain(result)
    brief = {name: _brief(value) for name, value in values.items()}
    text = "\n".join(f"{name}: {value}" for name, value in named_values(brief))
    publish_display_data({RESULT_TYPE: values, "text/plain": text})
