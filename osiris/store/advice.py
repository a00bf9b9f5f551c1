"""The advice store: LanceDB tables `advice` (one row an idea) and `feedback` (append-only), behind a journal.

Every change is checked under one file lock, journaled durably, then applied to LanceDB by a compare-and-set on a subset
of columns; a whole row is never written back. The journal is the truth: what a crash left unapplied is applied when the
store is next opened or written to, and a table whose newest version is damaged or lost is rebuilt from it.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from osiris.errors import Conflict, NotFound
from osiris.records import Status
from osiris.schemas import advice_schema, feedback_schema

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from osiris.store.journal import Journal

Row = dict[str, Any]
PENDING = "status = 'pending'"
UNSETTLED = "(outcome IS NULL OR outcome = 'open')"


class _Tables(NamedTuple):
    advice: Any
    feedback: Any


class AdviceStore:
    """Reads and writes ideas and feedback of one workspace."""

    def __init__(self, folder: Path, journal: "Journal") -> None:
        """Use the LanceDB database in `folder`; nothing is opened or made before the first use."""
        self.folder, self.journal = folder, journal
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder.with_name("advice.lock"))
        self._applied_path = folder.with_name("advice.applied")

    # -- writing ------------------------------------------------------------------------------------------------------

    def add(self, rows: Sequence[Row]) -> int:
        """Store drafted ideas; an id that exists is left alone. Returns how many were new."""
        with self._writing():
            known = self._ids()
            fresh = list({row["id"]: row for row in rows if row["id"] not in known}.values())
            return self._commit("drafted", fresh)

    def decide(self, decision: Row, changes: Row) -> Row:
        """Store one decision on a pending idea: the `feedback` row and the `changes` of the idea's columns.

        A repeat of the same idempotency key with the same content returns the idea unchanged. Raises `NotFound` for an
        unknown idea, and `Conflict` when it was decided already (naming who, what and when) or the key was used for
        something else.
        """
        with self._writing():
            idea = self.get(decision["transaction_id"])
            earlier = self.feedback(f"idempotency_key = '{quoted(decision['idempotency_key'])}'")
            if earlier:
                _same_decision(earlier[0], decision)
                return idea
            if idea["status"] != Status.PENDING:
                raise Conflict(
                    "a pending idea",
                    f"one {idea['status']} by {idea['reviewer'] or 'the review deadline'} at {idea['status_at']}",
                    "reload the table",
                )
            self._commit("decided", [{"decision": decision, "changes": {"id": idea["id"], **changes}}])
            return self.get(idea["id"])

    def expire(self, ids: Iterable[str], at: datetime) -> int:
        """Mark ideas that are still pending as expired; returns how many were."""
        with self._writing():
            pending = self._ids(PENDING) & set(ids)
            rows = [{"id": i, "status": Status.EXPIRED, "status_at": at} for i in sorted(pending)]
            return self._commit("expired", rows)

    def settle(self, rows: Sequence[Row]) -> int:
        """Write outcomes (`id` and outcome columns) of ideas that have no final one; returns how many were written."""
        with self._writing():
            unsettled = self._ids(UNSETTLED)
            return self._commit("settled", [row for row in rows if row["id"] in unsettled])

    def mark_published(self, ids: Sequence[str], at: datetime) -> None:
        """Note that the outcome events of `ids` were delivered. Not journaled: consumers drop a repeated event."""
        with self._writing():
            if ids:
                rows = [{"id": i, "published_at": at} for i in ids]
                _set(self._tables.advice, rows, "target.published_at IS NULL")

    def optimize(self) -> None:
        """Compact both tables and drop versions older than an hour."""
        with self._writing():
            for table in self._tables:
                table.optimize(cleanup_older_than=timedelta(hours=1))

    # -- reading ------------------------------------------------------------------------------------------------------

    def get(self, idea: str) -> Row:
        """Return one idea; raises `NotFound`."""
        rows = self.rows(f"id = '{quoted(idea)}'")
        if not rows:
            raise NotFound("the id of an idea", repr(idea), "list them with GET /advice")
        return rows[0]

    def rows(self, where: str | None = None, columns: Sequence[str] | None = None) -> list[Row]:
        """Return ideas as dicts, by `as_of` then `id`; `where` is SQL over the columns."""
        return self._sorted(where, columns).to_pylist()

    def frame(self, where: str | None = None, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Return ideas as a data frame, by `as_of` then `id`."""
        return self._sorted(where, columns).to_pandas()

    def count(self, where: str | None = None) -> int:
        """Return the number of ideas."""
        return self._tables.advice.count_rows(where)

    def feedback(self, where: str | None = None) -> list[Row]:
        """Return decisions as dicts, by `ts`."""
        return _scan(self._tables.feedback, where).sort_by("ts").to_pylist()

    def feedback_given(self, key: str) -> bool:
        """Whether a decision with this idempotency key is stored."""
        return self._tables.feedback.count_rows(f"idempotency_key = '{quoted(key)}'") > 0

    def nearest(self, vector: Iterable[float], where: str, limit: int) -> list[Row]:
        """Return the ideas nearest to `vector` (L2; squared distance in `_distance`), nearest first."""
        return self._tables.advice.search(list(vector)).where(where, prefilter=True).limit(limit).to_list()

    def _sorted(self, where: str | None, columns: Sequence[str] | None) -> "pa.Table":
        wanted = None if columns is None else list(dict.fromkeys([*columns, "as_of", "id"]))
        return _scan(self._tables.advice, where, wanted).sort_by([("as_of", "ascending"), ("id", "ascending")])

    def _ids(self, where: str | None = None) -> set[str]:
        return set(_scan(self._tables.advice, where, ["id"])["id"].to_pylist())

    # -- how it is kept -----------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self._catch_up(self._tables)
            yield

    def _commit(self, kind: str, rows: list[Row]) -> int:
        if rows:
            end = self.journal.append(kind, rows)
            self._apply(kind, rows, self._tables)
            self._mark_applied(end, self._tables)
        return len(rows)

    def _apply(self, kind: str, rows: list[Row], tables: _Tables) -> None:
        """Apply one journal entry; applying it again changes nothing."""
        if kind == "drafted":
            _insert(tables.advice, "id", rows)
        elif kind == "decided":
            _insert(tables.feedback, "idempotency_key", [row["decision"] for row in rows])
            for row in rows:
                _set(tables.advice, [row["changes"]], f"target.{PENDING}")
        elif kind == "expired":
            _set(tables.advice, rows, f"target.{PENDING}")
        elif kind == "settled":
            _set(tables.advice, rows, UNSETTLED.replace("outcome", "target.outcome"))

    def _mark_applied(self, end: int, tables: _Tables) -> None:
        self._applied_path.write_text(f"{end} {tables.advice.version} {tables.feedback.version}")

    def _catch_up(self, tables: _Tables) -> None:
        """Apply what the journal has and the tables do not."""
        end, *versions = _numbers(self._applied_path)
        if tables.advice.version < versions[0] or tables.feedback.version < versions[1]:
            end = 0
        if end == self.journal.size:
            return
        for entry in self.journal.read(end):
            self._apply(entry.kind, entry.rows, tables)
            end = entry.end
        self._mark_applied(end, tables)

    @cached_property
    def _tables(self) -> _Tables:
        import lancedb

        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            database = lancedb.connect(self.folder, read_consistency_interval=timedelta(0))
            tables = _Tables(
                _open(database, self.folder, "advice", advice_schema()),
                _open(database, self.folder, "feedback", feedback_schema()),
            )
            self._catch_up(tables)
            return tables


def quoted(text: str) -> str:
    """Escape a value for a SQL string literal."""
    return text.replace("'", "''")


def sql_time(moment: datetime) -> str:
    """A moment as a SQL literal."""
    return f"TIMESTAMP '{moment.strftime('%Y-%m-%d %H:%M:%S.%f')}'"


def _open(database: Any, folder: Path, name: str, schema: "pa.Schema") -> Any:
    if not (folder / f"{name}.lance").exists():
        return database.create_table(name, schema=schema)
    try:
        return database.open_table(name)
    except (RuntimeError, ValueError, OSError):
        _quarantine_newest_manifest(folder / f"{name}.lance")
        return database.open_table(name)


def _quarantine_newest_manifest(table: Path) -> None:
    manifests = sorted((table / "_versions").glob("*.manifest"), key=lambda path: path.stat().st_mtime)
    if manifests:
        aside = table.parent / "quarantine"
        aside.mkdir(exist_ok=True)
        manifests[-1].rename(aside / f"{table.stem}-{manifests[-1].name}")


def _scan(table: Any, where: str | None, columns: Sequence[str] | None = None) -> "pa.Table":
    query = table.search().limit(None)
    query = query.where(where) if where else query
    return (query.select(list(columns)) if columns else query).to_arrow()


def _insert(table: Any, key: str, rows: list[Row]) -> None:
    import pyarrow as pa

    data = pa.Table.from_pylist(rows, schema=table.schema)
    table.merge_insert(key).when_not_matched_insert_all().execute(data)


def _set(table: Any, rows: list[Row], where: str) -> None:
    import pyarrow as pa

    data = pa.Table.from_pylist(rows, schema=pa.schema([table.schema.field(name) for name in rows[0]]))
    table.merge_insert("id").when_matched_update_all(where=where).execute(data)


def _numbers(path: Path) -> tuple[int, int, int]:
    words = path.read_text().split() if path.exists() else []
    return tuple(int(word) for word in words) if len(words) == 3 else (0, 0, 0)  # type: ignore[return-value]


def _same_decision(earlier: Row, repeated: Row) -> None:
    if any(earlier[name] != repeated[name] for name in ("transaction_id", "feedback_type", "feedback_content")):
        raise Conflict("a new idempotency key", "one already used for another decision", "send a fresh key")
