"""The LanceDB tables of the advice store: open, read, change and compact them. Damaged tables are moved aside."""

import sys
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
    """The open tables. Each read sees the writes of other processes."""

    advice: Any
    feedback: Any


def open_tables(folder: Path) -> Tables:
    """Open both tables of the database in `folder`, and create those that are missing."""
    lancedb = import_lancedb()
    folder.mkdir(parents=True, exist_ok=True)
    # An interval of 0 checks for a new version at every read, so that writes of other processes are seen.
    database = lancedb.connect(folder, read_consistency_interval=timedelta(0))
    advice = _open(database, folder, "advice", advice_schema())
    return Tables(advice, _open(database, folder, "feedback", feedback_schema()))


def import_lancedb() -> Any:
    """Import LanceDB without building the 600 models of its REST client, which no local table uses.

    Pydantic builds each of them when it is first used (`defer_build`). The import takes 1.6 seconds so, and 2.7 else.
    """
    if "lancedb" not in sys.modules:
        import pydantic

        check_calls, config = pydantic.validate_call, pydantic.BaseModel.model_config
        setattr(pydantic, "validate_call", partial(check_calls, config={"defer_build": True}))  # noqa: B010 - for mypy
        config["defer_build"] = True
        try:
            import lance_namespace  # noqa: F401
        finally:
            pydantic.validate_call = check_calls
            del config["defer_build"]
    import lancedb

    return lancedb


def escape_sql(text: str) -> str:
    """Escape a value for a SQL string literal."""
    return text.replace("'", "''")


def sql_in(column: str, values: Iterable[str]) -> str:
    """Return SQL that is true where `column` has one of `values`, which must not be empty."""
    listed = ", ".join(f"'{escape_sql(value)}'" for value in sorted(set(values)))
    return f"{column} IN ({listed})"


def sql_time(moment: datetime) -> str:
    """Return a moment as a SQL literal, in UTC."""
    return f"TIMESTAMP '{moment.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'microseconds')}'"


def _open(database: Any, folder: Path, name: str, schema: "pa.Schema") -> Any:
    """Open a table. If it is damaged, move its newest version to `quarantine/`, or else the whole table.

    LanceDB then opens the version before, or an empty table is created. The journal restores the missing rows.
    """
    table = folder / f"{name}.lance"
    if table.exists():
        # LanceDB numbers its manifests downwards, so that the newest name sorts first.
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
    """Add the columns that newer versions of Osiris have; they are null in existing rows."""
    import pyarrow as pa

    absent = [field for field in schema if field.name not in table.schema.names]
    if absent:
        table.add_columns(pa.schema(absent))
    return table


def compact_tables(tables: Tables, max_fragments: int) -> None:
    """Compact the tables that have more than `max_fragments` fragments, and drop their versions older than an hour."""
    for table in tables:
        if table.stats()["fragment_stats"]["num_fragments"] > max_fragments:
            table.optimize(cleanup_older_than=timedelta(hours=1))


def scan(table: Any, where: str | None, columns: Sequence[str] | None = None) -> "pa.Table":
    """Read rows; `where` is SQL over the columns."""
    query = table.search().limit(None)
    query = query.where(where) if where else query
    return (query.select(list(columns)) if columns else query).to_arrow()


def nearest_distances(table: Any, vectors: Sequence[Sequence[float]], where: str) -> list[float | None]:
    """Return the L2 distance of each vector to its nearest row that fits `where`, or `None` if no row fits."""
    found = (
        table.search([list(vector) for vector in vectors])
        .where(where, prefilter=True)
        .limit(1)
        .select(["id", "_distance"])
    )
    nearest: list[float | None] = [None] * len(vectors)
    for row in found.to_list():
        nearest[row.get("query_index", 0)] = max(0.0, row["_distance"]) ** 0.5  # LanceDB gives the squared distance
    return nearest


def to_writes(kind: str, rows: list[Row], tables: Tables) -> list[TableWrite]:
    """Return the writes for one journal entry. Repeated writes change nothing."""
    pending = f"target.{PENDING_SQL}"
    unsettled = UNSETTLED_SQL.replace("outcome", "target.outcome")
    if kind == "drafted":
        return [_build_insert(tables.advice, "id", rows)]
    if kind in ("decided", "undone"):
        from_status = pending if kind == "decided" else f"target.{DECIDED_SQL} AND {unsettled}"
        inserted = _build_insert(tables.feedback, "idempotency_key", [row["decision"] for row in rows])
        return [inserted, *(build_update(tables.advice, group, from_status) for group in _group_by_columns(rows))]
    if kind in ("expired", "settled", "close_asked"):
        return [build_update(tables.advice, rows, pending if kind == "expired" else unsettled)]
    raise WorkspaceError("a journal of this version of Osiris", f"an entry {kind!r}", "update Osiris")


def _group_by_columns(rows: list[Row]) -> list[list[Row]]:
    """Group the `changes` of decisions by their columns, because one write has the same columns in all its rows."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row["changes"]), []).append(row["changes"])
    return list(groups.values())


def _build_insert(table: Any, key: str, rows: list[Row]) -> TableWrite:
    """Return the write that inserts the rows whose `key` is new."""
    import pyarrow as pa

    data = pa.Table.from_pylist(rows, schema=table.schema)
    return partial(table.merge_insert(key).when_not_matched_insert_all().execute, data)


def build_update(table: Any, rows: "list[Row] | pa.Table", where: str) -> TableWrite:
    """Return the write of the columns of `rows` to the ideas that still fit `where`."""
    import pyarrow as pa

    names = rows.column_names if isinstance(rows, pa.Table) else list(rows[0])
    schema = pa.schema([table.schema.field(name) for name in names])
    data = rows.cast(schema) if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema=schema)
    return partial(table.merge_insert("id").when_matched_update_all(where=where).execute, data)
