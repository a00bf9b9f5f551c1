"""The table of ideas as a widget: columns, rows, keys and the edit form; `review_table.js` draws it."""

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
    _column("confidence", sort=SortKey.CONFIDENCE, numeric=True),
    _column("adapter", sort=SortKey.ADAPTER),
    _column("age", sort=SortKey.AS_OF, numeric=True),
    _column("status", sort=SortKey.STATUS),
]


class ReviewTable(anywidget.AnyWidget):
    """Rows of texts; what a person does arrives by `on_msg` as `{"do": ..., ...}`.

    A row is `{id, cells: {column: text}, status, pending, note, tone}`, tone one of "", saved, waiting, refused.
    `form` is empty or `{id, values, message, ok}`. `dark` says whether the page is.
    Rows of a table `created_at` (seconds since 1970) long before it is opened are hidden until they are `is_fresh`.
    """

    _esm = read_script("review_table")
    _css = read_style("review_table")
    columns = traitlets.List(TABLE_COLUMNS).tag(sync=True)
    rows = traitlets.List().tag(sync=True)
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
        """Have the page decide on what it shows as selected: `selected` here may lag behind a quick hand."""
        self.send({"do": str(kind)})


def to_table_row(idea: Row, now: datetime, note: str = "", tone: str = "") -> dict[str, Any]:
    """An idea as a row of the table; one with a decision under way (tone waiting) cannot be decided on."""
    return {
        "id": idea["id"],
        "cells": _cells(idea, now),
        "status": idea["status"],
        "pending": idea["status"] == Status.PENDING and tone != "waiting",
        "note": note,
        "tone": tone,
    }


def format_price(value: float) -> str:
    """A price for reading: two decimals from 10 up, five below (a currency's pips), five digits below 0.1 (coins)."""
    small = 0 < abs(value) < 0.1
    decimals = 2 if abs(value) >= 10 else max(6, 4 - math.floor(math.log10(abs(value)))) if small else 5
    return f"{value:,.{decimals}f}"


def format_age(as_of: str, now: datetime) -> str:
    """How long ago `as_of` (ISO 8601) was, in its largest unit."""
    minutes = max(int((now - as_utc(datetime.fromisoformat(as_of))).total_seconds() // 60), 0)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"


def _cells(idea: Row, now: datetime) -> dict[str, str]:
    levels = Levels(side=idea["side"], **{name: idea[name] for name in TABLE_LEVELS})
    hermes = idea["hermes_score"]
    ended = f" · {idea['outcome']}" if idea["outcome"] else ""
    return {
        "ticker": idea["ticker"],
        "side": idea["side"],
        **{name: format_price(idea[name]) for name in TABLE_LEVELS},
        "ratio": f"{levels.reward_to_risk:.2f}",
        "rationale": idea["rationale"],
        "hermes": "–" if hermes is None else f"{hermes:.1f}",
        "confidence": f"{idea['confidence']:.2f}",
        "adapter": idea["adapter"],
        "age": format_age(idea["as_of"], now),
        "status": idea["status"] + ended,
    }
