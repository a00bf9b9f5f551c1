"""Lineage both ways: what an adapter was trained on, and which adapters an idea, a bar or a reviewer has touched.

It is read from the datasets of the nights, whose hash the cards of the adapters carry; one that was changed or lost
since is an error, never a guess.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from osiris.adapters import AdapterShelf
from osiris.calendars import calendar_of, sessions_between
from osiris.errors import BadInput, NoPrices, NotFound
from osiris.policy.context import WARM_UP
from osiris.records import Status, ticker_symbol
from osiris.settings import Settings
from osiris.store.advice import AdviceStore
from osiris.store.bars import BarStore
from osiris.store.tables import Row, one_of, quoted

HUMAN = ("feedback", "edit", "review")
"""Lines that rest on what a person decided; others do where the person edited the idea."""
ROLES = {"good_id": "good", "bad_id": "bad", "id": "only"}
IDEA_COLUMNS = ["id", "ticker", "as_of", "closed_at", "status", "reviewer"]


@dataclass(frozen=True)
class Trained:
    """An adapter and what it was trained on itself; a line is `{source, id}` or `{source, good_id, bad_id}`."""

    adapter: str
    parent: str | None
    lines: list[dict[str, str]]

    @property
    def ids(self) -> set[str]:
        """The ideas of all lines."""
        return {value for line in self.lines for key, value in line.items() if key != "source"}


class Lineage:
    """What the adapters of a workspace were trained on."""

    def __init__(self, shelf: AdapterShelf, advice: AdviceStore, settings: Settings) -> None:
        """Read nothing yet."""
        self.shelf, self.advice, self.settings = shelf, advice, settings

    def of_adapter(self, name: str) -> list[Row]:
        """A row for the adapter and each ancestor, itself first: lines, ideas, days, reviewers.

        Raises `NotFound` for an unknown one.
        """
        return [self._row(trained) for trained in self._ancestry(name)]

    def touched(self, what: str) -> list[Row]:
        """Adapters, newest first, that an idea (its id), a bar (`TICKER:YYYY-MM-DD`) or `reviewer:NAME` has touched.

        A row an adapter: `lines` of its own dataset, and `through` the ancestors that have any. Raises `BadInput` for
        what is none of these, `NotFound` for an unknown idea.
        """
        concerns = self._concerns(what)
        own = {
            name: sum(map(concerns, trained.lines)) for name in self.shelf.names() for trained in [self._trained(name)]
        }
        found = []
        for name in self.shelf.names():
            through = [one.adapter for one in self._ancestry(name) if one.adapter != name and own[one.adapter]]
            if own[name] or through:
                found.append({"adapter": name, "lines": own[name], "through": ", ".join(through)})
        return found

    def _concerns(self, what: str) -> Callable[[dict[str, str]], bool]:
        kind, colon, rest = what.partition(":")
        if kind == "reviewer" and rest:
            ideas = {row["id"]: row for row in self.advice.rows(f"reviewer = '{quoted(rest)}'", IDEA_COLUMNS)}
            edited = {key for key, row in ideas.items() if row["status"] == Status.EDITED}
            return lambda line: bool(_ids(line) & (set(ideas) if line["source"] in HUMAN else edited))
        if colon:
            seen = self._that_saw(ticker_symbol(kind), rest)
            return lambda line: bool(_ids(line) & seen)
        self.advice.get(what)
        return lambda line: what in _ids(line)

    def _that_saw(self, ticker: str, day: str) -> set[str]:
        """Ideas on `ticker` whose prompt or outcome rests on the bar of that day."""
        try:
            start = pd.Timestamp(day, tz="UTC")
        except ValueError as error:
            raise BadInput(
                "an adapter, the id of an idea, TICKER:YYYY-MM-DD or reviewer:NAME", day, "correct it"
            ) from error
        calendar = calendar_of(ticker, self.settings.prices)
        closes = sessions_between(calendar, start, start + timedelta(days=2 * WARM_UP))
        last = closes[WARM_UP - 1]
        rows = self.advice.rows(f"ticker = '{ticker}'", IDEA_COLUMNS)
        return {
            row["id"]
            for row in rows
            if row["as_of"] <= last and (row["closed_at"] is None or row["closed_at"] >= start)
        }

    def _ancestry(self, name: str) -> Iterator[Trained]:
        asked: str | None = name
        while asked and asked in self.shelf.names():
            trained = self._trained(asked)
            yield trained
            asked = trained.parent
        if asked == name:
            self.shelf.path(name)

    def _trained(self, name: str) -> Trained:
        card = self.shelf.validate(name)
        kind = "pairs" if name.endswith("-dpo") else "feedback"
        dataset = self.settings.data / "datasets" / f"{kind}-{name[:8]}.jsonl"
        about = dataset.with_suffix(".json")
        if not about.exists():
            raise NotFound(f"what {name} was trained on, {about}", "no such file", "restore it from a backup")
        known = json.loads(about.read_text(encoding="utf-8"))
        if known["sha256"] != card.data_hash:
            raise BadInput(
                f"the dataset of {name}, sha256 {card.data_hash[:12]}",
                f"{known['sha256'][:12]} in {about}",
                "restore it",
            )
        return Trained(name, card.parent, known["lineage"])

    def _row(self, trained: Trained) -> Row:
        ideas = self.advice.rows(one_of("id", sorted(trained.ids)), IDEA_COLUMNS)
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


def datasets(folder: Path) -> list[Row]:
    """A row a dataset of pairs, newest first: night, kind, lines, by source, cut-off."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("pairs-*.json"), reverse=True)]
    return [
        {
            "night": about["dataset"].removeprefix("pairs-").removesuffix(".jsonl"),
            "data": about.get("data", "like"),
            "lines": about["pairs"],
            "by_source": ", ".join(f"{source} {count}" for source, count in about["by_source"].items()),
            "cutoff": about["cutoff"],
        }
        for about in found
    ]


def explain_pair(advice: AdviceStore, bars: BarStore, folder: Path, night: str, number: int) -> dict[str, Any]:
    """A line of a night's dataset (from 1): its `source`, the `ideas` behind it by role, and the `bars` of each.

    The bars are the daily ones from the session before the draft to the end of the trade. Raises `NotFound` for a night
    without a dataset or a line that it has not.
    """
    path = folder / f"pairs-{night}.json"
    if not path.exists():
        nights = ", ".join(row["night"] for row in datasets(folder)) or "none yet"
        raise NotFound(f"the dataset of a night ({nights})", night, "see: osiris pairs list")
    lines = json.loads(path.read_text(encoding="utf-8"))["lineage"]
    if not 1 <= number <= len(lines):
        raise NotFound(f"a line from 1 to {len(lines)}", str(number), "see: osiris pairs list")
    line = lines[number - 1]
    ideas = {role: advice.get(line[key]) for key, role in ROLES.items() if key in line}
    return {
        "source": line["source"],
        "ideas": ideas,
        "bars": {role: _bars(bars, idea) for role, idea in ideas.items()},
    }


def _bars(bars: BarStore, idea: Row) -> list[Row]:
    try:
        frame = bars.get(idea["ticker"], idea["as_of"] - timedelta(days=1), idea["closed_at"])
    except NoPrices:
        return []
    shown = frame[["end", "open", "high", "low", "close", "split"]]
    return shown.assign(end=[end.isoformat() for end in shown["end"]]).to_dict("records")


def _ids(line: dict[str, str]) -> set[str]:
    return {value for key, value in line.items() if key != "source"}
