"""Lineage in both directions: from an adapter to its training data, and from an idea, bar or reviewer to adapters.

It is read from the datasets of the nightly runs, whose hashes are in the cards of the adapters. A dataset that was
changed or lost since is an error; its content is never guessed.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import pandas as pd

from osiris.adapters.registry import AdapterRegistry
from osiris.config.settings import Settings
from osiris.core.clock import VALID_YEARS
from osiris.core.errors import BadInput, NoPrices, NotFound
from osiris.core.ideas import Status, parse_ticker
from osiris.core.types import Row
from osiris.drafting.prompt_form import PromptForm
from osiris.llm.loader import BASE_ADAPTER
from osiris.market.bar_store import BarStore
from osiris.market.calendars import calendar_of, closes_between
from osiris.storage.advice import AdviceStore
from osiris.storage.tables import escape_sql, sql_in
from osiris.training.datasets import dataset_file, read_metadata

HUMAN_SOURCES = ("feedback", "edit", "review")
"""Sources of lines that depend on a person's decision. Other lines depend on one only if the person edited the idea."""
EXPECTED_SUBJECT = "an adapter, the id of an idea, TICKER:YYYY-MM-DD or reviewer:NAME"
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
ROLE_OF_KEY = {"good_id": "good", "bad_id": "bad", "id": "only"}
LINEAGE_COLUMNS = ["id", "ticker", "as_of", "closed_at", "status", "reviewer"]


@dataclass(frozen=True)
class TrainedAdapter:
    """An adapter and its own training data; a line is `{source, id}` or `{source, good_id, bad_id}`."""

    adapter: str
    parent: str | None
    lines: list[dict[str, str]]


class Lineage:
    """The training data of the adapters of a workspace."""

    def __init__(self, registry: AdapterRegistry, advice: AdviceStore, settings: Settings) -> None:
        """Keep the sources; nothing is read yet."""
        self.registry = registry
        self.advice = advice
        self.settings = settings

    def trace_adapter(self, name: str) -> list[Row]:
        """A row for the adapter and each ancestor, itself first: lines, ideas, days, reviewers.

        Raises `NotFound` for an unknown adapter.
        """
        self.registry.path(name)
        return [self._row(one) for one in walk_ancestors(name, self._read_trained)]

    def find_affected(self, subject: str) -> list[Row]:
        """The adapters, newest first, that depend on an idea (its id), a bar (`TICKER:YYYY-MM-DD`) or `reviewer:NAME`.

        Each has a row: `lines` counts those of its own dataset, `through` names the ancestors with such lines. Raises
        `BadInput` for text of another form, `NotFound` for an unknown idea.
        """
        concerns_line = self._line_filter(subject)
        known = {name: self._read_trained(name) for name in self.registry.names()}
        own = {name: sum(map(concerns_line, trained.lines)) for name, trained in known.items()}
        found = []
        for name in known:
            line = [one.adapter for one in walk_ancestors(name, lambda one: known.get(one) or self._read_trained(one))]
            through = [one for one in line[1:] if own[one]]
            if own[name] or through:
                found.append({"adapter": name, "lines": own[name], "through": ", ".join(through)})
        return found

    def _line_filter(self, subject: str) -> Callable[[dict[str, str]], bool]:
        kind, colon, rest = subject.partition(":")
        if kind == "reviewer":
            if not rest.strip():
                raise BadInput(EXPECTED_SUBJECT, repr(subject), "name the reviewer")
            rows = self.advice.rows(f"reviewer = '{escape_sql(rest)}'", LINEAGE_COLUMNS)
            decided = {row["id"] for row in rows}
            edited = {row["id"] for row in rows if row["status"] == Status.EDITED}
            return lambda line: bool(_ids(line) & (decided if line["source"] in HUMAN_SOURCES else edited))
        if colon:
            idea_ids = self._ideas_using_bar(parse_ticker(kind), rest)
            return lambda line: bool(_ids(line) & idea_ids)
        self.advice.get(subject)
        return lambda line: subject in _ids(line)

    def _ideas_using_bar(self, ticker: str, day: str) -> set[str]:
        """The ideas on `ticker` whose prompt or outcome depends on the bar of that day."""
        start = pd.Timestamp(_day(day), tz="UTC")
        calendar = calendar_of(ticker, self.settings.prices)
        sessions = PromptForm(self.settings).look_back
        # a prompt looks back so many sessions, and the bar is in the prompts of that many sessions from its own on
        closes = closes_between(calendar, start, start + timedelta(days=2 * sessions))[:sessions]
        last = closes[-1] if len(closes) else start
        rows = self.advice.rows(f"ticker = '{ticker}'", LINEAGE_COLUMNS)
        return {
            row["id"]
            for row in rows
            if row["as_of"] <= last and (row["closed_at"] is None or row["closed_at"] >= start)
        }

    def _read_trained(self, name: str) -> TrainedAdapter:
        card, dataset = self.registry.validate(name), dataset_file(self.settings, name)
        metadata = read_metadata(dataset)
        if metadata is None:
            raise NotFound(f"what {name} was trained on, {dataset}", "not there", "restore it from a backup")
        if metadata["sha256"] != card.data_hash:
            expected, actual = (sha[:12] for sha in (card.data_hash, metadata["sha256"]))
            raise BadInput(f"the dataset of {name}, sha256 {expected}", f"{actual} in {dataset}", "restore it")
        return TrainedAdapter(name, card.parent, metadata["lineage"])

    def _row(self, trained: TrainedAdapter) -> Row:
        ideas = self.advice.rows(sql_in("id", sorted(set().union(*map(_ids, trained.lines)))), LINEAGE_COLUMNS)
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


def walk_ancestors(name: str, read_adapter: Callable[[str], TrainedAdapter]) -> Iterator[TrainedAdapter]:
    """The adapter of that name, its parent and so on down to the base.

    Raises the errors of `read_adapter`; for a missing ancestor, `NotFound` names its child, too.
    """
    trained = read_adapter(name)
    yield trained
    while trained.parent not in (None, BASE_ADAPTER):
        child, parent = trained.adapter, str(trained.parent)
        try:
            trained = read_adapter(parent)
        except NotFound as error:
            raise NotFound(
                f"{parent}, from which {child} was trained", error.actual, "restore it from a backup"
            ) from error
        yield trained


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text) if ISO_DATE.match(text) else None
    except ValueError:
        day = None
    if day is None or day.year not in VALID_YEARS:
        raise BadInput(EXPECTED_SUBJECT, repr(text), "write the day as 2005-02-28")
    return day


def list_datasets(folder: Path) -> list[Row]:
    """A row for each dataset of pairs, newest first: nightly run, kind, lines, counts by source, cut-off."""
    found = [read_metadata(path.with_suffix(".jsonl")) for path in sorted(folder.glob("pairs-*.json"), reverse=True)]
    return [
        {
            "night": metadata["dataset"].removeprefix("pairs-").removesuffix(".jsonl"),
            "data": metadata["data"],
            "lines": metadata["pairs"],
            "by_source": ", ".join(f"{source} {count}" for source, count in metadata["by_source"].items()),
            "cutoff": metadata["cutoff"],
        }
        for metadata in found
        if metadata is not None
    ]


def explain_pair(advice: AdviceStore, bars: BarStore, folder: Path, nightly_date: str, number: int) -> dict[str, Any]:
    """Line `number` (from 1) of a nightly run's dataset: its `source`, its `ideas` by role, and the `bars` of each.

    The bars are the daily ones from the session before the draft to the end of the trade. Raises `NotFound` for a run
    without a dataset, or a number without a line.
    """
    metadata = read_metadata(folder / f"pairs-{nightly_date}.jsonl")
    if metadata is None:
        nights = ", ".join(row["night"] for row in list_datasets(folder)) or "none yet"
        raise NotFound(f"the dataset of a nightly run ({nights})", nightly_date, "see: osiris pairs list")
    lines = metadata["lineage"]
    if not 1 <= number <= len(lines):
        raise NotFound(f"a line from 1 to {len(lines)}", str(number), "see: osiris pairs list")
    line = lines[number - 1]
    ideas = {role: advice.get(line[key]) for key, role in ROLE_OF_KEY.items() if key in line}
    bars_by_role = {role: _bars(bars, idea) for role, idea in ideas.items()}
    if line["source"] == "edit":
        ideas["bad"] = _as_drafted(advice, ideas["bad"])
    return {"source": line["source"], "ideas": ideas, "bars": bars_by_role}


def _as_drafted(advice: AdviceStore, edited: Row) -> Row:
    """An edited idea with the levels that it was drafted with, and no outcome: that belongs to the edited levels."""
    edits = advice.feedback(f"action = '{Status.EDITED}' AND transaction_id = '{escape_sql(edited['id'])}'")
    originals = [row["original"] for row in edits if row["original"]]
    # the last edit is the one in force; earlier ones were undone
    levels = json.loads(originals[-1]) if originals else {}
    return edited | levels | dict.fromkeys(("outcome", "exit_reason", "closed_at", "r_multiple"))


def _bars(bars: BarStore, idea: Row) -> list[Row]:
    try:
        frame = bars.get(idea["ticker"], idea["as_of"] - timedelta(days=1), idea["closed_at"])
    except NoPrices:
        return []
    shown = frame[["end", "open", "high", "low", "close", "split"]]
    shown = shown.assign(end=[end.isoformat() for end in shown["end"]])
    return cast(list[Row], shown.to_dict("records"))  # the names of all columns are text


def _ids(line: dict[str, str]) -> set[str]:
    return {value for key, value in line.items() if key != "source"}
