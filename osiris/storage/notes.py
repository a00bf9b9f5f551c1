"""Notes on tickers: news, filings, dates of earnings, and what a person wants the model to know.

An example: a line `{"at": "2005-01-12T21:30:00+00:00", "ticker": "AAPL", "kind": "earnings", "text": "beat estimates"}`
is shown in prompts about AAPL from 21:30 UTC on, and never before. Notes are kept in one JSON Lines file, which is
replaced as a whole: an import that fails leaves it as it was.
"""

import csv
import io
import json
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from osiris.core.clock import parse_moment
from osiris.core.errors import BadInput, NotFound, OsirisError, WorkspaceError
from osiris.core.files import write_atomically
from osiris.core.ideas import INVISIBLE_CATEGORIES, SYMBOL_PATTERN, stable_hash

EVERY_TICKER = "*"
MAX_KIND_CHARACTERS = 24
MAX_TEXT_CHARACTERS = 20_000
REQUIRED_FIELDS = ("at", "ticker", "text")
OPTIONAL_FIELDS = ("kind", "due")
NOTHING_IMPORTED = "correct the file; nothing was imported"
SAFE_SIGNS = str.maketrans("<>[]{}", "‹›()()")
"""Signs that chat templates, replies and jinja build on; a note must not end the turn of the person who asks."""


@dataclass(frozen=True)
class Note:
    """One note. `at` is the moment from which on it was known; `due` is the moment that it announces, if any.

    `ticker` is a symbol, or `*` for all tickers. `text` is one line without control characters.
    """

    at: datetime
    ticker: str
    kind: str
    text: str
    due: datetime | None = None

    @property
    def id(self) -> str:
        """The identity of the note, 16 hex digits. A note that is imported twice is stored once."""
        parts = (self.at.isoformat(), self.ticker, self.kind, self.text, self.due.isoformat() if self.due else "")
        return stable_hash(*parts)[:16]


@dataclass(frozen=True)
class NotesReport:
    """What an import did."""

    read: int
    added: int
    known: int
    tickers: list[str]

    @property
    def headline(self) -> str:
        """The result in a sentence."""
        return f"{self.added} of {self.read} notes are new, on {', '.join(self.tickers) or 'no ticker'}."


class NoteStore:
    """The notes of one workspace, in the file `data/notes.jsonl`."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`; the first import creates it."""
        self.path = path

    def add(self, notes: Sequence[Note]) -> NotesReport:
        """Store the notes that are not there yet, all of them or none."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f"{self.path.name}.lock")):
            stored = {note.id: note for note in self.read()}
            merged = stored | {note.id: note for note in notes}
            ordered = sorted(merged.values(), key=lambda note: (note.at, note.ticker, note.id))
            added = len(merged) - len(stored)
            if added:
                write_atomically(self.path, "".join(_to_line(note) for note in ordered))
        return NotesReport(len(notes), added, len(notes) - added, sorted({note.ticker for note in notes}))

    def remove(self, note_id: str) -> Note:
        """Remove one note and return it; raises `NotFound` for an unknown id."""
        with FileLock(self.path.with_name(f"{self.path.name}.lock")):
            stored = {note.id: note for note in self.read()}
            if note_id not in stored:
                raise NotFound("the id of a note", repr(note_id), "list them with: osiris notes list")
            removed = stored.pop(note_id)
            write_atomically(self.path, "".join(map(_to_line, stored.values())))
            return removed

    def read(self) -> list[Note]:
        """All notes, the oldest first; raises `WorkspaceError` for a line that cannot be read."""
        if not self.path.exists():
            return []
        try:
            return [parse_note(json.loads(line)) for line in self.path.read_text(encoding="utf-8").split("\n") if line]
        except (OSError, ValueError, OsirisError) as error:
            raise WorkspaceError(
                f"notes in {self.path}", " ".join(str(error).split()), "restore the file from a backup, or remove it"
            ) from error


class NoteIndex:
    """Notes by ticker and time, so that one of many prompts finds its own at once."""

    def __init__(self, notes: Iterable[Note]) -> None:
        """Sort the notes."""
        self._by_ticker: dict[str, list[Note]] = {}
        for note in sorted(notes, key=lambda note: (note.at, note.id)):
            self._by_ticker.setdefault(note.ticker, []).append(note)

    def find(self, ticker: str, after: datetime, until: datetime) -> list[Note]:
        """The notes on `ticker` or on all tickers with `after` < `at` <= `until`, the newest first."""
        known: list[Note] = []
        for subject in dict.fromkeys((ticker, EVERY_TICKER)):
            notes = self._by_ticker.get(subject, [])
            begin, end = (bisect_right(notes, moment, key=lambda note: note.at) for moment in (after, until))
            known += notes[begin:end]
        return sorted(known, key=lambda note: (note.at, note.id), reverse=True)


def read_note_file(path: Path) -> list[Note]:
    """Read a CSV file with a header, or JSON Lines (`.jsonl`, `.ndjson`).

    Its fields are `at`, `ticker` and `text`, and perhaps `kind` and `due`.
    Raises `BadInput` with the number of the first row that is not a note; then no note is read.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("a file of notes in UTF-8", f"{path}: {error}", "name another file") from error
    is_json = path.suffix.lower() in (".jsonl", ".ndjson")
    notes = []
    for number, row in _json_rows(content) if is_json else _csv_rows(content):
        try:
            notes.append(parse_note(json.loads(row) if isinstance(row, str) else row))
        except (OsirisError, ValueError) as error:
            raise BadInput(
                f"a note in line {number} of {path.name}",
                " ".join(str(error).split()),
                NOTHING_IMPORTED,
            ) from error
    return notes


def parse_note(row: Any) -> Note:
    """Read one note from its fields; raises `BadInput` for what is missing, unknown or wrong."""
    if not isinstance(row, dict):
        raise BadInput("an object with the fields of a note", repr(row)[:80], "write at, ticker and text")
    given = {key: value for key, value in row.items() if value not in (None, "")}
    if unknown := sorted(str(key) for key in given if key not in REQUIRED_FIELDS + OPTIONAL_FIELDS):
        raise BadInput(
            f"the fields {', '.join(REQUIRED_FIELDS)} and perhaps {', '.join(OPTIONAL_FIELDS)}",
            f"the field {unknown[0]}",
            "rename or remove it",
        )
    for name in REQUIRED_FIELDS:
        if name not in given:
            raise BadInput(f"the field {name}", "none", "add it")
    if wrong := next((name for name, value in given.items() if not isinstance(value, str)), None):
        raise BadInput(f"a text as {wrong}", repr(given[wrong])[:80], "put it in quotes")
    ticker = given["ticker"].strip().upper()
    if ticker != EVERY_TICKER and not SYMBOL_PATTERN.match(ticker):
        raise BadInput(f"a ticker, or {EVERY_TICKER} for all", repr(given["ticker"]), "correct it")
    text, kind = clean_text(given["text"]), clean_text(given.get("kind", "note"))
    if not text or len(text) > MAX_TEXT_CHARACTERS:
        raise BadInput(f"a text of 1 to {MAX_TEXT_CHARACTERS} visible characters", f"{len(text)}", "shorten it")
    if not kind or len(kind) > MAX_KIND_CHARACTERS:
        raise BadInput(f"a kind of 1 to {MAX_KIND_CHARACTERS} visible characters", repr(kind), "shorten it")
    due = given.get("due")
    return Note(parse_moment(given["at"]), ticker, kind, text, parse_moment(due) if due else None)


def clean_text(text: str) -> str:
    """Return a text in one line, without invisible signs and without signs that a chat template builds on."""
    visible = "".join(" " if unicodedata.category(sign) in INVISIBLE_CATEGORIES else sign for sign in text)
    return re.sub(r"\s+", " ", visible).strip().translate(SAFE_SIGNS)


def _to_line(note: Note) -> str:
    fields = asdict(note) | {"at": note.at.astimezone(UTC).isoformat()}
    fields["due"] = note.due.astimezone(UTC).isoformat() if note.due else None
    return json.dumps(fields, ensure_ascii=False) + "\n"


def _json_rows(content: str) -> Iterable[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip())


def _csv_rows(content: str) -> Iterable[tuple[int, dict[str, str]]]:
    """The rows of a CSV file by the line on which each ends; raises `BadInput` without the columns of a note."""
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    names = [name.strip().lower() for name in reader.fieldnames or []]
    if missing := [name for name in REQUIRED_FIELDS if name not in names]:
        raise BadInput(
            f"a header with {', '.join(REQUIRED_FIELDS)}",
            f"one without {missing[0]}",
            NOTHING_IMPORTED,
        )
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise BadInput("a header with each name once", f"{repeated[0]} twice", NOTHING_IMPORTED)
    reader.fieldnames = names
    try:
        for row in reader:
            if None in row or None in row.values():
                raise BadInput(
                    f"{len(names)} fields in line {reader.line_num}",
                    "more or fewer",
                    f"put a text with commas in quotes; {NOTHING_IMPORTED}",
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise BadInput(f"CSV up to line {reader.line_num}", str(error), NOTHING_IMPORTED) from error
