"""The table of ideas as a widget: columns, rows, keys and the edit form; `static/review_table.js` draws it."""

import math
import time
from datetime import datetime
from typing import Any

import anywidget
import traitlets

from osiris.core.clock import as_utc
from osiris.core.commands import FeedbackType
from osiris.core.ideas import Levels, Status
from osiris.core.types import Row
from osiris.review.queries import SortKey
from osiris.ui.scripts import read_script, read_style

TABLE_LEVELS = ("entry", "target", "stop")


def _column(key: str, label: str = "", sort: SortKey | None = None, numeric: bool = False) -> dict[str, Any]:
    return {"key": key, "label": label or key, "sort": str(sort) if sort else "", "numeric": numeric}


TABLE_COLUMNS = [
    _column("ticker", sort=SortKey.TICKER),
    _column("side", sort=SortKey.SIDE),
    *(_column(name, numeric=True) for name in TABLE_LEVELS),
    _column("ratio", "R:R", SortKey.REWARD_TO_RISK, True),
    _column("rationale"),
    _column("hermes", "Hermes", SortKey.HERMES, True),
    _column("win", "Win %", SortKey.WIN_PROBABILITY, True),
    _column("confidence", sort=SortKey.CONFIDENCE, numeric=True),
    _column("adapter", sort=SortKey.ADAPTER),
    _column("age", sort=SortKey.AS_OF, numeric=True),
    _column("status", sort=SortKey.STATUS),
]


class ReviewTable(anywidget.AnyWidget):
    """A table of texts. Every act of a person arrives by `on_msg` as `{"do": ..., ...}`.

    A decision and a saved edit are to be answered by `confirm_receipt`; the table warns if no answer comes.

    A row is `{id, cells: {column: text}, status, pending, note, tone}`; tone is one of "", saved, waiting, refused.
    `form` is empty or `{id, values, message, ok}`. `dark` is true on a page with a dark background.

    A page can be rendered long before a person opens it, and its rows are out of date by then. So rows are hidden if
    `created_at` (seconds since 1970) is more than a few seconds ago, until `is_fresh` says that they were reloaded.
    """

    _esm = read_script("review_table")
    _css = read_style("review_table")
    columns = traitlets.List(TABLE_COLUMNS).tag(sync=True)
    rows: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    cursor = traitlets.Unicode("").tag(sync=True)
    selected = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sort = traitlets.Unicode(str(SortKey.AS_OF)).tag(sync=True)
    descending = traitlets.Bool(True).tag(sync=True)
    form = traitlets.Dict().tag(sync=True)
    dark = traitlets.Bool(False).tag(sync=True)
    created_at = traitlets.Float().tag(sync=True)
    is_fresh = traitlets.Bool(False).tag(sync=True)

    @traitlets.default("created_at")
    def _now(self) -> float:
        return time.time()

    def request_decision(self, kind: FeedbackType) -> None:
        """Let the browser decide on the rows it shows as selected: `selected` here may lag behind a quick hand."""
        self.send({"do": str(kind)})

    def confirm_receipt(self, ids: list[str]) -> None:
        """Tell the browser that what a person did to these rows has been dealt with; `rows` says how."""
        self.send({"do": "answered", "ids": ids})


def to_table_row(idea: Row, now: datetime, note: str = "", tone: str = "") -> dict[str, Any]:
    """Turn an idea into a row of the table. No decision is possible while one is under way (tone waiting)."""
    return {
        "id": idea["id"],
        "cells": _cells(idea, now),
        "status": idea["status"],
        "pending": idea["status"] == Status.PENDING and tone != "waiting",
        "note": note,
        "tone": tone,
    }


def format_price(value: float) -> str:
    """Format a price for reading.

    From 10 up it has two decimals. Below 10 it has five, since a currency is quoted in pips. Below 0.1, as for small
    coins, it has five significant digits, and at least six decimals.
    """
    size = abs(value)
    decimals = 5
    if size >= 10:
        decimals = 2
    elif 0 < size < 0.1:
        decimals = max(6, 4 - math.floor(math.log10(size)))
    return f"{value:,.{decimals}f}"


def format_age(as_of: str, now: datetime) -> str:
    """Say how long ago `as_of` (ISO 8601) was: in minutes below an hour, in hours below two days, else in days."""
    minutes = max(int((now - as_utc(datetime.fromisoformat(as_of))).total_seconds() // 60), 0)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"


def _cells(idea: Row, now: datetime) -> dict[str, str]:
    levels = Levels(side=idea["side"], **{name: idea[name] for name in TABLE_LEVELS})
    hermes, win = idea["hermes_score"], idea.get("hermes_win_probability")
    ended = f" · {idea['outcome']}" if idea["outcome"] else ""
    return {
        "ticker": idea["ticker"],
        "side": idea["side"],
        **{name: format_price(idea[name]) for name in TABLE_LEVELS},
        "ratio": f"{levels.reward_to_risk:.2f}",
        "rationale": idea["rationale"],
        "hermes": "–" if hermes is None else f"{hermes:.1f}",
        "win": "–" if win is None else f"{100 * win:.0f}",
        "confidence": f"{idea['confidence']:.2f}",
        "adapter": idea["adapter"],
        "age": format_age(idea["as_of"], now),
        "status": idea["status"] + ended,
    }
