"""The result that a notebook hands to the flow that ran it."""

from collections.abc import Sequence
from html import escape
from typing import Any

from osiris.ui.console import MAX_LISTED_ITEMS, named_values, to_json_values, to_printable

RESULT_MEDIA_TYPE = "application/vnd.osiris.result+json"
HEADLINE_STYLE = "border-left: 4px solid #3b6fc8; padding-left: 0.6em; font-size: 1.3em; font-weight: 600"


def _brief(value: Any) -> Any:
    """Show a dict of many metrics as their number: the notebook has a table of them."""
    return f"{len(value)} items" if isinstance(value, dict) and len(value) > MAX_LISTED_ITEMS else value


def emit(result: Any) -> None:
    """Show `result` and hand it to `run_notebook`: its headline, its notes, then its numbers.

    `result` is a dataclass or a dict of JSON values, moments and paths. The headline is its attribute `headline`, or
    else its value `note`.
    """
    from IPython.display import publish_display_data

    values = to_json_values(result)
    headline = to_printable(getattr(result, "headline", None) or values.get("note") or "")
    notes = [to_printable(note) for note in values.get("notes") or []]
    brief = {name: _brief(value) for name, value in values.items() if name not in ("note", "notes")}
    rows = named_values(brief)
    text = "\n".join([headline, *notes, *(f"{name}: {value}" for name, value in rows)]).strip()
    shown = {"text/html": _to_html(headline, notes, rows), "text/plain": text}
    publish_display_data({RESULT_MEDIA_TYPE: values, **shown})


def _to_html(headline: str, notes: Sequence[str], rows: Sequence[tuple[str, str]]) -> str:
    """The same without a background or ink of its own, for light and dark pages."""
    parts = [f'<p style="{HEADLINE_STYLE}">{escape(headline)}</p>'] if headline else []
    parts += [f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"] if notes else []
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return "".join([*parts, f"<details><summary>numbers</summary><table>{''.join(cells)}</table></details>"])
