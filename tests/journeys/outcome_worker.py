"""A process of the crash journey: `python -m tests.journeys.outcome_worker ROLE FOLDER`; works when told to on stdin.

It says `ready` once everything is imported, and works until it has nothing left to do or is killed.
"""

import sqlite3
import sys
from datetime import timedelta
from pathlib import Path

from osiris.core.errors import Busy
from osiris.core.files import write_atomically
from osiris.labeling.settle import publish_pending, settle
from osiris.market.calendars import closes_between
from osiris.workspace import open_workspace
from tests.builders import MOMENT

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


ROLES = {"logger": settle_all_moments, "relay": relay, "reader": store_events}

if __name__ == "__main__":
    role, folder = sys.argv[1:]
    opened = open_workspace(Path(folder), MOMENT)
    opened.advice.count()  # so that LanceDB and DuckDB are loaded before the clock of the kills runs
    opened.prices.get_timelines([], MOMENT, MOMENT)
    print("ready", flush=True)
    sys.stdin.readline()
    ROLES[role](opened)
