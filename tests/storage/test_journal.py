"""The journal: what was appended is read back, a torn last line never happened, damage in the middle is an error."""

from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest

from osiris.core.errors import WorkspaceError
from osiris.storage.journal import Journal

MOMENT = datetime(2005, 2, 25, 21, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "data" / "journal.jsonl")


def entries(journal, start=0):
    return [(entry.kind, entry.rows) for entry in journal.read(start)]


def test_a_journal_that_was_never_written_is_empty(journal):
    assert entries(journal) == []
    assert journal.size == 0


def test_entries_are_read_back_in_order_with_their_values(journal):
    row = {"id": "a", "at": MOMENT, "price": 1.1, "none": None, "text": 'quo"te\nnew line  ', "yes": True}
    journal.append("drafted", [row])
    journal.append("decided", [{"id": "b"}, {"id": "c"}])
    assert entries(journal) == [("drafted", [row]), ("decided", [{"id": "b"}, {"id": "c"}])]


def test_a_moment_in_another_zone_comes_back_as_the_same_instant_in_utc(journal):
    journal.append("drafted", [{"at": MOMENT.astimezone(timezone(timedelta(hours=-5)))}])
    (entry,) = journal.read()
    assert entry.rows[0]["at"] == MOMENT
    assert entry.rows[0]["at"].utcoffset() == timedelta(0)


def test_reading_goes_on_where_an_append_ended(journal):
    end = journal.append("drafted", [{"id": "a"}])
    last = journal.append("decided", [{"id": "b"}])
    (entry,) = journal.read(end)
    assert (entry.kind, entry.end) == ("decided", last)
    assert last == journal.size


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_a_value_that_json_cannot_hold_leaves_the_journal_as_it_was(journal, value):
    journal.append("drafted", [{"id": "a"}])
    with pytest.raises((ValueError, TypeError)):
        journal.append("drafted", [{"id": "b", "price": value}])
    assert entries(journal) == [("drafted", [{"id": "a"}])]


@pytest.mark.parametrize("kept", [1, 10, -1])
def test_a_torn_last_line_is_not_read_and_is_cut_by_the_next_append(journal, kept):
    whole = journal.append("drafted", [{"id": "a"}])
    journal.append("decided", [{"id": "torn"}])
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[: whole + kept] if kept > 0 else content[:-1])
    assert entries(journal) == [("drafted", [{"id": "a"}])]
    journal.append("decided", [{"id": "b"}])
    assert entries(journal) == [("drafted", [{"id": "a"}]), ("decided", [{"id": "b"}])]
    assert b"torn" not in journal.path.read_bytes()


def test_a_journal_that_holds_nothing_but_a_torn_line_starts_anew(journal):
    journal.append("drafted", [{"id": "torn"}])
    journal.path.write_bytes(journal.path.read_bytes()[:9])
    journal.append("drafted", [{"id": "a"}])
    assert entries(journal) == [("drafted", [{"id": "a"}])]


def test_a_damaged_line_in_the_middle_is_an_error_that_names_the_place(journal):
    first = journal.append("drafted", [{"id": "a"}])
    journal.append("drafted", [{"id": "b"}])
    journal.append("drafted", [{"id": "c"}])
    content = bytearray(journal.path.read_bytes())
    content[first + 3 : first + 6] = b"\x00\xff\x00"
    journal.path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=f"damage at byte {first} of .*journal.jsonl; restore"):
        entries(journal)


@pytest.mark.parametrize("line", ["17", "[]", '{"kind": "drafted"}', '{"rows": [{"$time": "yesterday"}], "kind": "x"}'])
def test_a_line_that_is_json_but_no_entry_is_damage_too(journal, line):
    journal.path.parent.mkdir()
    journal.path.write_text(line + "\n")
    with pytest.raises(WorkspaceError, match="damage at byte 0"):
        entries(journal)


def test_a_table_is_read_back_as_the_rows_it_holds(journal):
    rows = [
        {"id": "a", "at": MOMENT, "price": 1.5, "flag": True},
        {"id": "b", "at": None, "price": None, "flag": None},
    ]
    schema = pa.schema({"id": pa.string(), "at": pa.timestamp("us", "UTC"), "price": pa.float64(), "flag": pa.bool_()})
    end = journal.append_table("settled", pa.Table.from_pylist(rows, schema=schema))
    assert entries(journal) == [("settled", rows)]
    assert end == journal.size


def test_a_table_with_a_nan_leaves_the_journal_as_it_was(journal):
    with pytest.raises(ValueError, match="price"):
        journal.append_table("settled", pa.table({"id": ["a"], "price": [float("nan")]}))
    assert journal.size == 0
