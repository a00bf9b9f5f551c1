"""Ideas as arrays: as stored, and as the triple-barrier function takes them."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.labeling.triple_barrier import NEVER, BarrierIdeas
from osiris.market.bar_frames import to_nanoseconds
from osiris.market.timeline import Timeline

DAY_NS = 86_400_000_000_000
"""Nanoseconds in a day of 24 hours."""


class IdeaArrays(NamedTuple):
    """Ideas as arrays, each of shape (n,): times are int64 nanoseconds UTC, prices are in currency.

    Entry, target and stop are in the price basis of the last bar that ended by `basis_at`. `close_asked_at` is `NEVER`
    unless a person closed the trade by hand. `close_asked_price` is a raw price, NaN where the person named none.
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

    def select(self, chosen: NDArray[np.int64] | slice) -> "IdeaArrays":
        """The chosen ideas, by their indices or by a slice."""
        return IdeaArrays._make(column[chosen] for column in self)


def to_arrays(ideas: pd.DataFrame) -> IdeaArrays:
    """The columns that `label_frame` takes, as arrays; without `close_asked_at` no idea is closed by hand.

    An idea without `basis_at` has the price basis of the last session that was over at its `as_of`. It is `NEVER` here,
    because only `to_barrier_ideas` knows the sessions.
    """
    asked_at = np.full(len(ideas), NEVER)
    asked_price = np.full(len(ideas), np.nan)
    basis_at = np.full(len(ideas), NEVER)
    if "close_asked_at" in ideas:
        asked_at = np.where(ideas["close_asked_at"].isna(), NEVER, to_nanoseconds(ideas["close_asked_at"]))
        asked_price = ideas["close_asked_price"].to_numpy(np.float64, na_value=np.nan)
    if "basis_at" in ideas:
        basis_at = np.where(ideas["basis_at"].isna(), NEVER, to_nanoseconds(ideas["basis_at"]))
    return IdeaArrays(
        sign=np.where(ideas["side"].to_numpy(dtype=object) == "long", 1.0, -1.0),
        entry=ideas["entry"].to_numpy(np.float64),
        target=ideas["target"].to_numpy(np.float64),
        stop=ideas["stop"].to_numpy(np.float64),
        as_of=to_nanoseconds(ideas["as_of"]),
        basis_at=basis_at,
        since=to_nanoseconds(ideas["since"]),
        close_asked_at=asked_at,
        close_asked_price=asked_price,
    )


def to_barrier_ideas(ideas: IdeaArrays, timeline: Timeline, max_holding_days: int) -> BarrierIdeas:
    """The ideas as `find_first_touches` takes them; one closed by hand expires when the person asked for that.

    With `max_holding_days` 0 no idea expires by age.
    """
    bars = timeline.bars
    session = np.searchsorted(timeline.closes, ideas.as_of, side="right") - 1
    # The appended 0 keeps index -1 legal for an idea from before the first session; `where` then takes its `as_of`.
    over = np.where(session >= 0, np.append(timeline.closes, 0)[session], ideas.as_of)
    last = np.searchsorted(bars.end, np.where(ideas.basis_at == NEVER, over, ideas.basis_at), side="right") - 1
    expiry = ideas.since + max_holding_days * DAY_NS if max_holding_days else np.full(len(last), NEVER)
    # Contiguous, since numba compiles its function anew for each memory layout of an argument.
    return BarrierIdeas(
        sign=np.ascontiguousarray(ideas.sign),
        entry=np.ascontiguousarray(ideas.entry),
        target=np.ascontiguousarray(ideas.target),
        stop=np.ascontiguousarray(ideas.stop),
        split=np.where(last >= 0, bars.split[last], 1.0),
        since=np.ascontiguousarray(ideas.since),
        expiry=np.minimum(expiry, ideas.close_asked_at),
    )
