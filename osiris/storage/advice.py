"""The advice store: LanceDB tables `advice` (one row per idea) and `feedback` (append-only), behind a journal.

Every change is checked under one file lock and journaled durably. Then it is applied to LanceDB by a compare-and-set on
some columns; a whole row is never written back. The journal is authoritative. Entries that a crash left unapplied are
applied when the store is next opened or written to. A table whose newest version is damaged or lost is rebuilt from the
journal.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from osiris.core.types import Row
from osiris.storage.group_commit import GroupCommit
from osiris.storage.rules import (
    DecisionBatch,
    DecisionRequest,
    IdeaChange,
    check_can_close,
    check_can_undo,
    check_same_decision,
    idea_not_found,
    undo_changes,
)
from osiris.storage.tables import (
    PENDING_SQL,
    UNSETTLED_SQL,
    Tables,
    build_update,
    compact_tables,
    escape_sql,
    nearest_distances,
    open_tables,
    scan,
    sql_in,
    to_writes,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from osiris.storage.journal import Journal

MAX_FRAGMENTS = 24
"""Every write adds a fragment and every read opens all fragments, so more than this are compacted at once."""


class AdviceStore:
    """Reads and writes ideas and feedback of one workspace."""

    def __init__(self, folder: Path, journal: "Journal") -> None:
        """Use the LanceDB database in `folder`. It is opened or created at the first use."""
        self.folder = folder
        self.journal = journal
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder.with_name("advice.lock"))
        # Holds the journal offset that the tables have, and the version of each table at that offset.
        self._applied_path = folder.with_name("advice.applied")
        self._group_commit: GroupCommit[DecisionRequest, Row] = GroupCommit(self._decide_all)

    def add(self, rows: Sequence[Row]) -> int:
        """Store drafted ideas, except those whose id exists. Returns the number of new ideas."""
        with self._writing():
            known = self._ids()
            return self._commit("drafted", list({r["id"]: r for r in rows if r["id"] not in known}.values()))

    def decide(self, decision: Row, change: IdeaChange) -> Row:
        """Store one decision on a pending idea: the `feedback` row, and the columns of the idea that `change` returns.

        `change` gets the idea under the lock and raises an error to refuse the decision. Decisions that come at once
        from several threads become one write. A repeated idempotency key with the same content returns the idea
        unchanged. Raises `NotFound` for an unknown idea. Raises `Conflict` if the key was used for another decision,
        or if the idea has a decision already; the message then names the reviewer, the decision and the moment.
        """
        return self._group_commit(DecisionRequest(decision, change))

    def undo(self, decision: Row, undone: Row) -> Row:
        """Take back the decision `undone` (status, status_at, reviewer). The idea is pending again, as it was drafted.

        `decision` is the `feedback` row of the undo. A repeat of its idempotency key returns the idea unchanged.
        Raises `NotFound` for an unknown idea, and `Conflict` as `storage.rules.check_can_undo` does.
        """
        with self._writing():
            idea = self.get(decision["transaction_id"])
            earlier = self.feedback(f"idempotency_key = '{escape_sql(decision['idempotency_key'])}'")
            if earlier:
                check_same_decision(earlier[0], decision)
                return idea
            check_can_undo(idea, undone)
            changes = undo_changes(idea, self.feedback(f"transaction_id = '{escape_sql(idea['id'])}'"))
            self._commit("undone", [{"decision": decision, "changes": {"id": idea["id"], **changes}}])
            return idea | changes

    def expire(self, ids: Iterable[str], at: datetime) -> int:
        """Mark those of the ideas that are still pending as expired; returns their number."""
        with self._writing():
            rows = [{"id": i, "status": "expired", "status_at": at} for i in sorted(self._ids(PENDING_SQL) & set(ids))]
            return self._commit("expired", rows)

    def settle(self, outcomes: "pa.Table") -> int:
        """Write outcomes (`id` and outcome columns) of ideas that have no final outcome; returns their number.

        If `outcomes` has the columns `status` and `status_at`, an outcome is written only if both are still the same in
        the store. An idea that was decided, undone or edited while it was being settled is left for the next run.
        """
        import pyarrow.compute as pc

        with self._writing():
            key_columns = [name for name in ("id", "status", "status_at") if name in outcomes.column_names]
            unsettled = scan(self._tables.advice, UNSETTLED_SQL, key_columns)
            is_current = pc.is_in(_row_keys(outcomes.select(key_columns)), _row_keys(unsettled))
            return self._commit("settled", outcomes.filter(is_current).drop_columns(key_columns[1:]))

    def request_close(self, idea: str, at: datetime, price: float | None, by: str) -> Row:
        """Store a person's request to close the trade of an accepted idea; the outcome logger acts on it.

        The same price again changes nothing. A price that did not trade can be corrected; the moment of the first
        request stays. Raises `NotFound` for an unknown idea. Raises `Conflict` for an idea that is not accepted, that
        has its final outcome, or that has a request to close at another price.
        """
        with self._writing():
            row = self.get(idea)
            check_can_close(row, price, at)
            first = row["close_asked_at"]
            changes = {"id": idea, "close_asked_at": first or at, "close_asked_price": price, "close_asked_by": by}
            changes |= {"open_reason": None} if first else {}  # the reason was about the old price
            if first is None or row["close_asked_price"] != price:
                self._commit("close_asked", [changes])
                row |= changes
            return row

    def mark_published(self, ids: "pa.Array | Sequence[str]", at: datetime) -> None:
        """Store that the outcome events of `ids` were delivered; not journaled, as consumers drop repeated events."""
        import pyarrow as pa

        with self._writing():
            if len(ids):
                published = pa.table({"id": ids, "published_at": pa.repeat(at, len(ids))})
                build_update(self._tables.advice, published, "target.published_at IS NULL")()
                self._mark_applied(self.journal.size, self._tables)

    def optimize(self) -> None:
        """Compact both tables and drop versions older than an hour."""
        with self._writing():
            compact_tables(self._tables, max_fragments=0)

    def get(self, idea: str) -> Row:
        """Return one idea; raises `NotFound`."""
        rows = self.rows(f"id = '{escape_sql(idea)}'")
        if not rows:
            raise idea_not_found(idea)
        return rows[0]

    def rows(self, where: str | None = None, columns: Sequence[str] | None = None) -> list[Row]:
        """Return ideas as dicts, sorted by `as_of`, then `id`; `where` is SQL over the columns."""
        rows: list[Row] = self.table(where, columns).to_pylist()
        return rows

    def frame(self, where: str | None = None, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Return ideas as a data frame, sorted by `as_of`, then `id`."""
        frame: pd.DataFrame = self.table(where, columns).to_pandas()
        return frame

    def table(self, where: str | None = None, columns: Sequence[str] | None = None) -> "pa.Table":
        """Return ideas as an Arrow table, sorted by `as_of`, then `id`."""
        wanted = None if columns is None else list(dict.fromkeys([*columns, "as_of", "id"]))
        return scan(self._tables.advice, where, wanted).sort_by([("as_of", "ascending"), ("id", "ascending")])

    def count(self, where: str | None = None) -> int:
        """Return the number of ideas."""
        return int(self._tables.advice.count_rows(where))

    def feedback(self, where: str | None = None) -> list[Row]:
        """Return decisions as dicts, sorted by `ts`."""
        decisions: list[Row] = scan(self._tables.feedback, where).sort_by("ts").to_pylist()
        return decisions

    def nearest(self, vector: Iterable[float], where: str, limit: int) -> list[Row]:
        """Return the ideas nearest to `vector`, nearest first; `_distance` is the squared L2 distance."""
        search = self._tables.advice.search(list(vector))
        found: list[Row] = search.where(where, prefilter=True).limit(limit).to_list()
        return found

    def nearest_distances(self, vectors: Sequence[Sequence[float]], where: str) -> list[float | None]:
        """Return the L2 distance of each vector to the nearest idea that fits `where`, or `None` if no idea fits."""
        return nearest_distances(self._tables.advice, vectors, where)

    @property
    def version(self) -> str:
        """A text that changes with every stored fact. Read it before the rows, so that it is never newer than these."""
        return " ".join(map(str, _read_position(self._applied_path)))

    def _decide_all(self, requests: Sequence[DecisionRequest]) -> list[Row | Exception]:
        """Decide a group of requests together: one journal line, and one write per table and set of columns."""
        with self._writing():
            ids_sql = sql_in("id", [request.decision["transaction_id"] for request in requests])
            keys_sql = sql_in("idempotency_key", [request.decision["idempotency_key"] for request in requests])
            ideas = {row["id"]: row for row in self.rows(ids_sql)}
            known = {row["idempotency_key"]: row for row in self.feedback(keys_sql)}
            batch = DecisionBatch(ideas, known)
            results: list[Row | Exception] = [batch.decide(*request) for request in requests]
            self._commit("decided", batch.accepted)
            return results

    def _ids(self, where: str | None = None) -> set[str]:
        return set(scan(self._tables.advice, where, ["id"])["id"].to_pylist())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of the store for the block, with tables that have all journal entries."""
        # Lock order: opening the tables takes the lock of `cached_property`, then this lock. So they are opened first.
        tables = self._tables
        with self._lock:
            self._catch_up(tables)
            yield

    def _commit(self, kind: str, rows: "list[Row] | pa.Table") -> int:
        if len(rows):
            # The writes are built first: a row that does not fit the columns fails here, before it is journaled.
            writes = to_writes(kind, rows, self._tables)
            end = self.journal.append(kind, rows) if isinstance(rows, list) else self.journal.append_table(kind, rows)
            for write in writes:
                write()
            self._mark_applied(end, self._tables)
            compact_tables(self._tables, MAX_FRAGMENTS)
        return len(rows)

    def _mark_applied(self, end: int, tables: Tables) -> None:
        self._applied_path.write_text(f"{end} {tables.advice.version} {tables.feedback.version}")

    def _catch_up(self, tables: Tables) -> None:
        """Apply the journal entries that the tables do not have. The caller holds the lock."""
        end, *versions = _read_position(self._applied_path)
        if tables.advice.version < versions[0] or tables.feedback.version < versions[1]:
            # A table is older than it was: a damaged version was moved aside. All entries are applied again, which
            # changes nothing in rows that have them.
            self._applied_path.unlink()
            end = 0
        if end == self.journal.size:
            return
        for entry in self.journal.read(end):
            for write in to_writes(entry.kind, entry.rows, tables):
                write()
            end = entry.end
        self._mark_applied(end, tables)

    @cached_property
    def _tables(self) -> Tables:
        with self._lock:
            tables = open_tables(self.folder)
            self._catch_up(tables)
            return tables


def _read_position(path: Path) -> list[int]:
    """Return the journal offset and the versions of `advice` and `feedback`; zeros if the file is missing or torn."""
    numbers = path.read_text().split() if path.exists() else []
    return [int(word) for word in numbers] if len(numbers) == 3 else [0, 0, 0]


def _row_keys(rows: "pa.Table") -> "pa.Array":
    """Return one text per row; two texts are equal if all columns of their rows are equal."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def as_text(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
        if pa.types.is_timestamp(column.type):  # two tables may write the same moment in different units and zones
            column = pc.cast(pc.cast(column, pa.timestamp("us", "UTC")), "int64")
        return pc.fill_null(pc.cast(column, "string"), "")

    return pc.binary_join_element_wise(*(as_text(rows[name]) for name in rows.column_names), "\n")
