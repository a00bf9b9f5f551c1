"""The blocks of a prompt: what the model is shown of the market, each block in a text of its own.

An example: the block `trend` of a share that rose by two ATR in five sessions is the line `trend_5 up 2.0`. All blocks
read completed bars up to the moment of the snapshot, in one price basis, and nothing later. Distances are in ATR
(average true range), so that a block reads the same for a share of 5 dollars and one of 5,000.

A line `name up|down number` is a directional fact. Reasons refer to these lines: `trend_5 up, follow`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from osiris.config.sections import BlockName, ContextSettings
from osiris.core.arrays import FloatArray
from osiris.drafting.snapshot import ATR_BARS, true_range
from osiris.llm.prompts import Prompts
from osiris.market.bar_frames import BarArrays
from osiris.market.calendars import next_sessions

VOLUME_SESSIONS = 20
"""Sessions of the mean that a volume is compared with."""
LEVEL_SESSIONS = (20, 252)
"""A month and a year of sessions: the highs and lows that traders look at."""
YEAR_SESSIONS = 252
GAP_SESSIONS = 20
MIN_GAP_ATR = 0.5
"""A gap that is smaller is not told, since most sessions have one."""
STRENGTH_SESSIONS = (20, 60)
EXPIRY_CALENDAR = "XNYS"
"""Listed options in the United States expire on the third Friday of a month; other markets have other days."""
MAX_EXPIRY_SESSIONS = 30
"""More sessions than lie between two monthly expiries."""
NO_NUMBER = re.compile(r"(?<![A-Za-z])(?:nan|inf)(?![A-Za-z])")
ROUND_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Scene:
    """What the blocks describe: a ticker's bars up to a moment, with the settings of the blocks.

    `bars` and `benchmark` (or `None`) are complete bars, oldest first, adjusted for splits. `atr` is in currency.
    """

    ticker: str
    as_of: datetime
    bars: BarArrays
    atr: float
    benchmark: BarArrays | None
    calendar: str
    settings: ContextSettings

    @property
    def close(self) -> FloatArray:
        """The closes, shape (n,), in currency."""
        return self.bars.close


def describe_scene(block: BlockName, scene: Scene, prompts: Prompts) -> str:
    """Return the text of one block of bars; empty where there is nothing to tell, for example too few bars.

    A block with a number that is none (an open that a vendor left out, a benchmark at zero) is left out too.
    """
    values = BAR_BLOCKS[block](scene)
    text = prompts.render(f"block_{block}", **values).strip() if values else ""
    return "" if NO_NUMBER.search(text) else text


def measure_trend(scene: Scene) -> dict[str, Any]:
    """The move of the close over each of `context.trend_sessions`, in ATR."""
    moves = [
        (sessions, (scene.close[-1] - scene.close[-1 - sessions]) / scene.atr)
        for sessions in scene.settings.trend_sessions
        if len(scene.close) > sessions
    ]
    return {"moves": moves} if moves else {}


def measure_volatility(scene: Scene) -> dict[str, Any]:
    """The ATR in percent of the price, its percentile within a year, and its change over a month.

    The percentile is the share of the sessions of the last year, in percent, whose ATR was at most today's.
    """
    series = _atr_percent(scene.bars)[-YEAR_SESSIONS:]
    if len(series) <= VOLUME_SESSIONS:
        return {}
    return {
        "percent": series[-1],
        "percentile": round(100 * float((series <= series[-1]).mean())),
        "change": series[-1] - series[-1 - VOLUME_SESSIONS],
    }


def measure_levels(scene: Scene) -> dict[str, Any]:
    """The distance from the close to highs and lows of a month and a year, and to the nearest round price, in ATR."""
    levels = []
    for sessions in LEVEL_SESSIONS:
        if len(scene.close) >= sessions:
            highest, lowest = scene.bars.high[-sessions:].max(), scene.bars.low[-sessions:].min()
            levels += [(f"high_{sessions}", highest), (f"low_{sessions}", lowest)]
    levels.append(("round", nearest_round(float(scene.close[-1]))))
    return {"levels": [(name, (price - scene.close[-1]) / scene.atr) for name, price in levels]}


def nearest_round(price: float) -> float:
    """Return the round price that is nearest to a price above zero.

    Round prices lie 1, 2, 5 or 10 times a power of ten apart, about a twentieth of the price: 85 for a price of 83.2.
    """
    wanted = price / 20
    power = 10.0 ** np.floor(np.log10(wanted))
    step = min((power * step for step in ROUND_STEPS), key=lambda one: abs(np.log(one / wanted)))
    return float(round(price / step) * step)


def measure_gaps(scene: Scene) -> dict[str, Any]:
    """The gap between the last open and the close before, and the largest one of a month, in ATR.

    A gap is filled when a later price came back to the close before it. `largest` is 0 where none is worth a line.
    """
    opens, closes = scene.bars.open, scene.close
    gaps = (opens[1:] - closes[:-1])[-GAP_SESSIONS:] / scene.atr
    place = int(np.nan_to_num(np.abs(gaps)).argmax())  # an open that nobody knows is no gap
    bar = len(opens) - len(gaps) + place
    before = closes[bar - 1]
    later_high, later_low = scene.bars.high[bar:].max(), scene.bars.low[bar:].min()
    return {
        "last": gaps[-1],
        "largest": gaps[place] if abs(gaps[place]) >= MIN_GAP_ATR else 0.0,
        "age": len(gaps) - 1 - place,
        "filled": bool(later_low <= before if gaps[place] >= 0 else later_high >= before),
    }


def measure_strength(scene: Scene) -> dict[str, Any]:
    """The return of the ticker less that of the benchmark, in percentage points, over a month and a quarter.

    Both are taken between the same moments: the last closes of the benchmark at or before those of the ticker.
    """
    other = scene.benchmark
    if other is None or not len(other.end):
        return {}
    leads = []
    for sessions in STRENGTH_SESSIONS:
        if len(scene.close) <= sessions:
            continue
        places = np.searchsorted(other.end, scene.bars.end[[-1 - sessions, -1]], side="right") - 1
        if places[0] < 0 or not other.close[places[0]] > 0:
            continue
        own = scene.close[-1] / scene.close[-1 - sessions]
        leads.append((sessions, 100 * (own - other.close[places[1]] / other.close[places[0]])))
    return {"leads": leads} if leads else {}


def measure_calendar(scene: Scene) -> dict[str, Any]:
    """The weekday of the next session, and how many sessions remain until the options of the month expire.

    On the last session before the expiry one session remains. Only the calendar `XNYS` has such a day here.
    """
    coming = next_sessions(scene.calendar, scene.as_of, MAX_EXPIRY_SESSIONS)
    if not len(coming):
        return {}
    remaining = None
    if scene.calendar == EXPIRY_CALENDAR:
        expiry = _next_expiry(coming[0])
        remaining = int((coming <= expiry).sum())
    return {"weekday": f"{coming[0]:%A}", "sessions_to_expiry": remaining}


def _next_expiry(first: pd.Timestamp) -> pd.Timestamp:
    """The third Friday at or after a date."""
    for month in (first.replace(day=1), first.replace(day=1) + pd.DateOffset(months=1)):
        third = month + pd.Timedelta(days=(4 - month.weekday()) % 7 + 14)  # weekday 4 is a Friday
        if third >= first:
            return third
    raise AssertionError("a month and the next one have a third Friday at or after its first day")


def list_bars(scene: Scene) -> dict[str, Any]:
    """The last `context.bars` sessions: move in ATR and percent, range in ATR, volume to the mean of a month before."""
    bars, count = scene.bars, min(scene.settings.bars, len(scene.close) - 1)
    rows = []
    for place in range(len(scene.close) - count, len(scene.close)):
        before = bars.close[place - 1]
        usual = bars.volume[max(0, place - VOLUME_SESSIONS) : place]
        mean = float(usual.mean()) if len(usual) else 0.0
        volume = bars.volume[place] / mean if mean > 0 and np.isfinite(bars.volume[place]) else None
        rows.append(
            {
                "ago": len(scene.close) - 1 - place,
                "move_atr": (bars.close[place] - before) / scene.atr,
                "move_percent": 100 * (bars.close[place] / before - 1),
                "range_atr": (bars.high[place] - bars.low[place]) / scene.atr,
                "volume": volume,
            }
        )
    return {"bars": rows} if rows else {}


def _atr_percent(bars: BarArrays) -> FloatArray:
    """The ATR at each bar in percent of its close, shape (n - `ATR_BARS`,)."""
    ranges = true_range(bars.high, bars.low, bars.close)
    if len(ranges) < ATR_BARS:
        return np.empty(0)
    means = np.convolve(ranges, np.full(ATR_BARS, 1 / ATR_BARS), mode="valid")
    return np.asarray(100 * means / bars.close[ATR_BARS:])


BAR_BLOCKS: dict[BlockName, Callable[[Scene], dict[str, Any]]] = {
    "trend": measure_trend,
    "levels": measure_levels,
    "volatility": measure_volatility,
    "gaps": measure_gaps,
    "strength": measure_strength,
    "calendar": measure_calendar,
    "bars": list_bars,
}
"""The blocks that bars and a calendar are enough for."""
