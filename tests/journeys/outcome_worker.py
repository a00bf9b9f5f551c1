"""A process of the crash journey: `python -m tests.journeys.outcome_worker ROLE FOLDER`; works when told to on stdin.

It says `ready` once everything is imported, and works until it has nothing left to do or is killed.
"""

import sqlite3
import sys
from datetime import timedelta
from pathlib import Path

from osiris.core.errors import Busy
from osiris.core.files import write_whole
from osiris.labeling.settle import publish, settle
from osiris.market.calendars import sessions_between
from osiris.workspace import open_workspace
from tests.builders import MOMENT

GROUP = "books"
DAYS = 200


def moments():
    """The hours at which the logger runs: after each close."""
    closes = sessions_between("XNYS", MOMENT + timedelta(days=1), MOMENT + timedelta(days=DAYS))
    return [close.to_pydatetime() + timedelta(hours=1) for close in closes]


def log_outcomes(workspace):
    """Settle at one moment after another, from where an earlier process had come to."""
    done = workspace.folder / "done"
    for number, moment in enumerate(moments()):
        if number < int(done.read_text() if done.exists() else 0):
            continue
        try:
            settle(workspace.advice, workspace.prices, workspace.events, workspace.settings, moment)
        except Busy:
            return
        write_whole(done, str(number))


def relay(workspace):
    """Publish what is pending, beside the logger."""
    while True:
        publish(workspace.advice, workspace.events, MOMENT, [])


def keep_books(workspace):
    """Take every event into a database that drops repeats, and acknowledge it afterwards."""
    with sqlite3.connect(workspace.folder / "books.db", timeout=30) as books:
        books.execute("CREATE TABLE IF NOT EXISTS event (id TEXT PRIMARY KEY, advice TEXT, outcome TEXT, r REAL)")

        def take(events):
            rows = [(event["event_id"], event["id"], event["outcome"], event["r_multiple"]) for event in events]
            books.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?)", rows)
            books.commit()

        workspace.events.deliver(GROUP, "reader", take, idle=0)


ROLES = {"logger": log_outcomes, "relay": relay, "reader": keep_books}

if __name__ == "__main__":
    role, folder = sys.argv[1:]
    opened = open_workspace(Path(folder), MOMENT)
    opened.advice.count()  # so that LanceDB and DuckDB are loaded before the clock of the kills runs
    opened.prices.timelines([], MOMENT, MOMENT)
    print("ready", flush=True)
    sys.stdin.readline()
    ROLES[role](opened)
