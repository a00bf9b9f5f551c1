"""What the processes of the crash journey do. Each is forked from a server that has imported what they need."""

import sqlite3
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb  # noqa: F401 - a process should not have to import what it needs

from osiris.core.errors import Busy
from osiris.core.files import write_atomically
from osiris.labeling.settle import publish_pending, settle
from osiris.market.calendars import closes_between
from osiris.storage.tables import import_lancedb
from osiris.workspace import open_workspace
from tests.builders import MOMENT

import_lancedb()
GROUP = "books"
DAYS = 200


def logger_moments():
    """The hours at which the logger runs: after each close."""
    closes = closes_between("XNYS", MOMENT + timedelta(days=1), MOMENT + timedelta(days=DAYS))
    return [close.to_pydatetime() + timedelta(hours=1) for close in closes]


def settle_all_moments(workspace):
    """Settle at one moment after another, from where an earlier process had come to."""
    done = workspace.folder / "done"
    for number, moment in enumerate(logger_moments()):
        if number < int(done.read_text() if done.exists() else 0):
            continue
        try:
            settle(workspace.advice, workspace.prices, workspace.events, workspace.settings, moment)
        except Busy:
            return
        write_atomically(done, str(number))


def relay(workspace):
    """Publish what is pending, beside the logger."""
    while True:
        publish_pending(workspace.advice, workspace.events, MOMENT)


def store_events(workspace):
    """Take every event into a database that drops repeats, and acknowledge it afterwards."""
    with sqlite3.connect(workspace.folder / "books.db", timeout=30) as database:
        database.execute("CREATE TABLE IF NOT EXISTS event (id TEXT PRIMARY KEY, advice TEXT, outcome TEXT, r REAL)")

        def take(events):
            rows = [(event["event_id"], event["id"], event["outcome"], event["r_multiple"]) for event in events]
            database.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?)", rows)
            database.commit()

        workspace.events.deliver(GROUP, "reader", take, idle_milliseconds=0)


def read(workspace):
    """Take events as they come."""
    while True:
        store_events(workspace)


ROLES = {"logger": settle_all_moments, "relay": relay, "reader": read}


def work(role: str, folder: Path, orders: Connection) -> None:
    """Say `ready`, wait for the word, and work until there is nothing left to do or this process is killed."""
    opened = open_workspace(folder, MOMENT)
    opened.advice.count()  # so that nothing is left to open when the clock of the kills runs
    opened.prices.get_timelines([], MOMENT, MOMENT)
    orders.send("ready")
    orders.recv()
    ROLES[role](opened)
