"""Lineage both ways: what an adapter was trained on, and which adapters an idea, a bar or a reviewer has touched.

It is read from the datasets of the nights, whose hash the cards of the adapters carry; one that was changed or lost
since is an error, never a guess.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from osiris.adapters.registry import AdapterShelf
from osiris.config.settings import Settings
from osiris.core.clock import YEARS
from osiris.core.errors import BadInput, NoPrices, NotFound
from osiris.core.ideas import Status, ticker_symbol
from osiris.llm.loader import BASE
from osiris.market.bar_store import BarStore
from osiris.market.calendars import calendar_of, sessions_between
from osiris.policy.contracts import WARM_UP
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import Row, one_of, quoted
from osiris.training.datasets import dataset_of, told_of

HUMAN = ("feedback", "edit", "review")
"""Lines that rest on what a person decided; others do where the person edited the idea."""
ASKED = "an adapter, the id of an idea, TICKER:YYYY-MM-DD or reviewer:NAME"
DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
ROLES = {"good_id": "good", "bad_id": "bad", "id": "only"}
IDEA_COLUMNS = ["id", "ticker", "as_of", "closed_at", "status", "reviewer"]


@dataclass(frozen=True)
class Trained:
    """An adapter and what it was trained on itself; a line is `{source, id}` or `{source, good_id, bad_id}`."""

    adapter: str
    parent: str | None
    lines: list[dict[str, str]]


class Lineage:
    """What the adapters of a workspace were trained on."""

    def __init__(self, shelf: AdapterShelf, advice: AdviceStore, settings: Settings) -> None:
        """Read nothing yet."""
        self.shelf, self.advice, self.settings = shelf, advice, settings

    def of_adapter(self, name: str) -> list[Row]:
        """A row for the adapter and each ancestor, itself first: lines, ideas, days, reviewers.

        Raises `NotFound` for an unknown one.
        """
        self.shelf.path(name)
        return [self._row(one) for one in ancestry(name, self._trained)]

    def touched(self, what: str) -> list[Row]:
        """Adapters, newest first, that an idea (its id), a bar (`TICKER:YYYY-MM-DD`) or `reviewer:NAME` has touched.

        A row an adapter: `lines` of its own dataset, and `through` the ancestors that have any. Raises `BadInput` for
        what is none of these, `NotFound` for an unknown idea.
        """
        concerns = self._concerns(what)
        known = {name: self._trained(name) for name in self.shelf.names()}
        own = {name: sum(map(concerns, trained.lines)) for name, trained in known.items()}
        found = []
        for name in known:
            line = [one.adapter for one in ancestry(name, lambda one: known.get(one) or self._trained(one))]
            through = [one for one in line[1:] if own[one]]
            if own[name] or through:
                found.append({"adapter": name, "lines": own[name], "through": ", ".join(through)})
        return found

    def _concerns(self, what: str) -> Callable[[dict[str, str]], bool]:
        kind, colon, rest = what.partition(":")
        if kind == "reviewer":
            if not rest.strip():
                raise BadInput(ASKED, repr(what), "name the reviewer")
            rows = self.advice.rows(f"reviewer = '{quoted(rest)}'", IDEA_COLUMNS)
            decided = {row["id"] for row in rows}
            edited = {row["id"] for row in rows if row["status"] == Status.EDITED}
            return lambda line: bool(_ids(line) & (decided if line["source"] in HUMAN else edited))
        if colon:
            seen = self._that_saw(ticker_symbol(kind), rest)
            return lambda line: bool(_ids(line) & seen)
        self.advice.get(what)
        return lambda line: what in _ids(line)

    def _that_saw(self, ticker: str, day: str) -> set[str]:
        """Ideas on `ticker` whose prompt or outcome rests on the bar of that day."""
        start = pd.Timestamp(_day(day), tz="UTC")
        calendar = calendar_of(ticker, self.settings.prices)
        closes = sessions_between(calendar, start, start + timedelta(days=2 * WARM_UP))[:WARM_UP]
        last = closes[-1] if len(closes) else start
        rows = self.advice.rows(f"ticker = '{ticker}'", IDEA_COLUMNS)
        return {
            row["id"]
            for row in rows
            if row["as_of"] <= last and (row["closed_at"] is None or row["closed_at"] >= start)
        }

    def _trained(self, name: str) -> Trained:
        card, dataset = self.shelf.validate(name), dataset_of(self.settings, name)
        about = told_of(dataset)
        if about is None:
            raise NotFound(f"what {name} was trained on, {dataset}", "not there", "restore it from a backup")
        if about["sha256"] != card.data_hash:
            expected, came = (sha[:12] for sha in (card.data_hash, about["sha256"]))
            raise BadInput(f"the dataset of {name}, sha256 {expected}", f"{came} in {dataset}", "restore it")
        return Trained(name, card.parent, about["lineage"])

    def _row(self, trained: Trained) -> Row:
        ideas = self.advice.rows(one_of("id", sorted(set().union(*map(_ids, trained.lines)))), IDEA_COLUMNS)
        sources, days = [line["source"] for line in trained.lines], [row["as_of"] for row in ideas]
        return {
            "adapter": trained.adapter,
            "parent": trained.parent,
            "lines": len(trained.lines),
            "by_source": ", ".join(f"{source} {sources.count(source)}" for source in sorted(set(sources))),
            "ideas": len(ideas),
            "tickers": len({row["ticker"] for row in ideas}),
            "days": f"{min(days):%Y-%m-%d} to {max(days):%Y-%m-%d}" if days else "",
            "reviewers": ", ".join(sorted({row["reviewer"] for row in ideas if row["reviewer"]})),
        }


def ancestry(name: str, find: Callable[[str], Trained]) -> Iterator[Trained]:
    """The adapter of that name, its parent and so on to the base; raises what `find` does for one that is not there."""
    trained = find(name)
    yield trained
    while trained.parent not in (None, BASE):
        child, parent = trained.adapter, str(trained.parent)
        try:
            trained = find(parent)
        except NotFound as error:
            raise NotFound(
                f"{parent}, from which {child} was trained", error.came, "restore it from a backup"
            ) from error
        yield trained


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text) if DAY.match(text) else None
    except ValueError:
        day = None
    if day is None or day.year not in YEARS:
        raise BadInput(ASKED, repr(text), "write the day as 2005-02-28")
    return day


def datasets(folder: Path) -> list[Row]:
    """A row a dataset of pairs, newest first: night, kind, lines, by source, cut-off."""
    found = [told_of(path.with_suffix(".jsonl")) for path in sorted(folder.glob("pairs-*.json"), reverse=True)]
    return [
        {
            "night": about["dataset"].removeprefix("pairs-").removesuffix(".jsonl"),
            "data": about["data"],
            "lines": about["pairs"],
            "by_source": ", ".join(f"{source} {count}" for source, count in about["by_source"].items()),
            "cutoff": about["cutoff"],
        }
        for about in found
        if about is not None
    ]


def explain_pair(advice: AdviceStore, bars: BarStore, folder: Path, night: str, number: int) -> dict[str, Any]:
    """A line of a night's dataset (from 1): its `source`, the `ideas` behind it by role, and the `bars` of each.

    The bars are the daily ones from the session before the draft to the end of the trade. Raises `NotFound` for a night
    without a dataset or a line that it has not.
    """
    about = told_of(folder / f"pairs-{night}.jsonl")
    if about is None:
        nights = ", ".join(row["night"] for row in datasets(folder)) or "none yet"
        raise NotFound(f"the dataset of a night ({nights})", night, "see: osiris pairs list")
    lines = about["lineage"]
    if not 1 <= number <= len(lines):
        raise NotFound(f"a line from 1 to {len(lines)}", str(number), "see: osiris pairs list")
    line = lines[number - 1]
    ideas = {role: advice.get(line[key]) for key, role in ROLES.items() if key in line}
    shown = {role: _bars(bars, idea) for role, idea in ideas.items()}
    if line["source"] == "edit":
        ideas["bad"] = _as_drafted(advice, ideas["bad"])
    return {"source": line["source"], "ideas": ideas, "bars": shown}


def _as_drafted(advice: AdviceStore, edited: Row) -> Row:
    """An edited idea with the levels that it was drafted with, which no outcome speaks of."""
    edits = advice.feedback(f"action = '{Status.EDITED}' AND transaction_id = '{quoted(edited['id'])}'")
    kept = [row["original"] for row in edits if row["original"]]  # the last: it stands, whatever was undone before
    levels = json.loads(kept[-1]) if kept else {}
    return edited | levels | dict.fromkeys(("outcome", "exit_reason", "closed_at", "r_multiple"))


def _bars(bars: BarStore, idea: Row) -> list[Row]:
    try:
        frame = bars.get(idea["ticker"], idea["as_of"] - timedelta(days=1), idea["closed_at"])
    except NoPrices:
        return []
    shown = frame[["end", "open", "high", "low", "close", "split"]]
    return shown.assign(end=[end.isoformat() for end in shown["end"]]).to_dict("records")


def _ids(line: dict[str, str]) -> set[str]:
    return {value for key, value in line.items() if key != "source"}
