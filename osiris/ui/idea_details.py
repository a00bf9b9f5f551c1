"""What stands beside the idea under the cursor: the price with its levels, its siblings, earlier and similar ideas."""

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from osiris.core.types import Row
from osiris.ui.api_client import ServerUnavailable
from osiris.ui.polling import run_in_thread
from osiris.ui.review_table import format_price
from osiris.ui.scripts import read_script, read_style

EMPTY_DETAILS: dict[str, Any] = {"title": "", "picture": b"", "empty_text": "", "tables": []}


class IdeaDetails(anywidget.AnyWidget):
    """A title, a picture (PNG) and small tables; drawn whenever `serial` changes."""

    _esm = read_script("idea_details")
    _css = read_style("idea_details")
    title = traitlets.Unicode("").tag(sync=True)
    picture = traitlets.Bytes(b"").tag(sync=True)
    empty_text = traitlets.Unicode("").tag(sync=True)
    tables = traitlets.List().tag(sync=True)
    serial = traitlets.Int(0).tag(sync=True)

    requested: tuple[str, bool] | None = None

    def show_idea(self, idea: Row | None, ask: Callable[[str], dict[str, Any]], dark: bool) -> None:
        """Show what `ask` (`GET /advice/{id}/beside`) gives for `idea`, drawn beside the kernel's own work.

        A picture takes a tenth of a second; no decision waits for it. Of several asked for, the last one is shown.
        """
        self.requested = (idea["id"], dark) if idea else None
        if idea is None:
            self._set_content(EMPTY_DETAILS)
        else:
            wanted = self.requested
            run_in_thread(
                lambda: _render_details(idea, ask, dark),
                lambda shown: wanted == self.requested and self._set_content(shown),
                lambda error: self._set_content(EMPTY_DETAILS | {"title": f"{idea['ticker']}: {error!r}"}),
            )

    def _set_content(self, shown: dict[str, Any]) -> None:
        with self.hold_sync():
            for name, value in shown.items():
                setattr(self, name, value)
            self.serial += 1


def _render_details(idea: Row, ask: Callable[[str], dict[str, Any]], dark: bool) -> dict[str, Any]:
    from osiris.ui.charts import plot_setup, to_png  # half a second that the table need not wait for

    try:
        details = ask(idea["id"])
    except ServerUnavailable as error:
        return EMPTY_DETAILS | {"title": f"{idea['ticker']}: {error}"}
    bars, drafted = details["bars"], idea["as_of"][:16].replace("T", " ")
    return {
        "title": f"{idea['ticker']} {idea['side']} from {format_price(idea['entry'])}, drafted {drafted} UTC",
        "picture": to_png(plot_setup(bars, idea, details["earlier"], dark)) if bars else b"",
        "empty_text": f"No prices of {idea['ticker']} in the local store.",
        "tables": [
            _table("Other candidates of the same prompt", "None.", details["siblings"], _SIBLING_COLUMNS),
            _table("Similar past ideas", "None with a final outcome yet.", details["similar"], _SIMILAR_COLUMNS),
            _table(f"Earlier ideas on {idea['ticker']}", "None.", details["earlier"], _EARLIER_COLUMNS),
        ],
    }


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _outcome_text(idea: Row) -> str:
    if idea["outcome"] in (None, "open"):
        return idea["outcome"] or "–"
    return f"{idea['outcome']} {idea['r_multiple']:+.2f} R"


def _ratio(idea: Row) -> str:
    return f"{abs(idea['target'] - idea['entry']) / abs(idea['entry'] - idea['stop']):.2f}"


_SIBLING_COLUMNS = {
    "side": lambda i: i["side"],
    "target": lambda i: format_price(i["target"]),
    "stop": lambda i: format_price(i["stop"]),
    "R:R": _ratio,
    "Hermes": lambda i: _score(i["hermes_score"]),
    "status": lambda i: i["status"],
    "ended": _outcome_text,
}
_SIMILAR_COLUMNS = {
    "ticker": lambda i: i["ticker"],
    "side": lambda i: i["side"],
    "drafted": lambda i: i["as_of"][:10],
    "R:R": _ratio,
    "distance": lambda i: f"{i['distance']:.2f}",
    "status": lambda i: i["status"],
    "ended": _outcome_text,
}
_EARLIER_COLUMNS = {
    "drafted": lambda i: i["as_of"][:10],
    "side": lambda i: i["side"],
    "R:R": _ratio,
    "Hermes": lambda i: _score(i["hermes_score"]),
    "status": lambda i: i["status"],
    "ended": _outcome_text,
}


def _table(title: str, empty: str, ideas: list[Row], columns: dict[str, Any]) -> dict[str, Any]:
    rows = [{"cells": [of(idea) for of in columns.values()], "tone": idea["outcome"] or ""} for idea in ideas]
    return {"title": title, "empty": empty, "columns": list(columns), "rows": rows}
