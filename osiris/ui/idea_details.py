"""What stands beside the idea under the cursor: the price with its levels, its siblings, earlier and similar ideas."""

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from osiris.ui.api_client import Away, Idea
from osiris.ui.polling import beside_the_loop
from osiris.ui.review_table import price
from osiris.ui.scripts import script, style

NOTHING: dict[str, Any] = {"title": "", "picture": b"", "without": "", "tables": []}


class Dossier(anywidget.AnyWidget):
    """A title, a picture (PNG) and small tables; drawn whenever `serial` changes."""

    _esm = script("dossier")
    _css = style("dossier")
    title = traitlets.Unicode("").tag(sync=True)
    picture = traitlets.Bytes(b"").tag(sync=True)
    without = traitlets.Unicode("").tag(sync=True)
    tables = traitlets.List().tag(sync=True)
    serial = traitlets.Int(0).tag(sync=True)

    wanted: tuple[str, bool] | None = None

    def follow(self, idea: Idea | None, ask: Callable[[str], dict[str, Any]], dark: bool) -> None:
        """Show what `ask` (`GET /advice/{id}/beside`) gives for `idea`, drawn beside the kernel's own work.

        A picture takes a tenth of a second; no decision waits for it. Of several asked for, the last one is shown.
        """
        self.wanted = (idea["id"], dark) if idea else None
        if idea is None:
            self._put(NOTHING)
        else:
            wanted = self.wanted
            beside_the_loop(
                lambda: _drawn(idea, ask, dark),
                lambda shown: wanted == self.wanted and self._put(shown),
                lambda error: self._put(NOTHING | {"title": f"{idea['ticker']}: {error!r}"}),
            )

    def _put(self, shown: dict[str, Any]) -> None:
        with self.hold_sync():
            for name, value in shown.items():
                setattr(self, name, value)
            self.serial += 1


def _drawn(idea: Idea, ask: Callable[[str], dict[str, Any]], dark: bool) -> dict[str, Any]:
    from osiris.ui.charts import png, setup  # half a second that the table need not wait for

    try:
        beside = ask(idea["id"])
    except Away as error:
        return NOTHING | {"title": f"{idea['ticker']}: {error}"}
    bars, drafted = beside["bars"], idea["as_of"][:16].replace("T", " ")
    return {
        "title": f"{idea['ticker']} {idea['side']} from {price(idea['entry'])}, drafted {drafted} UTC",
        "picture": png(setup(bars, idea, beside["earlier"], dark)) if bars else b"",
        "without": f"No prices of {idea['ticker']} in the local store.",
        "tables": [
            _table("Other candidates of the same prompt", "None.", beside["siblings"], _SIBLING),
            _table("Similar past ideas", "None with a final outcome yet.", beside["similar"], _SIMILAR),
            _table(f"Earlier ideas on {idea['ticker']}", "None.", beside["earlier"], _EARLIER),
        ],
    }


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _ending(idea: Idea) -> str:
    if idea["outcome"] in (None, "open"):
        return idea["outcome"] or "–"
    return f"{idea['outcome']} {idea['r_multiple']:+.2f} R"


def _ratio(idea: Idea) -> str:
    return f"{abs(idea['target'] - idea['entry']) / abs(idea['entry'] - idea['stop']):.2f}"


_SIBLING = {
    "side": lambda i: i["side"],
    "target": lambda i: price(i["target"]),
    "stop": lambda i: price(i["stop"]),
    "R:R": _ratio,
    "Hermes": lambda i: _score(i["hermes_score"]),
    "status": lambda i: i["status"],
    "ended": _ending,
}
_SIMILAR = {
    "ticker": lambda i: i["ticker"],
    "side": lambda i: i["side"],
    "drafted": lambda i: i["as_of"][:10],
    "R:R": _ratio,
    "distance": lambda i: f"{i['distance']:.2f}",
    "status": lambda i: i["status"],
    "ended": _ending,
}
_EARLIER = {
    "drafted": lambda i: i["as_of"][:10],
    "side": lambda i: i["side"],
    "R:R": _ratio,
    "Hermes": lambda i: _score(i["hermes_score"]),
    "status": lambda i: i["status"],
    "ended": _ending,
}


def _table(title: str, empty: str, ideas: list[Idea], columns: dict[str, Any]) -> dict[str, Any]:
    rows = [{"cells": [of(idea) for of in columns.values()], "tone": idea["outcome"] or ""} for idea in ideas]
    return {"title": title, "empty": empty, "columns": list(columns), "rows": rows}
