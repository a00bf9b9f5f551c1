"""Ideas as arrays, and as the outcome kernel takes them."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.labeling.triple_barrier import NEVER, BarrierIdeas
from osiris.market.bar_frames import to_nanoseconds
from osiris.market.timeline import Timeline

DAY_NS = 86_400_000_000_000


class IdeaArrays(NamedTuple):
    """Ideas as arrays, each shape (n,): times int64 ns (`close_asked_at` is `NEVER` unless closed by hand), prices in currency.

    Levels are in the basis_at of the last bar that ended by `basis_at`; `close_asked_price` is raw, NaN for none.
    """

    sign: NDArray[np.float64]
    entry: NDArray[np.float64]
    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    as_of: NDArray[np.int64]
    basis_at: NDArray[np.int64]
    since: NDArray[np.int64]
    close_asked_at: NDArray[np.int64]
    close_asked_price: NDArray[np.float64]


def to_arrays(ideas: pd.DataFrame) -> IdeaArrays:
    """Columns of `judge` as arrays; without `close_asked_at` no idea is closed by hand.

    An idea without `basis_at` has the basis of the last session over at its `as_of`: `NEVER` here, for `kernel_ideas`.
    """
    asked, prices, basis = np.full(len(ideas), NEVER), np.full(len(ideas), np.nan), np.full(len(ideas), NEVER)
    if "close_asked_at" in ideas:
        asked = np.where(ideas["close_asked_at"].isna(), NEVER, to_nanoseconds(ideas["close_asked_at"]))
        prices = ideas["close_asked_price"].to_numpy(np.float64, na_value=np.nan)
    if "basis_at" in ideas:
        basis = np.where(ideas["basis_at"].isna(), NEVER, to_nanoseconds(ideas["basis_at"]))
    return IdeaArrays(
        np.where(ideas["side"].to_numpy(dtype=object) == "long", 1.0, -1.0),
        *(ideas[name].to_numpy(np.float64) for name in ("entry", "target", "stop")),
        to_nanoseconds(ideas["as_of"]),
        basis,
        to_nanoseconds(ideas["since"]),
        asked,
        prices,
    )


def to_barrier_ideas(ideas: IdeaArrays, timeline: Timeline, max_holding_days: int) -> BarrierIdeas:
    """Claims as the kernel takes them; those closed by hand expire when that was asked for."""
    bars, session = timeline.bars, np.searchsorted(timeline.closes, ideas.as_of, side="right") - 1
    over = np.where(session >= 0, np.append(timeline.closes, 0)[session], ideas.as_of)
    last = np.searchsorted(bars.end, np.where(ideas.basis_at == NEVER, over, ideas.basis_at), side="right") - 1
    expiry = ideas.since + max_holding_days * DAY_NS if max_holding_days else np.full(len(last), NEVER)
    return BarrierIdeas(
        *(np.ascontiguousarray(level) for level in ideas[:4]),
        np.where(last >= 0, bars.split[last], 1.0),
        np.ascontiguousarray(ideas.since),
        np.minimum(expiry, ideas.close_asked_at),
    )
