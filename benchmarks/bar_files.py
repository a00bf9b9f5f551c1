"""What reading files of bars costs: `python benchmarks/bar_files.py [--rows N ...] [--tickers N] [--json]`.

Makes a CSV of daily bars of many tickers, one day after the other, or of the minutes of one ticker (`--tickers 1`), and
imports it into a new store in a process of its own: seconds, and the most memory that process had.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from osiris.config.settings import Settings
from osiris.market.bar_store import BarStore
from osiris.market.calendars import session_dates
from osiris.market.importer import import_bars

AS_OF = datetime(2024, 1, 2, tzinfo=UTC)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    parser.add_argument("--tickers", type=int, default=1000, help="1: the minutes of one coin")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--import", dest="once", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(import_once(args.once)))
        return
    found = [measured(rows, args.tickers) for rows in args.rows]
    if args.json:
        print(json.dumps(found, indent=1))
        return
    table = Table(*found[0], title="import of a CSV file")
    for row in found:
        table.add_row(*(f"{value:,}" for value in row.values()))
    Console().print(table)


def measured(rows: int, tickers: int) -> dict[str, float]:
    """Import `rows` bars of `tickers` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bars.csv"
        write_minutes(file, rows) if tickers == 1 else write_days(file, rows, tickers)
        command = [sys.executable, __file__, "--import", str(file)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        return {"rows": rows, "tickers": tickers, "MB of file": file.stat().st_size // 10**6} | json.loads(ran.stdout)


def import_once(file: Path) -> dict[str, float]:
    """Seconds and peak memory of one import; the memory before it is that of Python and the libraries."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    began = time.monotonic()
    report = import_bars(BarStore(file.parent / "store"), Settings(), file, AS_OF)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    seconds = round(time.monotonic() - began, 1)
    return {"bars added": report.added, "seconds": seconds, "MiB before": before, "MiB peak": peak}


def write_days(file: Path, rows: int, tickers: int) -> None:
    """Daily bars, all tickers of a day together, as exports of whole exchanges have them."""
    dates = session_dates("XNYS")
    dates = dates[dates < "2024-01-01"][-(rows // tickers) :].strftime("%Y-%m-%d")
    names = [f"T{number:04d}" for number in range(tickers)]
    draws = np.random.default_rng(1)
    with file.open("w") as out:
        out.write("date,ticker,open,high,low,close,volume\n")
        for date in dates:
            closes = draws.uniform(99, 101, tickers)
            lines = (
                f"{date},{name},100.00,101.50,98.50,{c:.2f},123456\n" for name, c in zip(names, closes, strict=True)
            )
            out.writelines(lines)


def write_minutes(file: Path, rows: int) -> None:
    """Minutes of one coin without a gap, ending with 2023."""
    last = pd.Timestamp("2024-01-01")
    with file.open("w") as out:
        out.write("ts,ticker,open,high,low,close,volume\n")
        for first in range(rows, 0, -100_000):  # a parent's peak memory counts for its children, so it is kept small
            begin = last - pd.Timedelta(minutes=first)
            moments = pd.date_range(begin, periods=min(first, 100_000), freq="min").strftime("%Y-%m-%dT%H:%M:%SZ")
            out.writelines(f"{moment},BTC-USD,100.00,101.50,98.50,100.25,123456\n" for moment in moments)


if __name__ == "__main__":
    main()
