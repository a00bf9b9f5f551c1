"""What settling costs: `python benchmarks/outcomes.py [--ideas N] [--tickers N] [--kernel N] [--json]`.

The kernel is set against vectorbt's OHLCSTX, a pandas loop and a DuckDB query on the same ideas and bars, side by side
in one run; vectorbt is left out where it is not installed (benchmarks/requirements.txt). End to end is what the hourly
run does, in a process of its own, on a workspace made for it: read, bars, settle, write, publish.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from osiris.labeling.triple_barrier import NEVER, BarrierIdeas, Bars, find_first_touches
from osiris.market.calendars import all_session_bounds, daily_frame

SESSIONS = 250
LAST_SESSION = datetime(2012, 12, 28, 22, tzinfo=UTC)
SLOW = 2_000
"""Ideas for the ways that take too long on all."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ideas", type=int, nargs="+", default=[100_000], help="open ideas, end to end")
    parser.add_argument("--tickers", type=int, default=500)
    parser.add_argument("--kernel", type=int, default=1_000_000, help="ideas for the kernel")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--settle", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.settle:
        print(json.dumps(settle_once(args.settle)))
        return
    found = {"kernel": kernel_figures(args.kernel), "end to end": [end_to_end(n, args.tickers) for n in args.ideas]}
    if args.json:
        print(json.dumps(found, indent=1))
        return
    _print("the kernel and other ways, microseconds an idea", found["kernel"])
    _print("end to end, seconds", found["end to end"])


def kernel_figures(count: int) -> list[dict[str, object]]:
    """Microseconds an idea of each way, on `count` ideas (the slow ways on fewer), best of three."""
    bars, ideas = random_bars(20_000, seed=1), random_ideas(count, 20_000, seed=2)
    find_first_touches(bars, _first(ideas, 10))
    rows = []
    touches = find_first_touches(bars, ideas)
    held = float((touches.bar - np.searchsorted(bars.start, ideas.since) + 1)[touches.bar >= 0].mean())
    for name, way, size in (
        ("Osiris kernel (numba)", lambda some: find_first_touches(bars, some), count),
        ("vectorbt OHLCSTX", lambda some: vectorbt_exits(bars, some), SLOW),
        ("DuckDB query", lambda some: duckdb_query(bars, some), SLOW),
        ("pandas loop", lambda some: pandas_loop(bars, some), SLOW),
    ):
        some = _first(ideas, min(size, count))
        try:
            agreed = way(some)
        except ModuleNotFoundError as error:
            rows.append({"way": name, "ideas": 0, "us an idea": None, "same outcome": f"not installed: {error.name}"})
            continue
        same = "-" if agreed is None or name.startswith("Osiris") else f"{_agreement(agreed, touches):.4f}"
        best = min(_seconds(lambda way=way, some=some: way(some)) for _ in range(3))
        rows.append(
            {"way": name, "ideas": len(some.sign), "us an idea": best / len(some.sign) * 1e6, "same outcome": same}
        )
    rows.append({"way": "bars looked at an idea, mean", "ideas": count, "us an idea": held, "same outcome": "-"})
    return rows


def random_bars(count: int, seed: int) -> Bars:
    """A driftless walk: daily bars of about 2 % range, `count` of them."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.012, count)))
    opened = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0, 0.003, count))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.006, count)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.006, count)))
    start = np.arange(count) * 86_400_000_000_000
    return Bars(start, start + 23_400_000_000_000, opened, high, low, close, np.ones(count))


def random_ideas(count: int, bars: int, seed: int) -> BarrierIdeas:
    """Ideas at the close of random bars of `random_bars(bars, 1)`, brackets of 2 to 8 %, half of them short."""
    rng = np.random.default_rng(seed)
    walk = random_bars(bars, seed=1)
    at = rng.integers(0, bars - 400, count)
    sign, entry = rng.choice([-1.0, 1.0], count), walk.close[at]
    target, stop = (
        entry * (1 + sign * rng.uniform(0.02, 0.08, count)),
        entry * (1 - sign * rng.uniform(0.02, 0.08, count)),
    )
    return BarrierIdeas(sign, entry, target, stop, np.ones(count), walk.end[at], np.full(count, NEVER))


def pandas_loop(bars: Bars, ideas: BarrierIdeas) -> list[int]:
    """The obvious way: slice the frame, look for the first touch of either level. Returns +1, -1 or 0 an idea."""
    frame = pd.DataFrame({"high": bars.high, "low": bars.low}, index=bars.start)
    outcomes = []
    for sign, target, stop, since in zip(ideas.sign, ideas.target, ideas.stop, ideas.since, strict=True):
        later = frame.loc[since:].iloc[:400]
        won = later["high"] >= target if sign > 0 else later["low"] <= target
        lost = later["low"] <= stop if sign > 0 else later["high"] >= stop
        touched = (won | lost).to_numpy()
        first = int(touched.argmax()) if touched.any() else -1
        outcomes.append(0 if first < 0 else -1 if lost.iloc[first] else 1)
    return outcomes


def duckdb_query(bars: Bars, ideas: BarrierIdeas) -> list[int]:
    """One SQL query with an aggregate over the bars after each idea. Returns as `pandas_loop`."""
    import duckdb

    connection = duckdb.connect()
    until = ideas.since + 400 * 86_400_000_000_000
    connection.register("b", pd.DataFrame({"moment": bars.start, "high": bars.high, "low": bars.low}))
    connection.register("i", pd.DataFrame(ideas._asdict()).assign(number=range(len(ideas.sign)), until=until))
    query = """
        SELECT number,
          min(CASE WHEN (sign > 0 AND high >= target) OR (sign < 0 AND low <= target) THEN moment END) AS won,
          min(CASE WHEN (sign > 0 AND low <= stop) OR (sign < 0 AND high >= stop) THEN moment END) AS lost
        FROM i JOIN b ON moment >= since AND moment < until GROUP BY number ORDER BY number"""
    rows = connection.sql(query).fetchall()
    touched = ((won or NEVER, lost or NEVER) for _, won, lost in rows)
    return [0 if won == lost == NEVER else 1 if won < lost else -1 for won, lost in touched]


def vectorbt_exits(bars: Bars, ideas: BarrierIdeas) -> list[int]:
    """vectorbt's OHLCSTX on a column of 400 bars an idea, longs and shorts at once each. Returns as `pandas_loop`."""
    import vectorbt as vbt

    outcomes = np.zeros(len(ideas.sign), np.int64)
    at = np.searchsorted(bars.start, ideas.since) - 1
    for sign in (1.0, -1.0):
        mine = np.flatnonzero(ideas.sign == sign)
        window = at[mine][None, :] + np.arange(400)[:, None]
        entries = np.zeros(window.shape, bool)
        entries[0] = True
        entry, stop, target = (column[mine] for column in (ideas.entry, ideas.stop, ideas.target))
        found = vbt.OHLCSTX.run(
            entries, *(column[window] for column in (bars.open, bars.high, bars.low, bars.close)),
            sl_stop=np.broadcast_to(np.abs(entry - stop) / entry, window.shape).copy(),
            tp_stop=np.broadcast_to(np.abs(target - entry) / entry, window.shape).copy(),
            is_open_safe=False, reverse=sign < 0,
        )  # fmt: skip
        kinds = found.stop_type.to_numpy()
        hit = (kinds >= 0).any(axis=0)
        first = kinds[(kinds >= 0).argmax(axis=0), np.arange(len(mine))]
        outcomes[mine] = np.where(hit, np.where(first == 2, 1, -1), 0)
    return outcomes.tolist()


def end_to_end(count: int, tickers: int) -> dict[str, object]:
    """Make a workspace of `count` accepted ideas on `tickers` tickers, settle it in a new process, tell the times."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        make_workspace(Path(folder), count, tickers)
        made = time.perf_counter() - began
        asked = [sys.executable, __file__, "--settle", folder]
        ran = subprocess.run(asked, capture_output=True, text=True, check=True, env=os.environ)
        return {"ideas": count, "tickers": tickers, **json.loads(ran.stdout), "to make": round(made, 1)}


def make_workspace(folder: Path, count: int, tickers: int) -> None:
    """Daily bars of random walks on XNYS, and accepted ideas at random closes of the year before the last session."""
    import pyarrow as pa

    from osiris.core.schemas import advice_schema
    from osiris.storage.tables import open_tables
    from osiris.workspace import open_workspace

    (folder / "osiris.toml").write_text('[prices]\nsource = "local"\n')
    _, closes = all_session_bounds("XNYS")
    last = np.searchsorted(closes, pd.Timestamp(LAST_SESSION).value)
    dates = pd.to_datetime(closes[last - SESSIONS : last]).normalize()
    rng = np.random.default_rng(3)
    rows = np.array_split(np.arange(count), tickers)
    workspace = open_workspace(folder)
    tables = open_tables(folder / "data" / "advice.lancedb")
    schema = advice_schema()
    for number, mine in enumerate(rows):
        ticker, walk = f"T{number:04d}", random_bars(SESSIONS, seed=100 + number)
        values = pd.DataFrame({name: getattr(walk, name) for name in ("open", "high", "low", "close")})
        workspace.bars.merge(ticker, daily_frame(dates, values, "XNYS", "made"))
        at = rng.integers(0, SESSIONS - 20, len(mine))
        sign, entry = rng.choice([-1.0, 1.0], len(mine)), walk.close[at]
        moments = pd.to_datetime(closes[last - SESSIONS + at], utc=True)
        known = {
            "id": [f"{i:032x}" for i in mine], "ticker": [ticker] * len(mine), "prompt": ["x" * 200] * len(mine),
            "side": np.where(sign > 0, "long", "short"), "entry": entry, "reply": ["y" * 150] * len(mine),
            "target": entry * (1 + sign * rng.uniform(0.02, 0.08, len(mine))), "adapter": ["base"] * len(mine),
            "stop": entry * (1 - sign * rng.uniform(0.02, 0.08, len(mine))), "as_of": moments, "created_at": moments,
            "status": ["approved"] * len(mine), "status_at": moments + timedelta(hours=1),
            "vector": list(np.zeros((len(mine), 16), np.float32)),
        }  # fmt: skip
        columns = [pa.array(known[f.name], f.type) if f.name in known else pa.nulls(len(mine), f.type) for f in schema]
        tables.advice.add(pa.Table.from_arrays(columns, schema=schema))
    workspace.advice.optimize()
    workspace.close()


def settle_once(folder: Path) -> dict[str, object]:
    """Settle a workspace in this process, imports and kernel loaded before: seconds, counts, peak memory."""
    from osiris.labeling.settle import settle
    from osiris.workspace import open_workspace

    find_first_touches(random_bars(500, 1), random_ideas(10, 500, 2))
    workspace = open_workspace(folder, LAST_SESSION)
    workspace.events.ping()
    workspace.advice.count()
    began = time.perf_counter()
    report = settle(workspace.advice, workspace.prices, workspace.events, workspace.settings, workspace.now)
    seconds = time.perf_counter() - began
    again = _seconds(
        lambda: settle(workspace.advice, workspace.prices, workspace.events, workspace.settings, workspace.now)
    )
    workspace.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "seconds": round(seconds, 2), "us an idea": round(seconds / max(report.looked_at, 1) * 1e6, 1),
        "settled": report.win + report.loss, "open": report.open, "published": report.published,
        "run again": round(again, 2), "peak MiB": round(peak),
    }  # fmt: skip


def _agreement(outcomes: list[int], touches) -> float:
    mine = np.array([0, 1, -1, 0])[touches.state[: len(outcomes)]]
    return float((mine == np.array(outcomes)).mean())


def _first(ideas: BarrierIdeas, count: int) -> BarrierIdeas:
    return BarrierIdeas(*(column[:count] for column in ideas))


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _print(title: str, rows: list[dict[str, object]]) -> None:
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
