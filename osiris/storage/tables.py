"""The LanceDB tables behind the advice store: opened (what is damaged is put aside), read, changed and compacted."""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from osiris.core.errors import WorkspaceError
from osiris.core.schemas import advice_schema, feedback_schema
from osiris.core.types import Row

if TYPE_CHECKING:
    import pyarrow as pa
TableWrite = Callable[[], object]
ACCEPTED_SQL = "status IN ('approved', 'edited')"
PENDING_SQL = "status = 'pending'"
DECIDED_SQL = "status IN ('approved', 'edited', 'rejected')"
UNSETTLED_SQL = "(outcome IS NULL OR outcome = 'open')"


class Tables(NamedTuple):
    """The open tables; each read sees what another process wrote."""

    advice: Any
    feedback: Any


def open_tables(folder: Path) -> Tables:
    """Open both tables of the database in `folder`, or make what is missing."""
    import lancedb

    folder.mkdir(parents=True, exist_ok=True)
    database = lancedb.connect(folder, read_consistency_interval=timedelta(0))
    advice = _open(database, folder, "advice", advice_schema())
    return Tables(advice, _open(database, folder, "feedback", feedback_schema()))


def escape_sql(text: str) -> str:
    """Escape a value for a SQL string literal."""
    return text.replace("'", "''")


def sql_in(column: str, values: Iterable[str]) -> str:
    """SQL that is true where `column` has one of `values` (at least one)."""
    listed = ", ".join(f"'{escape_sql(value)}'" for value in sorted(set(values)))
    return f"{column} IN ({listed})"


def sql_time(moment: datetime) -> str:
    """A moment as a SQL literal."""
    return f"TIMESTAMP '{moment.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'microseconds')}'"


def _open(database: Any, folder: Path, name: str, schema: "pa.Schema") -> Any:
    """Open a table, or put aside what is damaged: its newest version, else the whole of it."""
    table = folder / f"{name}.lance"
    if table.exists():
        newest = min((table / "_versions").glob("*.manifest"), default=table)
        for damaged in dict.fromkeys((newest, table)):
            try:
                return _add_missing_columns(database.open_table(name), schema)
            except (RuntimeError, ValueError, OSError):
                aside = folder.parent / "quarantine" / f"{name}-{time.time_ns()}-{damaged.name}"
                aside.parent.mkdir(exist_ok=True)
                damaged.rename(aside)
    return database.create_table(name, schema=schema, exist_ok=True)


def _add_missing_columns(table: Any, schema: "pa.Schema") -> Any:
    """The table with the columns that newer versions of Osiris added, null for the rows that are there."""
    import pyarrow as pa

    absent = [field for field in schema if field.name not in table.schema.names]
    if absent:
        table.add_columns(pa.schema(absent))
    return table


def compact_tables(tables: Tables, max_fragments: int) -> None:
    """Compact the tables of more than `above` fragments, and drop their versions older than an hour."""
    for table in tables:
        if table.stats()["fragment_stats"]["num_fragments"] > max_fragments:
            table.optimize(cleanup_older_than=timedelta(hours=1))


def scan(table: Any, where: str | None, columns: Sequence[str] | None = None) -> "pa.Table":
    """Read rows; `where` is SQL over the columns."""
    query = table.search().limit(None)
    query = query.where(where) if where else query
    return (query.select(list(columns)) if columns else query).to_arrow()


def nearest_distances(table: Any, vectors: Sequence[Sequence[float]], where: str) -> list[float | None]:
    """L2 distance of each vector to its nearest row that is `where`, by vector search; `None` where there is none."""
    found = (
        table.search([list(vector) for vector in vectors])
        .where(where, prefilter=True)
        .limit(1)
        .select(["id", "_distance"])
    )
    nearest: list[float | None] = [None] * len(vectors)
    for row in found.to_list():
        nearest[row.get("query_index", 0)] = max(0.0, row["_distance"]) ** 0.5
    return nearest


def to_writes(kind: str, rows: list[Row], tables: Tables) -> list[TableWrite]:
    """The writes that one journal entry stands for; made again they change nothing."""
    pending, unsettled = f"target.{PENDING_SQL}", UNSETTLED_SQL.replace("outcome", "target.outcome")
    if kind == "drafted":
        return [_build_insert(tables.advice, "id", rows)]
    if kind in ("decided", "undone"):
        from_status = pending if kind == "decided" else f"target.{DECIDED_SQL} AND {unsettled}"
        inserted = _build_insert(tables.feedback, "idempotency_key", [row["decision"] for row in rows])
        return [inserted, *(build_update(tables.advice, alike, from_status) for alike in _group_by_columns(rows))]
    if kind in ("expired", "settled", "close_asked"):
        return [build_update(tables.advice, rows, pending if kind == "expired" else unsettled)]
    raise WorkspaceError("a journal of this version of Osiris", f"an entry {kind!r}", "update Osiris")


def _group_by_columns(rows: list[Row]) -> list[list[Row]]:
    """The `changes` of decisions, those of the same columns together: each group is one write."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row["changes"]), []).append(row["changes"])
    return list(groups.values())


def _build_insert(table: Any, key: str, rows: list[Row]) -> TableWrite:
    import pyarrow as pa

    data = pa.Table.from_pylist(rows, schema=table.schema)
    return partial(table.merge_insert(key).when_not_matched_insert_all().execute, data)


def build_update(table: Any, rows: "list[Row] | pa.Table", where: str) -> TableWrite:
    """The write of the columns that `rows` name, to the ideas that are still `where`."""
    import pyarrow as pa

    names = rows.column_names if isinstance(rows, pa.Table) else list(rows[0])
    schema = pa.schema([table.schema.field(name) for name in names])
    data = rows.cast(schema) if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=schema)
    return partial(table.merge_insert("id").when_matched_update_all(where=where).execute, data)
