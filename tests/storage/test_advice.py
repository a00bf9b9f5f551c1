"""The advice store: each fact once, nothing acknowledged is lost, whatever crashes and however many write at once."""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import lancedb
import pyarrow as pa
import pytest
from filelock import FileLock

from osiris.core.errors import Conflict, NotFound, WorkspaceError
from osiris.core.schemas import advice_schema
from osiris.storage.advice import MAX_FRAGMENTS
from osiris.storage.tables import escape_sql, sql_time
from tests.builders import (
    DECIDED_AT,
    MOMENT,
    decision,
    decision_changes,
    idea,
    ideas,
    make_store,
    outcome_table,
    with_changes,
)

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["lancedb", "pytest", "tests.builders"])
LEVELS = {"entry": 101.0, "target": 109.0, "stop": 98.0}


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path)


def outcome(row, kind="win", **values):
    empty = dict.fromkeys(("exit_reason", "close_price", "closed_at", "r_multiple", "ambiguous", "event_id"))
    return {"id": row["id"], "outcome": kind, **empty, "shadow": False, "open_reason": None, **values}


def test_a_verdict_holds_only_for_the_decision_that_was_judged(store):
    row, kept = ideas(2)
    store.add([row, kept])
    for one in (row, kept):
        store.decide(decision(one, one["id"]), with_changes(decision_changes()))
    verdicts = outcome_table(*({**outcome(one), "status": "approved", "status_at": DECIDED_AT} for one in (row, kept)))
    store.undo(decision(row, "undo", "pending"), {"status": "approved", "status_at": DECIDED_AT, "reviewer": "ann"})
    assert store.settle(verdicts) == 1
    assert [store.get(one["id"])["outcome"] for one in (row, kept)] == [None, "win"]
    store.decide(
        decision(row, "again"), with_changes(decision_changes() | {"status_at": DECIDED_AT + timedelta(minutes=1)})
    )
    assert store.settle(verdicts) == 0


def test_what_has_its_outcome_is_decided_on_no_more(store):
    row = idea()
    store.add([row])
    store.settle(outcome_table(outcome(row)))
    with pytest.raises(Conflict, match="win"):
        store.decide(decision(row), with_changes(decision_changes()))


def content(store):
    """Everything the two tables hold."""
    return store.rows(), sorted(store.feedback(), key=lambda row: row["idempotency_key"])


# -- what is stored ---------------------------------------------------------------------------------------------------


def test_an_idea_comes_back_as_it_was_added(store):
    row = idea()
    assert store.add([row]) == 1
    stored = store.get(row["id"])
    assert stored | {"vector": None} == row | {"vector": None}
    assert stored["vector"] == pytest.approx(row["vector"])


def test_adding_an_id_again_changes_nothing(store):
    row = idea()
    assert store.add([row, row]) == 1
    assert store.add([row | {"rationale": "another one"}]) == 0
    assert [stored["rationale"] for stored in store.rows()] == [row["rationale"]]


def test_an_unknown_idea_is_not_found_and_cannot_be_decided(store):
    with pytest.raises(NotFound):
        store.get("nobody's")
    with pytest.raises(NotFound):
        store.decide(decision({"id": "nobody's"}), with_changes(decision_changes()))
    assert store.feedback() == []


def test_a_decision_changes_the_idea_and_leaves_one_feedback_row(store):
    row = idea()
    store.add([row])
    decided = store.decide(decision(row, action="edited"), with_changes(decision_changes("edited", **LEVELS)))
    assert decided == store.get(row["id"])
    assert {name: decided[name] for name in LEVELS} == LEVELS
    assert (decided["status"], decided["status_at"], decided["reviewer"]) == ("edited", DECIDED_AT, "ann")
    assert decided["rationale"] == row["rationale"]
    assert store.feedback() == [decision(row, action="edited")]


def test_a_repeat_under_the_same_key_is_one_decision(store):
    row = idea()
    store.add([row])
    first = store.decide(decision(row), with_changes(decision_changes()))
    later = decision(row) | {"ts": DECIDED_AT + timedelta(minutes=5)}
    assert (
        store.decide(later, with_changes(decision_changes() | {"status_at": DECIDED_AT + timedelta(minutes=5)}))
        == first
    )
    assert store.feedback() == [decision(row)]


def test_a_check_that_refuses_leaves_nothing_and_a_repeat_is_not_checked_again(store):
    row = idea()
    store.add([row])
    row = store.get(row["id"])

    def too_late(seen):
        assert seen == row
        raise Conflict("an earlier decision", "a late one", "draft anew")

    with pytest.raises(Conflict, match="a late one"):
        store.decide(decision(row), too_late)
    assert (store.get(row["id"]), store.feedback()) == (row, [])
    first = store.decide(decision(row), with_changes(decision_changes()))
    assert store.decide(decision(row), too_late) == first


@pytest.mark.parametrize("other", [{"feedback_content": '{"comment": "no"}'}, {"feedback_type": "rejection"}])
def test_a_key_cannot_be_used_for_another_decision(store, other):
    row = idea()
    store.add([row])
    store.decide(decision(row), with_changes(decision_changes()))
    with pytest.raises(Conflict, match="fresh key"):
        store.decide(decision(row) | other, with_changes(decision_changes("rejected")))
    assert store.get(row["id"])["status"] == "approved"


def test_a_key_cannot_be_used_for_another_idea(store):
    first, second = ideas(2)
    store.add([first, second])
    store.decide(decision(first), with_changes(decision_changes()))
    with pytest.raises(Conflict, match="fresh key"):
        store.decide(decision(second), with_changes(decision_changes()))
    assert store.get(second["id"])["status"] == "pending"


def test_the_second_reviewer_is_told_who_decided_what_and_when(store):
    row = idea()
    store.add([row])
    store.decide(decision(row), with_changes(decision_changes()))
    with pytest.raises(Conflict, match=r"approved by ann at 2005-02-25 22:00:00\+00:00"):
        store.decide(decision(row, "second", "rejected", "bob"), with_changes(decision_changes("rejected", "bob")))
    assert store.get(row["id"])["reviewer"] == "ann"
    assert len(store.feedback()) == 1


def test_only_pending_ideas_expire(store):
    first, second = ideas(2)
    store.add([first, second])
    store.decide(decision(first), with_changes(decision_changes()))
    assert store.expire([first["id"], second["id"], "nobody's"], DECIDED_AT) == 1
    assert store.expire([first["id"], second["id"]], DECIDED_AT) == 0
    assert [store.get(row["id"])["status"] for row in (first, second)] == ["approved", "expired"]
    with pytest.raises(Conflict, match="expired by the review deadline"):
        store.decide(decision(second, "late"), with_changes(decision_changes()))


def test_a_final_outcome_never_changes(store):
    row = idea()
    store.add([row])
    assert store.settle(outcome_table(outcome(row, "win", r_multiple=2.0))) == 1
    assert store.settle(outcome_table(outcome(row, "loss", r_multiple=-1.0))) == 0
    assert store.settle(outcome_table(outcome(row, "open"))) == 0
    stored = store.get(row["id"])
    assert (stored["outcome"], stored["r_multiple"]) == ("win", 2.0)


def test_an_open_outcome_can_still_change(store):
    row = idea()
    store.add([row])
    assert store.settle(outcome_table(outcome(row, "open", open_reason="neither level reached"))) == 1
    assert store.settle(outcome_table(outcome(row, "loss", close_price=97.0))) == 1
    stored = store.get(row["id"])
    assert (stored["outcome"], stored["open_reason"], stored["close_price"]) == ("loss", None, 97.0)


def test_an_outcome_leaves_the_review_alone(store):
    row = idea()
    store.add([row])
    store.decide(decision(row), with_changes(decision_changes()))
    store.settle(outcome_table(outcome(row)))
    assert store.get(row["id"])["status"] == "approved"


def test_an_event_is_marked_published_once(store):
    row = idea()
    store.add([row])
    store.settle(outcome_table(outcome(row, event_id="e")))
    before = store.version
    store.mark_published([row["id"]], DECIDED_AT)
    assert store.version != before
    store.mark_published([row["id"]], DECIDED_AT + timedelta(hours=1))
    assert store.get(row["id"])["published_at"] == DECIDED_AT


def test_a_row_that_fits_no_column_is_refused_before_anything_is_kept(store):
    store.add([idea()])
    size = store.journal.size
    with pytest.raises((TypeError, ValueError)):
        store.add([idea(number=1, entry="a hundred")])
    assert store.journal.size == size
    assert store.add([idea(number=1)]) == 1


def test_rows_are_filtered_sorted_and_cut_to_columns(store):
    late, early = idea(number=1), idea(number=2, as_of=MOMENT - timedelta(days=1), ticker="IBM")
    store.add([late, early])
    assert [row["id"] for row in store.rows()] == [early["id"], late["id"]]
    assert store.rows("ticker = 'IBM'", ["ticker"]) == [{"ticker": "IBM", "as_of": early["as_of"], "id": early["id"]}]
    assert list(store.frame(f"as_of >= {sql_time(MOMENT)}")["id"]) == [late["id"]]
    assert (store.count(), store.count("side = 'short'")) == (2, 0)


def test_a_quote_in_a_value_stays_in_the_value(store):
    row = idea(id="it's '' OR '1'='1")
    store.add([row, idea()])
    assert store.get(row["id"])["id"] == row["id"]
    assert store.count(f"id = '{escape_sql(row['id'])}'") == 1


@pytest.mark.parametrize("moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_any_moment_can_be_asked_for(store, moment):
    store.add([idea()])
    assert store.count(f"as_of >= {sql_time(moment)}") == (moment.year == 1)


def test_a_moment_in_another_zone_is_the_same_instant(store):
    store.add([idea()])
    asked = MOMENT.astimezone(timezone(timedelta(hours=5)))
    assert store.count(f"as_of = {sql_time(asked)}") == 1


def test_the_nearest_idea_comes_first(store):
    near, far = idea(number=1, vector=[1.0] * 16), idea(number=2, vector=[-1.0] * 16)
    store.add([far, near])
    found = store.nearest([0.9] * 16, "status = 'pending'", 2)
    assert [row["id"] for row in found] == [near["id"], far["id"]]
    assert store.nearest([0.9] * 16, "status = 'approved'", 2) == []


def test_compaction_keeps_every_row_and_the_store_writable(store):
    rows = ideas(12)
    store.add(rows)
    for number, row in enumerate(rows[:6]):
        store.decide(decision(row, f"k{number}"), with_changes(decision_changes()))
    before = content(store)
    store.optimize()
    assert content(store) == before
    store.decide(decision(rows[6], "after"), with_changes(decision_changes()))
    assert store.count("status = 'approved'") == 7


def test_a_long_review_is_compacted_as_it_goes(store):
    rows = ideas(2 * MAX_FRAGMENTS)
    store.add(rows)
    for number, row in enumerate(rows):
        store.decide(decision(row, f"k{number}"), with_changes(decision_changes()))
    assert all(
        lancedb.connect(store.folder).open_table(name).stats()["fragment_stats"]["num_fragments"] <= MAX_FRAGMENTS
        for name in ("advice", "feedback")
    )
    assert store.count("status = 'approved'") == len(store.feedback()) == len(rows)


# -- crashes and damage -----------------------------------------------------------------------------------------------


def test_what_was_journaled_but_not_stored_is_stored_when_the_store_is_opened_next(store, tmp_path):
    first, second = ideas(2)
    store.add([first])
    store.journal.append("drafted", [second])
    store.journal.append(
        "decided", [{"decision": decision(first), "changes": {"id": first["id"], **decision_changes()}}]
    )
    opened = make_store(tmp_path)
    assert {row["id"]: row["status"] for row in opened.rows()} == {first["id"]: "approved", second["id"]: "pending"}
    assert opened.feedback() == [decision(first)]


def test_what_was_journaled_but_not_stored_is_stored_by_the_next_write_of_an_open_store(store):
    row = idea()
    store.add([row])
    store.journal.append("decided", [{"decision": decision(row), "changes": {"id": row["id"], **decision_changes()}}])
    with pytest.raises(Conflict, match="approved by ann"):
        store.decide(decision(row, "second"), with_changes(decision_changes("rejected", "bob")))
    assert store.feedback() == [decision(row)]


def undone(row, key="undo", reviewer="ann"):
    return decision(row, key, "pending", reviewer) | {"feedback_type": "undo", "original": None}


def test_a_history_of_changed_minds_is_rebuilt_as_it_was(store, tmp_path):
    rows = ideas(4)
    store.add(rows)
    for row, name in zip(rows, "abcd", strict=True):
        store.decide(decision(row, name, "edited"), with_changes(decision_changes("edited", **LEVELS)))
        made = {"status": "edited", "status_at": DECIDED_AT, "reviewer": "ann"}
        if name == "a":
            store.settle(outcome_table(outcome(row, "open", open_reason="not yet")))
        if name != "d":
            store.undo(undone(row, f"{name}-undo"), made)
    store.decide(decision(rows[1], "again", "rejected", "bob"), with_changes(decision_changes("rejected", "bob")))
    store.settle(outcome_table(outcome(rows[1]), outcome(rows[3], "loss")))
    store.expire([rows[2]["id"]], DECIDED_AT)
    was = content(store)
    assert [store.get(row["id"])["status"] for row in rows] == ["pending", "rejected", "expired", "edited"]
    assert store.get(rows[0]["id"]) | {"vector": None} == rows[0] | {"vector": None}
    assert len(store.feedback()) == 8
    shutil.rmtree(store.folder)
    assert content(make_store(tmp_path)) == was
    (tmp_path / "data" / "advice.applied").write_text("0 0 0")  # everything once more, onto what is there
    assert content(make_store(tmp_path)) == was


def test_an_edit_without_the_drafted_levels_stands(store):
    row = idea()
    store.add([row])
    given = decision(row, action="edited")
    store.journal.append(
        "decided",
        [
            {
                "decision": given | {"original": None},
                "changes": {"id": row["id"], **decision_changes("edited", **LEVELS)},
            }
        ],
    )
    with pytest.raises(Conflict, match="older version"):
        store.undo(undone(row), {"status": "edited", "status_at": DECIDED_AT, "reviewer": "ann"})
    assert store.get(row["id"])["status"] == "edited"


def test_the_version_changes_with_every_fact(store, tmp_path):
    rows = ideas(2)
    seen = {store.version}
    for act in (
        lambda: store.add(rows),
        lambda: store.decide(decision(rows[0]), with_changes(decision_changes())),
        lambda: store.settle(outcome_table(outcome(rows[0]))),
        lambda: make_store(tmp_path).decide(decision(rows[1], "b"), with_changes(decision_changes())),
    ):
        act()
        assert store.version not in seen
        seen.add(store.version)
    store.decide(decision(rows[0]), with_changes(decision_changes()))
    assert store.version in seen


def test_a_crash_between_the_two_tables_is_made_good(store, tmp_path):
    row = idea()
    store.add([row])
    store.journal.append("decided", [{"decision": decision(row), "changes": {"id": row["id"], **decision_changes()}}])
    table = lancedb.connect(store.folder).open_table("feedback")
    table.add(pa.Table.from_pylist([decision(row)], schema=table.schema))
    opened = make_store(tmp_path)
    assert opened.get(row["id"])["status"] == "approved"
    assert opened.feedback() == [decision(row)]


def filled(store):
    """Ideas decided, expired and settled, so that every kind of entry is in the journal."""
    rows = ideas(6)
    store.add(rows)
    store.decide(decision(rows[0], "a"), with_changes(decision_changes()))
    store.decide(decision(rows[1], "b", "edited"), with_changes(decision_changes("edited", **LEVELS)))
    store.expire([rows[2]["id"]], DECIDED_AT)
    store.settle(outcome_table(outcome(rows[0], "open", open_reason="the entry has not traded")))
    store.settle(outcome_table(outcome(rows[0], "win", event_id="e", r_multiple=2.0), outcome(rows[1], "loss")))
    return content(store)


def test_a_deleted_database_is_rebuilt_from_the_journal(store, tmp_path):
    before = filled(store)
    shutil.rmtree(store.folder)
    assert content(make_store(tmp_path)) == before


@pytest.mark.parametrize("table", ["advice", "feedback"])
def test_one_deleted_table_is_rebuilt_from_the_journal(store, tmp_path, table):
    before = filled(store)
    shutil.rmtree(store.folder / f"{table}.lance")
    assert content(make_store(tmp_path)) == before


def empty_manifests(store, table, count):
    """Empty the `count` newest manifests of a table, all of them for `None`."""
    newest_first = sorted((store.folder / f"{table}.lance" / "_versions").glob("*.manifest"))
    for manifest in newest_first[:count]:
        manifest.write_bytes(b"")


@pytest.mark.parametrize("table", ["advice", "feedback"])
@pytest.mark.parametrize("damaged", [1, 2, None])
def test_emptied_manifests_are_put_aside_and_their_facts_recovered(store, tmp_path, table, damaged):
    before = filled(store)
    empty_manifests(store, table, damaged)
    opened = make_store(tmp_path)
    assert content(opened) == before
    assert list(store.folder.with_name("quarantine").iterdir())
    opened.add([idea(number=99)])
    assert make_store(tmp_path).count() == len(before[0]) + 1


def test_a_rebuild_that_was_cut_short_is_begun_again(store, tmp_path):
    before = filled(store)
    empty_manifests(store, "advice", 1)
    journal = store.journal.path.read_bytes()
    *first, last = journal.splitlines(keepends=True)
    store.journal.path.write_bytes(b"".join(first) + b'{"kind": "unheard of", "rows": []}\n' + last)
    with pytest.raises(WorkspaceError, match="update Osiris"):
        make_store(tmp_path).count()
    store.journal.path.write_bytes(journal)
    assert content(make_store(tmp_path)) == before


def test_a_torn_last_line_of_the_journal_never_happened(store, tmp_path):
    first, second = ideas(2)
    store.add([first])
    whole = store.journal.size
    store.journal.append("drafted", [second])
    os.truncate(store.journal.path, store.journal.size - 20)
    opened = make_store(tmp_path)
    assert [row["id"] for row in opened.rows()] == [first["id"]]
    opened.decide(decision(first), with_changes(decision_changes()))
    assert b"\n" not in opened.journal.path.read_bytes()[whole:-1]
    shutil.rmtree(store.folder)
    assert make_store(tmp_path).get(first["id"])["status"] == "approved"


def test_a_damaged_line_in_the_middle_of_the_journal_is_an_error(store, tmp_path):
    filled(store)
    content = store.journal.path.read_bytes().replace(b'"decided"', b'"dec\x00ded"', 1)
    store.journal.path.write_bytes(content)
    shutil.rmtree(store.folder)
    with pytest.raises(WorkspaceError, match="restore it from a backup"):
        make_store(tmp_path).rows()


def test_a_decision_that_the_journal_has_no_room_for_is_not_stored(store):
    rows = ideas(60)
    store.add(rows)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (store.journal.size + 10, unlimited[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            store.decide(decision(rows[0]), with_changes(decision_changes()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert store.get(rows[0]["id"])["status"] == "pending"
    assert store.feedback() == []
    assert store.decide(decision(rows[0]), with_changes(decision_changes()))["status"] == "approved"
    assert [entry.kind for entry in store.journal.read()] == ["drafted", "decided"]


# -- several at once --------------------------------------------------------------------------------------------------


def test_an_edit_and_an_approval_of_one_group_are_both_stored_as_they_are(store, tmp_path):
    rows = ideas(4)
    store.add(rows)
    asked = [
        (decision_changes("edited", **LEVELS), "edited") if n % 2 else (decision_changes(), "approved")
        for n in range(4)
    ]
    entries = len(list(store.journal.read()))
    with ThreadPoolExecutor(4) as pool, FileLock(tmp_path / "data" / "advice.lock"):
        for n, (row, (change, action)) in enumerate(zip(rows, asked, strict=True)):
            pool.submit(store.decide, decision(row, row["id"], action), with_changes(change))
            while (
                not store._group_commit._working.locked() or len(store._group_commit._waiting) != n
            ):  # the first is under way, the others wait and are one group
                time.sleep(0.01)
    assert len(list(store.journal.read())) - entries == 2
    found = [store.get(row["id"]) for row in rows]
    assert [one["status"] for one in found] == ["approved", "edited"] * 2
    assert [one["entry"] for one in found] == [100.0, LEVELS["entry"]] * 2


def test_threads_that_open_a_store_at_the_same_time_do_not_wait_for_each_other_forever(tmp_path):
    make_store(tmp_path).add([idea()])
    for _ in range(12):
        store = make_store(tmp_path)
        uses = [lambda s=store: s.expire([], DECIDED_AT), lambda s=store: s.count()]
        threads = [threading.Thread(target=use, daemon=True) for use in uses]
        with FileLock(store.folder.with_name("advice.lock")):
            for thread in threads:
                thread.start()
            time.sleep(0.02)
        for thread in threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in threads)


def run_together(target, arguments):
    """Run `target` in a process for each of `arguments`, all at once; returns what each put on its queue."""
    results, start = processes.Queue(), processes.Barrier(len(arguments))
    workers = [processes.Process(target=target, args=(*given, start, results)) for given in arguments]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(60)
    return found


def add_all(folder, start, results):
    store, added = make_store(folder), 0
    store.count()
    start.wait(60)
    for first in range(0, 60, 5):
        added += store.add(ideas(60)[first : first + 5])
    results.put(added)


def decide_all(folder, name, start, results):
    store, won = make_store(folder), 0
    store.count()
    start.wait(60)
    for row in ideas(40):
        try:
            store.decide(
                decision(row, f"{name}-{row['id']}", reviewer=name), with_changes(decision_changes(reviewer=name))
            )
            won += 1
        except Conflict:
            pass
    results.put((name, won))


def test_four_processes_that_add_the_same_ideas_store_each_once(tmp_path):
    added = run_together(add_all, [(tmp_path,)] * 4)
    rows = make_store(tmp_path).rows()
    assert sum(added) == 60
    assert len(rows) == len({row["id"] for row in rows}) == 60


def test_four_processes_that_decide_on_the_same_ideas_decide_on_each_once(tmp_path):
    store = make_store(tmp_path)
    store.add(ideas(40))
    won = dict(run_together(decide_all, [(tmp_path, name) for name in ("ann", "bob", "cyd", "dan")]))
    assert sum(won.values()) == 40
    reviewers = [row["reviewer"] for row in store.rows("status = 'approved'")]
    assert {name: reviewers.count(name) for name in won} == won
    assert len({row["transaction_id"] for row in store.feedback()}) == len(store.feedback()) == 40


def decide_until_killed(folder, name, told):
    store = make_store(folder)
    for row in random.Random(name).sample(ideas(400), 400):
        try:
            store.decide(
                decision(row, f"{name}-{row['id']}", reviewer=name), with_changes(decision_changes(reviewer=name))
            )
        except Conflict:
            continue
        with told.open("a") as file:
            file.write(f"{row['id']} {name}\n")


def test_twenty_killed_writers_lose_no_acknowledged_decision_and_double_none(tmp_path):
    make_store(tmp_path).add(ideas(400))
    chance = random.Random(1)
    for kills in range(5):
        told = [tmp_path / f"told-{kills}-{worker}" for worker in range(4)]
        workers = [processes.Process(target=decide_until_killed, args=(tmp_path, t.name, t)) for t in told]
        for worker in workers:
            worker.start()
        wait_for(lambda told=told: sum(path.read_text().count("\n") for path in told if path.exists()) >= 8)
        for worker in workers:
            time.sleep(chance.uniform(0.02, 0.3))
            assert worker.is_alive()
            os.kill(worker.pid, signal.SIGKILL)
        for worker in workers:
            worker.join(10)
    acknowledged = dict(line.split() for path in tmp_path.glob("told-*") for line in path.read_text().splitlines())
    assert len(acknowledged) >= 40

    store = make_store(tmp_path)
    given = {row["transaction_id"]: row["reviewer"] for row in store.feedback()}
    assert len(store.feedback()) == len(given)
    assert given.items() >= acknowledged.items()
    assert {row["id"]: row["reviewer"] for row in store.rows("status <> 'pending'")} == given
    assert store.count() == 400
    before = content(store)
    shutil.rmtree(store.folder)
    assert content(make_store(tmp_path)) == before


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


ACCEPTED = {"status": "approved", "status_at": MOMENT, "reviewer": "ann", "shadow": False}


class TestClosing:
    def test_it_is_noted_once_and_a_repeat_changes_nothing(self, store):
        store.add([idea(**ACCEPTED)])
        name = store.rows()[0]["id"]
        assert store.request_close(name, MOMENT, 101.0, "bob")["close_asked_by"] == "bob"
        before = store.journal.size
        assert store.request_close(name, MOMENT + timedelta(days=1), 101.0, "eve")["close_asked_by"] == "bob"
        assert store.journal.size == before
        with pytest.raises(Conflict, match="bob"):
            store.request_close(name, MOMENT, 99.0, "eve")

    @pytest.mark.parametrize("row", [{}, {"status": "rejected"}, {"outcome": "win", "status": "approved"}])
    def test_only_an_open_trade_can_be_closed(self, store, row):
        store.add([idea(**row)])
        with pytest.raises(Conflict, match="an accepted idea without a final outcome"):
            store.request_close(store.rows()[0]["id"], MOMENT, None, "bob")

    def test_it_is_not_closed_before_it_was_accepted(self, store):
        store.add([idea(**ACCEPTED)])
        with pytest.raises(Conflict, match="when it was accepted"):
            store.request_close(store.rows()[0]["id"], MOMENT - timedelta(hours=1), None, "bob")

    def test_it_is_rebuilt_from_the_journal(self, store, tmp_path):
        store.add([idea(**ACCEPTED)])
        store.request_close(store.rows()[0]["id"], MOMENT, None, "bob")
        shutil.rmtree(store.folder)
        assert make_store(tmp_path).rows()[0]["close_asked_by"] == "bob"


def test_a_table_of_an_older_osiris_gets_the_new_columns(tmp_path):
    folder = tmp_path / "data" / "advice.lancedb"
    old = pa.schema([field for field in advice_schema() if not field.name.startswith("close_asked")])
    row = {name: value for name, value in idea().items() if name in old.names}
    folder.mkdir(parents=True)
    lancedb.connect(folder).create_table("advice", pa.Table.from_pylist([row], schema=old), schema=old)
    store = make_store(tmp_path)
    (found,) = store.rows()
    assert (found["id"], found["close_asked_at"]) == (row["id"], None)
    store.add([idea(number=1)])
    assert store.count() == 2
