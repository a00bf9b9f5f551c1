"""Ideas as arrays, and as the outcome kernel takes them."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from osiris.labeling.triple_barrier import NEVER, Ideas
from osiris.market.bar_frames import nanoseconds
from osiris.market.timeline import Timeline

DAY = 86_400_000_000_000


class Claims(NamedTuple):
    """Ideas as arrays, each shape (n,): times int64 ns (`asked` is `NEVER` unless closed by hand), prices in currency.

    Levels are in the basis of the last bar that ended by `basis`; `asked_price` is raw, NaN for none.
    """

    sign: NDArray[np.float64]
    entry: NDArray[np.float64]
    target: NDArray[np.float64]
    stop: NDArray[np.float64]
    as_of: NDArray[np.int64]
    basis: NDArray[np.int64]
    since: NDArray[np.int64]
    asked: NDArray[np.int64]
    asked_price: NDArray[np.float64]


def as_claims(ideas: pd.DataFrame) -> Claims:
    """Columns of `judge` as arrays; without `close_asked_at` no idea is closed by hand.

    An idea without `basis_at` has the basis of the last session over at its `as_of`: `NEVER` here, for `kernel_ideas`.
    """
    asked, prices, basis = np.full(len(ideas), NEVER), np.full(len(ideas), np.nan), np.full(len(ideas), NEVER)
    if "close_asked_at" in ideas:
        asked = np.where(ideas["close_asked_at"].isna(), NEVER, nanoseconds(ideas["close_asked_at"]))
        prices = ideas["close_asked_price"].to_numpy(np.float64, na_value=np.nan)
    if "basis_at" in ideas:
        basis = np.where(ideas["basis_at"].isna(), NEVER, nanoseconds(ideas["basis_at"]))
    return Claims(
        np.where(ideas["side"].to_numpy(dtype=object) == "long", 1.0, -1.0),
        *(ideas[name].to_numpy(np.float64) for name in ("entry", "target", "stop")),
        nanoseconds(ideas["as_of"]),
        basis,
        nanoseconds(ideas["since"]),
        asked,
        prices,
    )


def kernel_ideas(claims: Claims, line: Timeline, max_holding_days: int) -> Ideas:
    """Claims as the kernel takes them; those closed by hand expire when that was asked for."""
    bars, session = line.bars, np.searchsorted(line.closes, claims.as_of, side="right") - 1
    over = np.where(session >= 0, np.append(line.closes, 0)[session], claims.as_of)
    last = np.searchsorted(bars.end, np.where(claims.basis == NEVER, over, claims.basis), side="right") - 1
    expiry = claims.since + max_holding_days * DAY if max_holding_days else np.full(len(last), NEVER)
    return Ideas(
        *(np.ascontiguousarray(level) for level in claims[:4]),
        np.where(last >= 0, bars.split[last], 1.0),
        np.ascontiguousarray(claims.since),
        np.minimum(expiry, claims.asked),
    )
