"""How often a patch is found better by chance, and by merit: `python benchmarks/better.py [--times N] [--json]`.

Eight tickers whose returns are correlated by 0.5 with the tails of Student's t at 3 degrees of freedom, one idea a
ticker and session, seven of ten of them long, closed at a target of 2 or a stop of 1 daily standard deviations, or
after ten sessions: trades overlap, share their market and lean to one side. The live policy lets all of them through,
the patch those of some kind. Without an edge none is better; with one, what the patch refuses loses by a drift.
"""

import argparse
import json

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from osiris.evaluation.stats import block_length, min_blocks
from osiris.kernel.compare import compare_weeks

TICKERS, HELD, LONG, DEGREES, CORRELATION, TARGET, STOP = 8, 10, 0.7, 3, 0.5, 2.0, 1.0
WEEKS, LEVELS, KINDS = (8, 13, 26, 52), (0.05, 0.0125), ("random", "longs", "shorts", "tickers")
Array = NDArray[np.float64]


def market(rng: np.random.Generator, weeks: int, edge: float) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Outcomes in R, sides and days open of the ideas, shape (TICKERS, sessions), and which of them are bad.

    A bad one drifts against its side by `edge` standard deviations a session, until it is closed.
    """
    sessions = 5 * weeks
    shared, own = (
        rng.standard_t(DEGREES, (n, sessions + HELD)) / np.sqrt(DEGREES / (DEGREES - 2)) for n in (1, TICKERS)
    )
    returns = np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * own
    side = np.where(rng.random((TICKERS, sessions)) < LONG, 1.0, -1.0)
    bad = rng.random((TICKERS, sessions)) < 0.5
    paths = np.lib.stride_tricks.sliding_window_view(returns, HELD, axis=1)[:, 1 : sessions + 1]
    paths = (paths * side[..., None] - edge * bad[..., None]).cumsum(axis=2)
    out = (paths >= TARGET) | (paths <= -STOP)
    last = np.where(out.any(axis=2), out.argmax(axis=2), HELD - 1)
    outcome = np.take_along_axis(paths, last[..., None], axis=2)[..., 0] / STOP
    return outcome, side, 7 / 5 * (1 + last), bad


def p_value(outcome: Array, days_open: Array, kept: NDArray[np.bool_]) -> tuple[float, int]:
    """The p-value of the patch that keeps `kept`, as the kernel finds it, and how many blocks it had."""
    weekly = [(outcome * mask).sum(axis=0).reshape(-1, 5).sum(axis=1) / 100 for mask in (kept, True)]
    length = block_length(days_open.ravel())
    if len(weekly[0]) // length < min_blocks(max(LEVELS)):
        return 1.0, len(weekly[0]) // length
    found = [compare_weeks(scale * weekly[0] - weekly[1], length, 0).p_value for scale in (1.0, kept.size / kept.sum())]
    return max(found), len(weekly[0]) // length


def kept_by(kind: str, rng: np.random.Generator, side: Array) -> NDArray[np.bool_]:
    """Which ideas a patch without merit keeps."""
    if kind == "random":
        return rng.random(side.shape) < 0.5
    if kind == "tickers":
        return np.broadcast_to(np.arange(TICKERS)[:, None] % 2 == 0, side.shape)
    return side > 0 if kind == "longs" else side < 0


def measured(weeks: int, times: int) -> dict[str, float]:
    """Shares of patches that are found better at each level, by chance (the worst kind) and by merit."""
    rng, chance, merit, blocks = np.random.default_rng(weeks), {kind: [] for kind in KINDS}, [], 0
    for _ in range(times):
        outcome, side, days_open, _ = market(rng, weeks, 0.0)
        for kind in KINDS:
            chance[kind].append(p_value(outcome, days_open, kept_by(kind, rng, side))[0])
        outcome, _, days_open, bad = market(rng, weeks, 0.1)
        p, blocks = p_value(outcome, days_open, ~bad)
        merit.append(p)
    row: dict[str, float] = {"weeks": weeks, "blocks": blocks}
    for level in LEVELS:
        enough = blocks >= min_blocks(level)
        worst = max(float(np.mean(np.array(found) < level)) for found in chance.values())
        row |= {
            f"chance {level}": worst,
            f"merit {level}": float(np.mean(np.array(merit) < level)),
            f"can {level}": enough,
        }
    return row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = [measured(weeks, asked.times) for weeks in WEEKS]
    if asked.json:
        print(json.dumps(rows))
        return
    table = Table(*rows[0], title=f"{asked.times} times each")
    for row in rows:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
