"""Kill -9 of the outcome logger, the relay, the reader and Redis: no outcome lost, none twice, each event once."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter, deque
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from osiris.core.errors import SourceUnavailable
from osiris.labeling.settle import settle
from osiris.market.calendars import closes_between, daily_frame
from tests.builders import MOMENT, idea, make_workspace
from tests.journeys.outcome_worker import DAYS, logger_moments, store_events, work

PROCESSES = get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.journeys.outcome_worker"])
TICKERS, IDEAS = ["AAPL", "IBM", "MSFT"], 1500
KILLED = ("logger", "relay", "redis", "reader")
OUTCOME_COLUMNS = ["id", "outcome", "exit_reason", "close_price", "closed_at", "r_multiple", "ambiguous", "event_id"]
LOCAL = '[prices]\nsource = "local"\n[outcomes]\nmax_holding_days = 60\n'


def prepared(folder):
    """A workspace of random walks and of ideas accepted over the first half of them."""
    folder.mkdir()
    workspace = make_workspace(folder, LOCAL)
    closes = closes_between("XNYS", MOMENT - timedelta(days=20), MOMENT + timedelta(days=DAYS))
    dates = pd.DatetimeIndex(closes.tz_convert("America/New_York").date)
    chance = np.random.default_rng(11)
    for ticker in TICKERS:
        close = 100 * np.exp(np.cumsum(chance.normal(0, 0.015, len(dates))))
        opened = np.r_[100.0, close[:-1]] * np.exp(chance.normal(0, 0.004, len(dates)))
        high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.996
        values = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close})
        workspace.bars.merge(ticker, daily_frame(dates, values, "XNYS", "test"))
    prices = {ticker: workspace.bars.get(ticker).set_index("end")["close"] for ticker in TICKERS}
    drafted = [close for close in closes if MOMENT <= close.to_pydatetime() <= MOMENT + timedelta(days=DAYS / 2)]
    rows = []
    for number in range(IDEAS):
        ticker, at = TICKERS[number % 3], drafted[chance.integers(len(drafted))]
        entry, sign = float(prices[ticker][at]), float(chance.choice([-1, 1]))
        moment = at.to_pydatetime()
        rows.append(
            idea(
                number=number, ticker=ticker, as_of=moment, side="long" if sign > 0 else "short", entry=entry,
                target=entry * (1 + 0.04 * sign), stop=entry * (1 - 0.03 * sign), status="approved",
                status_at=moment + timedelta(hours=1), reviewer="ann", shadow=False,
            )
        )  # fmt: skip
    workspace.advice.add(rows)
    return workspace


class Worker(NamedTuple):
    """A process, and our end of the pipe to it."""

    process: BaseProcess
    orders: Connection


def started(role, folder):
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=work, args=(role, folder, theirs), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def told_to_work(worker):
    assert worker.orders.recv() == "ready"
    worker.orders.send("go")


def killed(worker):
    """Whether it was at work when it was killed."""
    at_work = worker.process.is_alive()
    worker.process.kill()
    worker.process.join()
    worker.orders.close()
    return at_work


def kill_redis(workspace):
    with contextlib.suppress(SourceUnavailable):
        os.kill(workspace.events.server_pid(), signal.SIGKILL)
        time.sleep(0.05)
        workspace.events.ping()


@pytest.fixture(scope="module")
def crashed(tmp_path_factory, kills):
    """The workspace after so many kills at random moments, and how many hit each kind of process at work.

    Where nothing was finished between two rounds the next one is given more time, so that a slow machine gets on too.
    """
    folder = tmp_path_factory.mktemp("crashes") / "workspace"
    workspace = prepared(folder)
    chance, hits, seconds = random.Random(5), Counter(), 0.25
    waiting = deque([start_round(0, folder)])
    for number in range(10 * kills):
        before = moments_done(folder)
        waiting.append(start_round(number + 1, folder))
        workers = waiting.popleft()
        for _, worker in workers:
            told_to_work(worker)
        if number % 7 == 3:
            time.sleep(chance.uniform(0.01, 0.2))
            kill_redis(workspace)
            hits["redis"] += 1
        for role, worker in sorted(workers, key=lambda _: chance.random()):
            time.sleep(chance.uniform(0.01, seconds))
            hits[role] += killed(worker)
        if moments_done(folder) == before:
            seconds = min(1.5 * seconds, 10)
        if sum(hits.values()) >= kills and moments_done(folder) > 0 and min(hits[role] for role in KILLED) > 0:
            break
    for _, worker in (each for workers in waiting for each in workers):
        killed(worker)
    yield workspace, hits, moments_done(folder)
    workspace.close()


def start_round(number, folder):
    """The processes of a round, by role: each has imported what it needs by the time that it is told to work."""
    return [(role, started(role, folder)) for role in ("logger", "relay", *(["reader"] if number % 3 == 0 else []))]


def moments_done(folder):
    """The number of the last moment that the logger finished; 0 before."""
    done = folder / "done"
    return int(done.read_text()) if done.exists() else 0


def final(workspace):
    return workspace.advice.frame(columns=OUTCOME_COLUMNS)[OUTCOME_COLUMNS].sort_values("id", ignore_index=True)


def test_the_kills_hit_processes_at_work(crashed, kills):
    _, hits, left = crashed
    assert sum(hits.values()) >= kills
    assert min(hits[name] for name in KILLED) >= max(1, kills // 25)
    assert 0 < left < len(logger_moments()) - 1, "the work ended before the kills did"
    print(json.dumps({**hits, "moments done": left}))


def test_the_outcomes_are_those_of_a_run_that_nobody_killed(crashed, tmp_path):
    workspace, _, _ = crashed
    quiet = prepared(tmp_path / "quiet")
    for each in (workspace, quiet):
        settle(each.advice, each.prices, each.events, each.settings, logger_moments()[-1])
    assert final(quiet)["event_id"].notna().sum() > IDEAS / 2
    pd.testing.assert_frame_equal(final(workspace), final(quiet))
    quiet.close()


def test_no_outcome_was_written_twice(crashed):
    workspace, _, _ = crashed
    settle(workspace.advice, workspace.prices, workspace.events, workspace.settings, logger_moments()[-1])
    ends = Counter(
        row["id"]
        for entry in workspace.advice.journal.read()
        if entry.kind == "settled"
        for row in entry.rows
        if row["outcome"] != "open"
    )
    assert len(ends) == workspace.advice.count("event_id IS NOT NULL")
    assert set(ends.values()) == {1}


def test_every_event_was_delivered_once_to_a_reader_that_drops_repeats(crashed):
    workspace, _, _ = crashed
    settle(workspace.advice, workspace.prices, workspace.events, workspace.settings, logger_moments()[-1])
    store_events(workspace)
    settled = workspace.advice.frame("event_id IS NOT NULL")
    assert settled["published_at"].notna().all()
    with sqlite3.connect(workspace.folder / "books.db") as books:
        kept = {row[0]: row[1:] for row in books.execute("SELECT * FROM event")}
    assert kept == {r.event_id: (r.id, r.outcome, r.r_multiple) for r in settled.itertuples()}
    streamed = [event["event_id"] for event in workspace.events.read_outcomes()]
    assert sorted(streamed) == sorted(kept)
    print(json.dumps({"events": len(kept)}))
