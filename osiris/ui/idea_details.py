"""The details of the idea under the cursor: the price with its levels, its siblings, earlier and similar ideas."""

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
    """A title, a picture (PNG) and small tables. The browser draws them whenever `serial` changes.

    `requested` is the idea, and the theme, that was asked for last.
    """

    _esm = read_script("idea_details")
    _css = read_style("idea_details")
    title = traitlets.Unicode("").tag(sync=True)
    picture = traitlets.Bytes(b"").tag(sync=True)
    empty_text = traitlets.Unicode("").tag(sync=True)
    tables: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    serial = traitlets.Int(0).tag(sync=True)

    requested: tuple[str, bool] | None = None

    def show_idea(self, idea: Row | None, ask: Callable[[str], dict[str, Any]], dark: bool) -> None:
        """Show the details of `idea` that `ask` returns (`GET /advice/{id}/details`).

        A picture takes a tenth of a second. It is drawn in a thread, so that no decision waits for it. If several ideas
        are requested meanwhile, only the last one is shown.
        """
        request = (idea["id"], dark) if idea else None
        self.requested = request
        if idea is None:
            self._set_content(EMPTY_DETAILS)
            return

        def show_result(content: dict[str, Any]) -> None:
            if request == self.requested:
                self._set_content(content)

        run_in_thread(
            lambda: _render_details(idea, ask, dark),
            show_result,
            lambda error: self._set_content(EMPTY_DETAILS | {"title": f"{idea['ticker']}: {error!r}"}),
        )

    def _set_content(self, content: dict[str, Any]) -> None:
        with self.hold_sync():  # one message to the browser for all of them
            for name, value in content.items():
                setattr(self, name, value)
            self.serial += 1


def _render_details(idea: Row, ask: Callable[[str], dict[str, Any]], dark: bool) -> dict[str, Any]:
    from osiris.ui.charts import plot_setup, to_png  # takes half a second, and the table need not wait for it

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
    "side": lambda idea: idea["side"],
    "target": lambda idea: format_price(idea["target"]),
    "stop": lambda idea: format_price(idea["stop"]),
    "R:R": _ratio,
    "Hermes": lambda idea: _score(idea["hermes_score"]),
    "status": lambda idea: idea["status"],
    "ended": _outcome_text,
}
_SIMILAR_COLUMNS = {
    "ticker": lambda idea: idea["ticker"],
    "side": lambda idea: idea["side"],
    "drafted": lambda idea: idea["as_of"][:10],
    "R:R": _ratio,
    "distance": lambda idea: f"{idea['distance']:.2f}",
    "status": lambda idea: idea["status"],
    "ended": _outcome_text,
}
_EARLIER_COLUMNS = {
    "drafted": lambda idea: idea["as_of"][:10],
    "side": lambda idea: idea["side"],
    "R:R": _ratio,
    "Hermes": lambda idea: _score(idea["hermes_score"]),
    "status": lambda idea: idea["status"],
    "ended": _outcome_text,
}


def _table(title: str, empty: str, ideas: list[Row], columns: dict[str, Any]) -> dict[str, Any]:
    rows = [{"cells": [text(idea) for text in columns.values()], "tone": idea["outcome"] or ""} for idea in ideas]
    return {"title": title, "empty": empty, "columns": list(columns), "rows": rows}
